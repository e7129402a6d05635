"""What is deployed: the chart as Kubernetes and helm read it, the unit as systemd reads it, and what SECURITY.md names.

The chart is rendered by a real helm, checked against Kubernetes' own schemas, its rules by promtool, and its cdc.yml by
the bot. A program that cannot be had is a skipped test with the reason, and a failed one where `CI=true`.
"""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from bot.cli import cdc
from bot.config import MUST_BE_SECRET, Config, parse, read_runbooks
from bot.slo.rules import render_rules
from tests.system import fetch
from tests.system.fetch import Available, PartMissing

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "deploy/helm/cdc-oncall"
UNIT = ROOT / "deploy/systemd/cdc-oncall.service"
SECRETS = Path("/etc/cdc-oncall/secrets")
CUSTOM_RESOURCES = ("ServiceMonitor", "PrometheusRule")
Resource = dict[str, Any]

SMALL: dict[str, Any] = {
    "secret": {"name": "oncall-secrets"},
    "config": {
        "slack": {
            "bot_token": {"file": f"{SECRETS}/slack-bot-token"},
            "app_token": {"file": f"{SECRETS}/slack-app-token"},
        },
        "alertmanager": {"url": "http://alertmanager:9093", "tokens": [{"file": f"{SECRETS}/webhook-token"}]},
    },
}
EVERYTHING: dict[str, Any] = {
    "image": {"repository": "registry.example:5000/ops/cdc-oncall", "tag": "9", "pullSecrets": [{"name": "login"}]},
    "secret": {"name": "oncall-secrets"},
    "config": {
        **SMALL["config"],
        "environment": "prod-eu",
        "kafka": {
            "bootstrap": "kafka-0:9094, kafka-1:9095",
            "config": {"security.protocol": "SASL_SSL", "sasl.password": {"file": f"{SECRETS}/kafka-password"}},
        },
        "registry": {"url": "https://registry.example/apis/ccompat/v7", "tls": {"ca": f"{SECRETS}/ca.pem"}},
        "connect": {"url": "http://connect"},
        "prometheus": {"url": "http://prometheus:9090"},
        "people": {"responders": ["U0123ABCD"]},
        "actions": {"restart_failed_tasks": {"cap_per_hour": 3}},
        "pipelines": {
            "customers": {"source": {"connector": "c"}, "objective": {"lag": {"warn": "500 for 1m"}}},
        },
    },
    "runbooks": {"consumer-lag.yml": (ROOT / "runbooks/consumer-lag.yml").read_text("utf-8")},
    "persistence": {"existingClaim": "", "size": "10Gi", "storageClass": "fast", "accessMode": "ReadWriteOncePod"},
    "networkPolicy": {
        "enabled": True,
        "allowFrom": [{"podSelector": {"matchLabels": {"app": "am"}}}, {"ipBlock": {"cidr": "10.0.0.0/8"}}],
        "egress": [{"to": [{"ipBlock": {"cidr": "10.1.0.0/16"}}], "ports": [{"port": 19092, "protocol": "TCP"}]}],
    },
    "serviceMonitor": {"enabled": True, "interval": "15s", "labels": {"release": "prom"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prom"}},
    "serviceAccount": {"create": True, "name": "oncall", "annotations": {"example.com/owner": "ops"}},
    "env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
    "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
    "podAnnotations": {"example.com/a": "b"},
    "podLabels": {"team": "data"},
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "priorityClassName": "system-cluster-critical",
}


@dataclass(frozen=True)
class Helm:
    """The real helm, on the chart of the checkout or another one."""

    program: Path
    folder: Path

    def run(self, *arguments: str, values: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
        """Run a verb of helm with `values` as the user's file; nothing of the machine's own helm is read."""
        given = self.folder / "values.yaml"
        given.write_text(yaml.safe_dump(dict(values)), "utf-8")
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "KUBECONFIG": os.devnull}
        return subprocess.run(
            [str(self.program), *arguments, "-f", str(given)],
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def refuse(self, values: Mapping[str, Any]) -> str:
        """Return what helm says when it renders nothing."""
        run = self.run("template", "oncall", str(CHART), "--namespace", "ops", values=values)
        assert 0 != run.returncode and "" == run.stdout, "it was rendered"
        return run.stderr

    def render(self, values: Mapping[str, Any], chart: Path = CHART) -> list[Resource]:
        run = self.run("template", "oncall", str(chart), "--namespace", "ops", values=values)
        assert 0 == run.returncode, run.stderr
        return [document for document in yaml.safe_load_all(run.stdout) if document]


@pytest.fixture(scope="module")
def available() -> Available:
    return fetch.fetch()


@pytest.fixture
def helm(available: Available, tmp_path: Path) -> Helm:
    return Helm(_place(available, "helm") / "helm", tmp_path)


@pytest.fixture(scope="module")
def systemd_analyze(available: Available) -> str:
    return str(_place(available, "systemd"))


def _place(available: Available, part: str) -> Path:
    try:
        return available.place(part)
    except PartMissing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{missing} (with CI=true that is a failure)", pytrace=False)
        pytest.skip(str(missing))


def one(resources: list[Resource], kind: str) -> Resource:
    (found,) = (resource for resource in resources if resource["kind"] == kind)
    return found


def pod_spec(resources: list[Resource]) -> Resource:
    spec: Resource = one(resources, "Deployment")["spec"]["template"]["spec"]
    return spec


def cdc_yml(resources: list[Resource], folder: Path) -> Config:
    """Return the config as the bot reads it; the chart's own runbooks stand in `folder`, where they are mounted."""
    maps = {each["metadata"]["name"]: each["data"] for each in resources if each["kind"] == "ConfigMap"}
    runbooks = folder / "runbooks"
    for name, text in maps.get("oncall-cdc-oncall-runbooks", {}).items():
        runbooks.mkdir(exist_ok=True)
        (runbooks / name).write_text(text, "utf-8")
    text = maps["oncall-cdc-oncall"]["cdc.yml"].replace("/etc/cdc-oncall/runbooks", str(runbooks))
    return parse(text.encode(), Path("/etc/cdc-oncall/cdc.yml"))


# --- the chart: what it makes ------------------------------------------------------------------------


@pytest.mark.parametrize("values", [{}, SMALL, {**EVERYTHING, "prometheusRule": {}}], ids=["none", "small", "all"])
def test_the_chart_passes_its_lint(helm: Helm, values: Mapping[str, Any]) -> None:
    """Also with its warnings taken as errors."""
    run = helm.run("lint", "--strict", str(CHART), values=values)
    assert 0 == run.returncode, run.stdout + run.stderr


@pytest.mark.parametrize("version", ["1.25", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("values", [SMALL, EVERYTHING], ids=["small", "all"])
def test_kubernetes_knows_every_field(helm: Helm, values: Mapping[str, Any], version: str) -> None:
    """In the oldest version that the chart allows and in the newest; no property that the schema does not have."""
    resources = helm.render({**values, "prometheusRule": {"enabled": False}})
    built_in = [each for each in resources if each["kind"] not in CUSTOM_RESOURCES]
    assert {"Deployment", "Service", "ConfigMap", "PersistentVolumeClaim", "ServiceAccount", "NetworkPolicy"} == {
        each["kind"] for each in built_in
    }
    for each in built_in:
        kubernetes_validate.validate(each, version, strict=True)


def test_the_schemas_would_object(helm: Helm) -> None:
    """The check above can fail: one field too many is refused."""
    deployment = one(helm.render(SMALL), "Deployment")
    pod_spec([deployment])["containers"][0]["securityContext"]["readOnlyRootFileSystem"] = True
    with pytest.raises(kubernetes_validate.ValidationError, match="readOnlyRootFileSystem"):
        kubernetes_validate.validate(deployment, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("values", [SMALL, EVERYTHING], ids=["small", "all"])
def test_the_pod_may_do_nothing_but_run(helm: Helm, values: Mapping[str, Any]) -> None:
    """Not root, nothing writable but the journal and /tmp, no capability, no token of the cluster."""
    resources = helm.render({**values, "prometheusRule": {"enabled": False}})
    spec = pod_spec(resources)
    assert {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "fsGroup": 10001,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    } == spec["securityContext"]
    (container,) = spec["containers"]
    assert {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    } == container["securityContext"]
    assert spec["automountServiceAccountToken"] is False
    assert one(resources, "ServiceAccount")["automountServiceAccountToken"] is False
    assert [] == [each["kind"] for each in resources if "Role" in each["kind"]]
    writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
    assert {"/var/lib/cdc-oncall", "/tmp"} == writable
    assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & set(spec)
    assert [] == [volume for volume in spec["volumes"] if "hostPath" in volume]


def test_on_openshift_the_cluster_chooses_the_user(helm: Helm) -> None:
    """`runAsUser: null` leaves user and group out and nothing else."""
    context = pod_spec(helm.render({**SMALL, "runAsUser": None}))["securityContext"]
    assert {"runAsNonRoot", "fsGroupChangePolicy", "seccompProfile"} == set(context)


def test_one_bot_owns_the_journal(helm: Helm) -> None:
    """One replica, and the old one is gone before the new one starts."""
    spec = one(helm.render(SMALL), "Deployment")["spec"]
    assert (1, {"type": "Recreate"}) == (spec["replicas"], spec["strategy"])


def test_alerts_come_through_while_slack_is_down(helm: Helm) -> None:
    """Only a standing inbox restarts the bot (/healthz); what is not ready is still sent its webhooks."""
    resources = helm.render(SMALL)
    (container,) = pod_spec(resources)["containers"]
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "liveness", "readiness")}
    assert {"startup": "/healthz", "liveness": "/healthz", "readiness": "/readyz"} == paths
    assert one(resources, "Service")["spec"]["publishNotReadyAddresses"] is True


def test_a_backup_can_be_restored_without_the_bot(helm: Helm) -> None:
    """`maintenance` starts the same pod on the same volume with nothing that holds the journal, and nothing probed."""
    at_work, waits = (pod_spec(helm.render({**SMALL, "maintenance": on})) for on in (False, True))
    (working,), (waiting,) = at_work.pop("containers"), waits.pop("containers")
    assert at_work == waits
    assert (["serve"], ["sleep", "infinity"]) == (working.pop("args"), waiting.pop("command"))
    probes = {name for name in working if name.endswith("Probe")}
    assert {name: part for name, part in working.items() if name not in probes} == waiting


def test_secrets_are_files_that_the_kubelet_keeps_up_to_date(helm: Helm) -> None:
    """The whole Secret as a folder: a mount with subPath, or a variable, would keep the old token until a restart."""
    spec = pod_spec(helm.render(SMALL))
    (volume,) = (volume for volume in spec["volumes"] if "secret" in volume)
    assert {"secretName": "oncall-secrets", "defaultMode": 0o440} == volume["secret"]
    (mount,) = (mount for mount in spec["containers"][0]["volumeMounts"] if mount["name"] == volume["name"])
    assert {"name": "secrets", "mountPath": str(SECRETS), "readOnly": True} == mount
    assert ["CDC_CONFIG"] == [variable["name"] for variable in spec["containers"][0]["env"]]


@pytest.mark.parametrize("values", [SMALL, EVERYTHING], ids=["small", "all"])
def test_the_config_is_one_that_the_bot_loads(helm: Helm, values: Mapping[str, Any], tmp_path: Path) -> None:
    """The user's config, at the address and the journal that Service and volume have; its runbooks load too."""
    resources = helm.render({**values, "prometheusRule": {"enabled": False}})
    config = cdc_yml(resources, tmp_path)
    (container,) = pod_spec(resources)["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert f"0.0.0.0:{container['ports'][0]['containerPort']}" == str(config.listen)
    assert Path(mounts["journal"]) == config.state.parent
    assert {"name": "CDC_CONFIG", "value": mounts["config"]} == container["env"][0]
    assert values["config"].get("environment") == config.environment
    runbooks = ["consumer-lag"] if "runbooks" in values else [each.id for each in read_runbooks(ROOT / "runbooks")]
    assert runbooks == [runbook.id for runbook in read_runbooks(config.runbooks)]


def test_another_config_starts_another_pod(helm: Helm) -> None:
    """A change of cdc.yml is a change of the pod; the same values render the same pod."""

    def checksum(values: Mapping[str, Any]) -> str:
        metadata = one(helm.render(values), "Deployment")["spec"]["template"]["metadata"]
        return str(metadata["annotations"]["checksum/config"])

    changed = {**SMALL, "config": {**SMALL["config"], "environment": "staging"}}
    assert checksum(SMALL) == checksum(SMALL) != checksum(changed)


def test_everything_selects_the_bot(helm: Helm) -> None:
    """Service, NetworkPolicy and ServiceMonitor find the pod, and the port that they name is there."""
    resources = helm.render({**EVERYTHING, "prometheusRule": {"enabled": False}})
    template = one(resources, "Deployment")["spec"]["template"]
    service, policy, monitor = (one(resources, kind) for kind in ("Service", "NetworkPolicy", "ServiceMonitor"))
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert "prom" == monitor["metadata"]["labels"]["release"]
    (port,) = service["spec"]["ports"]
    assert (8080, 8080) == (port["port"], template["spec"]["containers"][0]["ports"][0]["containerPort"])
    (endpoint,) = monitor["spec"]["endpoints"]
    assert {"port": port["name"], "path": "/metrics", "interval": "15s"} == endpoint
    assert port["targetPort"] == template["spec"]["containers"][0]["ports"][0]["name"]


def test_only_those_named_reach_the_bot(helm: Helm) -> None:
    """Alertmanager and Prometheus in `monitoring` by default; an empty list is nobody, not everybody."""
    (rule,) = one(helm.render(SMALL), "NetworkPolicy")["spec"]["ingress"]
    (peer,) = rule["from"]
    assert {"kubernetes.io/metadata.name": "monitoring"} == peer["namespaceSelector"]["matchLabels"]
    assert ["alertmanager", "prometheus"] == peer["podSelector"]["matchExpressions"][0]["values"]
    assert [{"port": "http", "protocol": "TCP"}] == rule["ports"]
    closed = one(helm.render({**SMALL, "networkPolicy": {"allowFrom": []}}), "NetworkPolicy")
    assert ([], ["Ingress", "Egress"]) == (closed["spec"]["ingress"], closed["spec"]["policyTypes"])
    (rule,) = one(helm.render(EVERYTHING | {"prometheusRule": {}}), "NetworkPolicy")["spec"]["ingress"]
    assert EVERYTHING["networkPolicy"]["allowFrom"] == rule["from"]


@pytest.mark.parametrize(
    ("expected", "config"),
    [
        ({443}, {}),
        ({443, 9092}, {"kafka": {"bootstrap": "kafka:9092"}}),
        ({443, 9092, 9093}, {"kafka": {"bootstrap": "a:9092, [::1]:9093,b:9092"}}),
        ({443, 80}, {"connect": {"url": "http://connect/path"}}),
        ({443}, {"registry": {"url": "https://registry/apis/ccompat/v7"}}),
        ({443, 8082}, {"flink": {"url": "http://jobmanager:8082"}}),
        ({443, 8081, 8083, 9090, 9093}, {
            "registry": {"url": "http://r:8081"}, "connect": {"url": "https://c:8083/x"},
            "prometheus": {"url": "http://p:9090"}, "alertmanager": {"url": "http://[::1]:9093", "tokens": ["${T}"]},
        }),
        ({443, 8443}, {"slack": {"bot_token": "${B}", "app_token": "${A}", "api_url": "https://slack.test:8443/api/"}}),
    ],
)  # fmt: skip
def test_the_bot_reaches_what_its_config_names(helm: Helm, expected: set[int], config: Mapping[str, Any]) -> None:
    """DNS, 443 for Slack, and the ports of the addresses; nothing that is not in the config."""
    values = {"secret": {"name": "s"}, "config": {"environment": "prod", **config}}
    dns, rest = one(helm.render(values), "NetworkPolicy")["spec"]["egress"]
    assert [(53, "UDP"), (53, "TCP")] == [(each["port"], each["protocol"]) for each in dns["ports"]]
    assert sorted(expected) == sorted(each["port"] for each in rest["ports"])


def test_the_policy_can_be_widened_and_left_out(helm: Helm) -> None:
    rules = one(helm.render({**EVERYTHING, "prometheusRule": {}}), "NetworkPolicy")["spec"]["egress"]
    assert EVERYTHING["networkPolicy"]["egress"] == rules[2:]
    without = helm.render({**SMALL, "networkPolicy": {"enabled": False}})
    assert "NetworkPolicy" not in {each["kind"] for each in without}


@pytest.mark.parametrize(
    ("claim", "storage_class", "persistence"),
    [
        ("oncall-cdc-oncall", "the default", {}),
        ("oncall-cdc-oncall", "fast", {"storageClass": "fast"}),
        ("oncall-cdc-oncall", "", {"storageClass": ""}),     # no class: a volume that was made by hand
        ("mine", None, {"existingClaim": "mine"}),
    ],
)  # fmt: skip
def test_the_journal_has_a_volume_that_is_kept(
    helm: Helm, claim: str, storage_class: str | None, persistence: Mapping[str, Any]
) -> None:
    """An existing claim is used as it is; a new one outlives the release."""
    resources = helm.render({**SMALL, "persistence": persistence})
    (journal,) = (volume for volume in pod_spec(resources)["volumes"] if volume["name"] == "journal")
    assert {"claimName": claim} == journal["persistentVolumeClaim"]
    claims = [each for each in resources if each["kind"] == "PersistentVolumeClaim"]
    assert ([] if storage_class is None else [storage_class]) == [
        each["spec"].get("storageClassName", "the default") for each in claims
    ]
    assert all("keep" == each["metadata"]["annotations"]["helm.sh/resource-policy"] for each in claims)


# --- the chart: what it refuses ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "values"),
    [
        (["Nothing was installed", "secret.name is not given", "--set secret.name="], {"config": SMALL["config"]}),
        (["secret.name is not given"], {**SMALL, "secret": {"name": ""}}),
        (["config is empty", "cdc init"], {"secret": {"name": "s"}}),
        (["secret.name is not given", "config is empty"], {}),
        (["config.listen is set by the chart"], {**SMALL, "config": {**SMALL["config"], "listen": "0.0.0.0:80"}}),
        (["config.state is set by the chart"], {**SMALL, "config": {**SMALL["config"], "state": "/tmp/x.db"}}),
        (["config.runbooks is set by the chart"], {
            **SMALL, "runbooks": {"a.yml": "x"}, "config": {**SMALL["config"], "runbooks": "/x"},
        }),
        (["replicas", "not allowed"], {**SMALL, "replicas": 2}),
        (["pullPolcy", "not allowed"], {**SMALL, "image": {"pullPolcy": "Always"}}),
        (["alowFrom", "not allowed"], {**SMALL, "networkPolicy": {"alowFrom": []}}),
        (["/networkPolicy/allowFrom/0"], {**SMALL, "networkPolicy": {"allowFrom": [{}]}}),   # {} would be everybody
        (["/persistence/accessMode"], {**SMALL, "persistence": {"accessMode": "ReadWriteMany"}}),
        (["/persistence/size"], {**SMALL, "persistence": {"size": "2 GB"}}),
        (["/runAsUser"], {**SMALL, "runAsUser": 0}),
        (["/config/kafka"], {**SMALL, "config": {"kafka": "kafka:9092"}}),
        (["/config/pipelines/customers"], {**SMALL, "config": {"pipelines": {"customers": None}}}),
        (["notes.txt"], {**SMALL, "runbooks": {"notes.txt": "x"}}),
    ],
)  # fmt: skip
def test_what_is_missing_or_misspelt_is_refused(helm: Helm, words: list[str], values: Mapping[str, Any]) -> None:
    """Before anything is installed, all at once, and with what to write."""
    said = helm.refuse(values)
    assert [] == [word for word in words if word not in said], said


LITERAL = "hunter2-in-plain-text"


def _with(path: str, value: object) -> dict[str, Any]:
    """Return the small values with one setting of the config more; a path ending in `[]` is a list of it."""
    values: dict[str, Any] = copy.deepcopy(SMALL)
    *sections, last = ["config", *path.split("/")]
    inner = values
    for section in sections:
        inner = inner.setdefault(section, {})
    inner[last.removesuffix("[]")] = [value] if last.endswith("[]") else value
    return values


SECRET_PATHS = (
    "slack/bot_token", "slack/app_token", "slack/signing_secret", "alertmanager/tokens[]", "connect/auth/bearer",
    "alertmanager/auth/password", "registry/auth/password", "connect/auth/password", "connect/actions_auth/bearer",
    "prometheus/auth/bearer", "kafka/config/sasl.password", "kafka/config/ssl.key.pem",
    "kafka/config/sasl.oauthbearer.assertion.private.key.passphrase", "kafka/config/sasl.jaas.config",
)  # fmt: skip


@pytest.mark.parametrize("path", SECRET_PATHS)
def test_no_secret_is_rendered_into_the_config(helm: Helm, path: str) -> None:
    """Whoever may read ConfigMaps could read it. It is refused, and the refusal does not repeat it into a CI log."""
    for value in (LITERAL, 12345, "Bearer ${NAME}", {"file": "/x", "value": LITERAL}, {}):
        said = helm.refuse(_with(path, value))
        assert f"/config/{path.removesuffix('[]')}" in said, said
        assert LITERAL not in said
    for value in ("${NAME}", {"file": f"{SECRETS}/x"}):
        assert value == _found(helm.render(_with(path, value)), path)


def test_a_password_of_alertmanager_is_not_rendered(helm: Helm) -> None:
    """The logins that the webhook accepts are a list of their own."""
    said = helm.refuse(_with("alertmanager/basic[]", {"user": "am", "password": LITERAL}))
    assert "/config/alertmanager/basic/0/password" in said
    assert LITERAL not in said
    allowed = {"user": "am", "password": "${NAME}"}
    assert allowed == _found(helm.render(_with("alertmanager/basic[]", allowed)), "alertmanager/basic[]")


@pytest.mark.parametrize("key", ["security.protocol", "sasl.username", "sasl.oauthbearer.token.endpoint.url"])
def test_what_is_no_secret_may_stand_in_the_config(helm: Helm, key: str) -> None:
    assert "x" == _found(helm.render(_with(f"kafka/config/{key}", "x")), f"kafka/config/{key}")


def test_the_chart_and_the_bot_hold_the_same_settings_for_secrets() -> None:
    """One pattern in two places: a setting of librdkafka that the bot refuses in plain text, the chart refuses too."""
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    of_kafka = schema["properties"]["config"]["properties"]["kafka"]["properties"]["config"]
    assert [MUST_BE_SECRET.pattern] == list(of_kafka["patternProperties"])


def _found(resources: list[Resource], path: str) -> object:
    """Return what stands at the path of the rendered cdc.yml."""
    (text,) = (each["data"]["cdc.yml"] for each in resources if "cdc.yml" in each.get("data", {}))
    inner = yaml.safe_load(text)
    *sections, last = path.split("/")
    for section in sections:
        inner = inner[section]
    return inner[last.removesuffix("[]")][0] if last.endswith("[]") else inner[last]


# --- the chart: alert rules, notes, examples -----------------------------------------------------------


def test_the_rules_of_the_chart_are_those_that_ship() -> None:
    """One source; after a change: cp runbooks/alerts.yml deploy/helm/cdc-oncall/files/alerts.yml"""
    assert (ROOT / "runbooks/alerts.yml").read_bytes() == (CHART / "files/alerts.yml").read_bytes()


def test_the_rules_are_prometheus_rules(helm: Helm, available: Available, tmp_path: Path) -> None:
    """Those that ship, word for word with `$labels` in them; promtool reads them."""
    resources = helm.render({**SMALL, "prometheusRule": {"enabled": True, "labels": {"release": "prom"}}})
    rule = one(resources, "PrometheusRule")
    assert ("monitoring.coreos.com/v1", "prom") == (rule["apiVersion"], rule["metadata"]["labels"]["release"])
    assert yaml.safe_load((ROOT / "runbooks/alerts.yml").read_text("utf-8")) == rule["spec"]
    _promtool(available, tmp_path, rule["spec"])


def test_the_rules_can_be_those_of_ones_own_thresholds(helm: Helm, available: Available, tmp_path: Path) -> None:
    """What `cdc rules` prints is given as a file; default rules beside other thresholds are refused."""
    values = {**EVERYTHING, "prometheusRule": {"enabled": True}}
    said = helm.refuse(values)
    assert "pipelines.customers.objective" in said and "--set-file prometheusRule.rules=" in said, said
    config = cdc_yml(helm.render({**EVERYTHING, "prometheusRule": {}}), tmp_path)
    own = render_rules(config.pipelines, config.alerts)
    rule = one(helm.render({**EVERYTHING, "prometheusRule": {"enabled": True, "rules": own}}), "PrometheusRule")
    assert yaml.safe_load(own) == rule["spec"] != yaml.safe_load((CHART / "files/alerts.yml").read_text("utf-8"))
    _promtool(available, tmp_path, rule["spec"])
    said = helm.refuse({**SMALL, "prometheusRule": {"enabled": True, "rules": "rules: []"}})
    assert "holds no `groups`" in said, said


def _promtool(available: Available, folder: Path, spec: Resource) -> None:
    rules = folder / "rules.yml"
    rules.write_text(yaml.safe_dump(spec), "utf-8")
    promtool = _place(available, "prometheus").with_name("promtool")
    run = subprocess.run(
        [str(promtool), "check", "rules", "--lint=none", str(rules)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 0 == run.returncode and f"{len(spec['groups'][0]['rules'])} rules found" in run.stdout, run.stderr


def test_the_notes_have_the_receiver_to_paste(helm: Helm, tmp_path: Path) -> None:
    """helm shows them after an install, which needs a cluster: here a copy of the chart renders them as a resource."""
    chart = tmp_path / "chart"
    shutil.copytree(CHART, chart)
    shutil.move(chart / "templates/NOTES.txt", chart / "notes.tpl")
    (chart / "templates/shown.yaml").write_text('kind: Notes\ntext: {{ tpl (.Files.Get "notes.tpl") . | toJson }}\n')
    notes, in_maintenance = (
        one(helm.render({**SMALL, "maintenance": on}, chart), "Notes")["text"] for on in (False, True)
    )
    assert notes.startswith("cdc-oncall") and in_maintenance.startswith("MAINTENANCE")
    block = "\n".join(line.removeprefix("     ") for line in notes.splitlines() if line.startswith("     "))
    pasted = yaml.safe_load(block[block.index("route:") :])
    (hook,) = pasted["receivers"][0]["webhook_configs"]
    assert "http://oncall-cdc-oncall.ops.svc:8080/alertmanager" == hook["url"]
    assert hook["send_resolved"] is True and "credentials_file" in hook["http_config"]["authorization"]
    assert pasted["receivers"][0]["name"] == pasted["route"]["routes"][0]["receiver"]
    assert "oncall-secrets" in notes and "{{" not in notes


def test_the_examples_can_be_installed(helm: Helm, tmp_path: Path) -> None:
    """The README's values, and the config that stands in values.yaml as a comment."""
    (block,) = re.findall(r"```yaml\n(.*?)```", (CHART / "README.md").read_text("utf-8"), re.DOTALL)
    text = (CHART / "values.yaml").read_text("utf-8")
    comment = re.search(r"^config: \{\}\n((?:#.*\n)+)", text, re.MULTILINE)
    assert comment is not None
    commented = yaml.safe_load("config:\n" + re.sub(r"^#", "", comment[1], flags=re.MULTILINE))
    for values in (yaml.safe_load(block.replace("REGISTRY", "registry.example")), {**SMALL, **commented}):
        config = cdc_yml(helm.render(values), tmp_path)
        assert ["customers"] == [pipeline.name for pipeline in config.pipelines]
        keys = {secret.removeprefix(f"{SECRETS}/") for secret in _secret_files(config)}
        assert {"slack-bot-token", "slack-app-token", "webhook-token"} == keys
        assert all(f"--from-literal={key}=" in text for key in keys), "the command beside it makes them"


def test_the_chart_is_of_this_version() -> None:
    """Its default image is the one of the checkout."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert project["version"] == chart["appVersion"]


def _secret_files(config: Config) -> Iterator[str]:
    """What the config wants to read, as its own complaint names it: nothing of it exists here."""
    for reason in config.unresolved({}):
        match = re.fullmatch(r"The secret file (\S+) could not be read: .*", reason)
        assert match, reason
        yield match[1]


# --- systemd -------------------------------------------------------------------------------------------


def _verify(systemd_analyze: str, text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Ask systemd itself about a unit; the program it starts is one that exists here."""
    unit = folder / UNIT.name
    unit.write_text(text.replace("/opt/cdc-oncall/bin/cdc", shutil.which("true") or "/bin/true"), "utf-8")
    return subprocess.run(
        [systemd_analyze, "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False
    )


def test_systemd_reads_the_unit(systemd_analyze: str, tmp_path: Path) -> None:
    """Without a word: no unknown setting, no section in the wrong place."""
    run = _verify(systemd_analyze, UNIT.read_text("utf-8"), tmp_path)
    assert (0, "") == (run.returncode, run.stdout + run.stderr)


def test_systemd_would_object(systemd_analyze: str, tmp_path: Path) -> None:
    """The check above can fail: a misspelt setting is a word."""
    run = _verify(systemd_analyze, UNIT.read_text("utf-8").replace("ProtectSystem=", "ProtectSytem="), tmp_path)
    assert "ProtectSytem" in run.stdout + run.stderr


def test_the_unit_is_closed(systemd_analyze: str) -> None:
    """systemd's own measure, 0 (closed) to 10; a unit without any of it has 9.6. What is left is the network."""
    run = subprocess.run(
        [systemd_analyze, "security", "--offline=true", "--threshold=15", str(UNIT)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert 0 == run.returncode, run.stdout[-300:] + run.stderr
    settings = _settings(UNIT.read_text("utf-8"))
    assert ["strict"] == settings["ProtectSystem"] and ["yes"] == settings["NoNewPrivileges"]
    assert [""] == settings["CapabilityBoundingSet"]


def test_the_units_config_uses_its_credentials_and_its_state() -> None:
    """What cdc.yml reads is what systemd hands in, and the journal is where it may write."""
    settings = _settings(UNIT.read_text("utf-8"))
    config = parse((UNIT.parent / "cdc.yml").read_bytes(), Path("/etc/cdc-oncall/cdc.yml"))
    (state,) = settings["StateDirectory"]
    assert Path("/var/lib", state) == config.state.parent
    handed_in = {credential.partition(":")[0] for credential in settings["LoadCredential"]}
    assert {f"/run/credentials/{UNIT.name}/{name}" for name in handed_in} == set(_secret_files(config))
    assert {} == dict(config.actions)
    (environment,) = settings["Environment"]
    assert "CDC_CONFIG=/etc/cdc-oncall/cdc.yml" in environment.split()
    assert f"MPLCONFIGDIR=%C/{settings['CacheDirectory'][0]}" in environment.split()  # its home is /, read-only


def _settings(unit: str) -> dict[str, list[str]]:
    """Return the settings of a unit, each with its values in order."""
    settings: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE):
        settings.setdefault(name, []).append(value)
    return settings


# --- the documents ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["deploy/helm/cdc-oncall/README.md", "deploy/systemd/README.md", "SECURITY.md"])
def test_what_the_documents_name_is_there(path: str) -> None:
    """Files, links, `cdc` commands and settings; a test that is named as the proof exists."""
    text = (ROOT / path).read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if not link.startswith(("http", "mailto"))]
    assert [] == [link for link in links if not ((ROOT / path).parent / link).exists()]
    files = set(re.findall(r"\b(?:bot|tests|deploy|runbooks|docs)/[\w/.-]+\w", text))
    files |= set(re.findall(r"\brequirements[\w-]*\.lock\b|\bDockerfile\b|\bmanifest\.yml\b", text))
    assert [] == sorted(file for file in files if not (ROOT / file).exists())
    spans = " ".join(re.findall(r"`[^`]+`", text))
    verbs = re.findall(r"(?:(?<![\w/.-])cdc|bin/cdc)(?: -c \S+)? ([a-z]+)\b(?!:)", spans)
    assert [] == sorted(verb for verb in set(verbs) if verb not in cdc.commands)


def test_every_proof_that_is_named_exists() -> None:
    """SECURITY.md is held to what a test shows; a renamed test is missed here."""
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "SECURITY.md").read_text("utf-8")))
    defined = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text("utf-8"), re.MULTILINE)
    }
    assert named and set() == named - defined


def test_security_fits_on_a_screen_and_a_half() -> None:
    assert 75 >= len((ROOT / "SECURITY.md").read_text("utf-8").splitlines())
