"""`cdc doctor` before secured parts: one line with the remedy; with the remedy in cdc.yml the line is ok.

The remedy is taken from the line as a person would take it: what stands between backticks is YAML for cdc.yml. Only the
paths and names of the example are put in: the files lie beside cdc.yml here, and the secrets are in the environment.
"""

import base64
import contextlib
import json
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.system.conftest import _need
from tests.system.fetch import Available
from tests.system.parts import HOST, Certificates, Connect, Registry, SecuredKafka, _get_json
from tests.system.walk import CDC

Json = dict[str, Any]
SECRETS = {"KAFKA_USER": "cdc-oncall", "KAFKA_PASSWORD": "oncall-secret"}
PLAIN_LOGIN = {"sasl.mechanism": "PLAIN", "sasl.username": "${KAFKA_USER}", "sasl.password": "${KAFKA_PASSWORD}"}


@pytest.fixture(scope="module")
def certificates(scratch: Path) -> Certificates:
    return Certificates(scratch / "secured" / "certificates")


class Doctor:
    """`cdc doctor --json` on a cdc.yml that remedies are written into."""

    def __init__(self, folder: Path, certificates: Certificates, document: Json, **environ: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._certificates, self._environ = folder / "cdc.yml", certificates, environ
        self.document = document

    def line(self, part: str) -> Json:
        """Return the first line on a part: whether it can be talked to."""
        self._path.write_text(yaml.safe_dump(self.document))
        ran = subprocess.run(
            [CDC, "-c", self._path, "doctor", "--json"], capture_output=True, text=True, timeout=40, env=self._environ
        )
        lines = [line for line in json.loads(ran.stdout) if line["part"] == part]
        assert lines, ran.stderr
        assert not any(secret in ran.stdout for secret in ("oncall-secret", "proxy-secret"))
        return next((line for line in lines if line["status"] == "failed"), lines[0])

    def obey(self, line: Json) -> None:
        """Write the remedy into the config; its example paths become those of the files there are."""
        written = re.search(r"`([^`]*)`", line["remedy"])
        assert written is not None, line
        for path in re.findall(r"\S*/(\w+\.(?:pem|key))", written[1]):
            assert (self._certificates.folder / path).is_file()
        text = re.sub(r"[^\s]*/(\w+\.(?:pem|key))", rf"{self._certificates.folder}/\1", written[1])
        _merge(self.document, yaml.safe_load(text))


def _merge(into: Json, more: Json) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


CASES: dict[str, tuple[str, Json, tuple[str, ...]]] = {
    "SASL asked in plain": ("sasl", {}, ("wants a login (SASL)",)),
    "another mechanism": (
        "sasl",
        {"security.protocol": "SASL_PLAINTEXT", **PLAIN_LOGIN, "sasl.mechanism": "SCRAM-SHA-256"},
        ("does not offer this SASL mechanism",),
    ),
    "TLS where none is": ("sasl", {"security.protocol": "SASL_SSL", **PLAIN_LOGIN}, ("does not speak TLS",)),
    "TLS asked in plain": (
        "sasl_tls",
        {"security.protocol": "SASL_PLAINTEXT", **PLAIN_LOGIN},
        ("the port speaks TLS",),
    ),
    "an own CA": ("sasl_tls", {"security.protocol": "SASL_SSL", **PLAIN_LOGIN}, ("CA that is not trusted",)),
    "TLS without a login": (
        "sasl_tls",
        {"security.protocol": "SSL", "ssl.ca.location": "CA"},
        ("wants a login (SASL)",),
    ),
    "mTLS asked in plain": ("mtls", {}, ("the port speaks TLS", "wants a client certificate (mTLS)")),
}
"""What is asked how -> what the lines say, one after the other, until the line is ok."""

NOT_MENDED: dict[str, tuple[str, Json, str]] = {
    "a wrong password": ("sasl", {"sasl.password": "${WRONG}"}, "does not take user and password"),
    "another host": ("elsewhere", {"security.protocol": "SASL_SSL"}, "certificate is for another host name"),
    "a login where none is taken": (
        "mtls",
        {"security.protocol": "SASL_SSL", "ssl.certificate.location": "CLIENT", "ssl.key.location": "KEY"},
        "takes no login (SASL)",
    ),
}


@pytest.fixture(scope="module")
def told(available: Available, certificates: Certificates, scratch: Path) -> dict[str, tuple[list[str], Json]]:
    """What the doctor said, and its last line, case by case; all at once, for they mostly wait."""
    _need(available, "java", "kafka")
    files = {
        "CA": str(certificates.ca),
        "CLIENT": str(certificates.folder / "client.pem"),
        "KEY": str(certificates.folder / "client.key"),
    }

    def doctor(kafka: SecuredKafka, name: str, listener: str, config: Json) -> Doctor:
        filled = {key: files.get(value, value) for key, value in config.items()}
        document = {"kafka": {"bootstrap": getattr(kafka, listener), "config": filled}}
        folder = scratch / "secured" / name.replace(" ", "-")
        return Doctor(folder, certificates, document, **SECRETS, WRONG="hunter2")

    def ask(kafka: SecuredKafka, name: str) -> tuple[list[str], Json]:
        if name in CASES:
            return _obeyed(doctor(kafka, name, *CASES[name][:2]), "kafka")
        listener, config, _ = NOT_MENDED[name]
        common = {"security.protocol": "SASL_PLAINTEXT", "ssl.ca.location": "CA", **PLAIN_LOGIN}
        return [], doctor(kafka, name, listener, {**common, **config}).line("kafka")

    names = [*CASES, *NOT_MENDED]
    folder = scratch / "secured" / "kafka"
    with SecuredKafka(available, folder, certificates) as kafka, ThreadPoolExecutor(len(names)) as pool:
        kafka.set_password("cdc-oncall", "oncall-secret")
        return dict(zip(names, pool.map(partial(ask, kafka), names), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_a_secured_broker_is_one_line_and_its_remedy_helps(told: dict[str, tuple[list[str], Json]], name: str) -> None:
    """Librdkafka's words, or its silence, as what is the matter; what stands in the remedy makes the line ok."""
    said, last = told[name]
    expected = CASES[name][2]

    assert [True] * len(expected) == [words in line for words, line in zip(expected, said, strict=True)], said
    assert ("ok", True) == (last["status"], last["what"].startswith("1 broker at ")), last


@pytest.mark.parametrize("name", NOT_MENDED)
def test_what_no_setting_alone_can_mend_is_told_as_what_it_is(
    told: dict[str, tuple[list[str], Json]], name: str
) -> None:
    """A wrong password, a certificate for another host, a login where none is taken; no secret is shown."""
    _, line = told[name]

    assert ("failed", True) == (line["status"], NOT_MENDED[name][2] in line["what"]), line
    assert "hunter2" not in json.dumps(line)


# --- registry and Connect behind TLS and a login -------------------------------------------------------


class Guard:
    """A server with TLS and basic auth in front of a real part: it hands every GET on.

    It shows the certificate `shown`; with `wants_certificate` it takes only clients that show one too.
    """

    LOGIN = base64.b64encode(b"NAME:proxy-secret").decode()

    def __init__(
        self, part: str, certificates: Certificates, shown: str = "server", wants_certificate: bool = False
    ) -> None:
        guard = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.headers.get("Authorization") != f"Basic {guard.LOGIN}":
                    self._send(401, "application/json", b'{"message": "Unauthorized"}')
                    return
                answer = requests.get(part + self.path, timeout=10, headers={"Accept": self.headers["Accept"]})
                self._send(answer.status_code, answer.headers.get("Content-Type", ""), answer.content)

            def _send(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

            def handle(self) -> None:
                try:
                    super().handle()
                except OSError:
                    # Nobody is let in. What was sent already is read first: else the client loses the reason.
                    with contextlib.suppress(OSError), socket.socket(fileno=self.connection.detach()) as plain:
                        plain.settimeout(1)
                        plain.recv(65_536)

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates.folder / f"{shown}.pem", certificates.folder / f"{shown}.key")
        if wants_certificate:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(certificates.ca)
        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://{HOST}:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def guard(certificates: Certificates) -> Iterator[Callable[..., Guard]]:
    """Return `guard(url)`, which puts TLS and a login before a part."""
    started: list[Guard] = []

    def start(part: str, **options: Any) -> Guard:
        started.append(Guard(part, certificates, **options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def _obeyed(doctor: Doctor, part: str, most: int = 4) -> tuple[list[str], Json]:
    """Write remedies until the line is ok; return what the lines said, and the last one."""
    said: list[str] = []
    for _ in range(most):
        line = doctor.line(part)
        if line["status"] == "ok":
            return said, line
        said.append(line["what"])
        doctor.obey(line)
    raise AssertionError(f"still not ok: {said}")


def test_a_registry_behind_tls_and_a_login_is_reached_by_its_remedies(
    registry: Registry, certificates: Certificates, tmp_path: Path, guard: Callable[..., Guard]
) -> None:
    """The address without the API's path, a CA of one's own, a login: each is a line, in the order they show."""
    front = guard(registry.url)
    document = {"registry": {"url": front.url}}

    said, last = _obeyed(Doctor(tmp_path, certificates, document, REGISTRY_PASSWORD="proxy-secret"), "registry")

    assert 3 == len(said), said
    assert "certificate not trusted" in said[0]
    assert "answered 401" in said[1]
    assert "not the address of its Confluent API" in said[2]
    version = _get_json(f"{registry.url}/apis/registry/v3/system/info")["version"]
    assert last["what"].startswith(f"Apicurio {version} at {front.url}/apis/ccompat/v7")
    assert "a mode READONLY would not protect a subject there" in last["what"]


def test_a_connect_behind_tls_and_a_login_is_reached_by_its_remedies(
    connect: Connect, certificates: Certificates, tmp_path: Path, guard: Callable[..., Guard]
) -> None:
    """http:// on the TLS port first: the worker hangs up."""
    front = guard(connect.url)
    document = {"connect": {"url": front.url.replace("https://", "http://")}}

    said, last = _obeyed(Doctor(tmp_path, certificates, document, CONNECT_PASSWORD="proxy-secret"), "connect")

    assert 3 == len(said), said
    assert "closed the connection" in said[0] or "reset the connection" in said[0]
    assert "certificate not trusted" in said[1]
    assert "answered 401" in said[2]
    assert last["what"].startswith(f"Kafka Connect {_get_json(connect.url)['version']} at {front.url}")


@pytest.mark.parametrize(
    ("options", "tls", "said"),
    [
        ({"shown": "elsewhere"}, {"ca": "ca.pem"}, "the certificate is for another host"),
        ({"wants_certificate": True}, {"ca": "ca.pem"}, "want a client certificate|wants a client certificate"),
    ],
)
def test_what_tls_says_of_a_server_is_told_apart(
    certificates: Certificates, tmp_path: Path, guard: Callable[..., Guard], options: Json, tls: Json, said: str
) -> None:
    """A certificate for another host is no untrusted one, and a server that wants one of the client says so."""
    front = guard("http://127.0.0.1:1", **options)
    files = {name: str(certificates.folder / file) for name, file in tls.items()}

    line = Doctor(tmp_path, certificates, {"registry": {"url": front.url, "tls": files}}).line("registry")

    assert "failed" == line["status"]
    assert re.search(said, line["what"]), line


def test_a_client_certificate_from_the_remedy_is_shown(
    certificates: Certificates, tmp_path: Path, guard: Callable[..., Guard]
) -> None:
    """With it the server asks for the login next."""
    front = guard("http://127.0.0.1:1", wants_certificate=True)
    document = {"registry": {"url": front.url, "tls": {"ca": str(certificates.ca)}}}
    doctor = Doctor(tmp_path, certificates, document)

    doctor.obey(doctor.line("registry"))

    assert "answered 401" in doctor.line("registry")["what"]
