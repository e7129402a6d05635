"""Secrets: named in the config, resolved when used, never printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot import config

TEXT = """
kafka:
  bootstrap: k:9092
  config: {sasl.username: me, sasl.password: "${KAFKA_PASSWORD}", socket.keepalive.enable: true}
registry: {url: "http://r", auth: {user: me, password: "${REGISTRY_PASSWORD}"}}
connect: {url: "http://c", auth: {bearer: {file: token}}}
slack: {bot_token: "${BOT}", signing_secret: "${SIGN}"}
"""


def load(folder: Path, token: str | None = "hunter2\n") -> config.Config:
    if token is not None:
        (folder / "token").write_text(token, "utf-8")
    (folder / "cdc.yml").write_text(TEXT, "utf-8")
    return config.load(folder / "cdc.yml")


def test_a_config_loads_in_an_empty_environment(tmp_path: Path) -> None:
    """Loading asks for no secret: neither the variable nor the file needs to be there."""
    assert load(tmp_path, token=None).slack is not None


def test_secrets_are_resolved_when_used(tmp_path: Path) -> None:
    """The environment is an argument; a file stands beside the config and is read again each time."""
    loaded = load(tmp_path)
    environ = {"KAFKA_PASSWORD": "p", "REGISTRY_PASSWORD": "q"}
    assert loaded.kafka and loaded.registry and loaded.registry.auth and loaded.connect and loaded.connect.auth
    assert {
        "bootstrap.servers": "k:9092",
        "sasl.username": "me",
        "sasl.password": "p",
        "socket.keepalive.enable": "true",
    } == loaded.kafka.client_settings(environ)
    assert "Basic bWU6cQ==" == loaded.registry.auth.header(environ)
    assert "Bearer hunter2" == loaded.connect.auth.header(environ)
    (tmp_path / "token").write_text("rotated", "utf-8")
    assert "Bearer rotated" == loaded.connect.auth.header(environ)


@pytest.mark.parametrize(
    ("secret", "environ", "said"),
    [
        (config.Secret(variable="BOT"), {}, "The environment variable BOT is not set."),
        (config.Secret(variable="BOT"), {"BOT": ""}, "The environment variable BOT is not set."),
        (
            config.Secret(file=Path("/nowhere/token")),
            {},
            "The secret file /nowhere/token could not be read: No such file",
        ),
        (config.Secret(file=Path("/dev/null")), {}, "The secret file /dev/null is empty."),
    ],
)
def test_a_secret_that_cannot_be_resolved_is_named(secret: config.Secret, environ: dict[str, str], said: str) -> None:
    """The error names the variable or the file, so that it can be put right."""
    with pytest.raises(config.SecretError, match=said):
        secret.reveal(environ)


def test_no_secret_is_printed(tmp_path: Path) -> None:
    """Neither the config nor a secret shows a value, not even one written in plain text."""
    loaded = load(tmp_path)
    shown = f"{loaded!r} {loaded.connect} {config.Secret(literal='hunter2')!r} {config.Secret(literal='hunter2')}"
    assert "hunter2" not in shown
    assert "${BOT}" == str(loaded.slack and loaded.slack.bot_token)


@pytest.mark.parametrize(
    "text",
    [
        "slack: {bot_token: hunter2, signing_secret: '${A}'}",
        "slack: {bot_token: [hunter2], signing_secret: '${A}hunter2'}",
        "registry: {url: 'http://u:hunter2@r'}",
        "registry: {url: 'hunter2'}",
        "kafka: {bootstrap: 'k:1', config: {sasl.password: hunter2, ssl.key.pem: hunter2}}",
        "kafka: {bootstrap: 'k:1', config: {sasl.username: '${A}:hunter2'}}",
        "alertmanager: {url: 'http://a', tokens: [hunter2], basic: [{user: u, password: hunter2}]}",
        "people: {responders: hunter2}",
    ],
)
def test_an_error_repeats_no_value(text: str) -> None:
    """A secret in the wrong place must not reach the terminal's scrollback or a CI log."""
    with pytest.raises(config.ConfigErrors) as caught:
        config.parse(text.encode(), Path("cdc.yml"))
    assert "hunter2" not in str(caught.value)


def test_what_cannot_be_resolved_is_told_at_once(tmp_path: Path) -> None:
    """`cdc serve` names every secret that it lacks, all at once; with all of them there is nothing to tell."""
    loaded = load(tmp_path, token=None)
    lacking = loaded.unresolved({"BOT": "b"})
    assert [True, True, True, True] == [
        any(name in reason for reason in lacking) for name in ("KAFKA_PASSWORD", "REGISTRY_PASSWORD", "token", "SIGN")
    ]
    assert 4 == len(lacking)
    (tmp_path / "token").write_text("t", "utf-8")
    assert () == loaded.unresolved({"KAFKA_PASSWORD": "k", "REGISTRY_PASSWORD": "r", "BOT": "b", "SIGN": "s"})


@pytest.mark.parametrize(
    ("key", "is_secret"),
    [
        ("sasl.password", True),
        ("ssl.key.password", True),
        ("ssl.keystore.password", True),
        ("ssl.key.pem", True),
        ("sasl.oauthbearer.client.secret", True),
        ("sasl.oauthbearer.client.credentials.client.secret", True),
        ("sasl.oauthbearer.assertion.private.key.passphrase", True),
        ("sasl.oauthbearer.assertion.private.key.pem", True),
        ("sasl.oauthbearer.config", True),
        ("sasl.oauthbearer.token", True),
        ("sasl.jaas.config", True),
        ("ssl.keystore.key", True),
        ("SASL.PASSWORD", True),
        ("sasl.username", False),
        ("sasl.oauthbearer.client.id", False),
        ("sasl.oauthbearer.token.endpoint.url", False),
        ("sasl.oauthbearer.assertion.private.key.file", False),
        ("sasl.oauthbearer.extensions", False),
        ("ssl.key.location", False),
        ("ssl.keystore.location", False),
        ("ssl.ca.pem", False),
        ("ssl.certificate.pem", False),
        ("security.protocol", False),
    ],
)
@pytest.mark.parametrize("value", ["hunter2", "12345", "prefix-${NAME}"])
def test_a_setting_that_holds_a_secret_is_not_in_plain_text(key: str, is_secret: bool, value: str) -> None:
    """By its name: a password, a passphrase, a private key, a token; a path, an address or a user is none."""
    assert is_secret is config.is_open_secret(key, value)
    assert not config.is_open_secret(key, "${NAME}")
    written = f"kafka: {{bootstrap: 'k:1', config: {{{key}: {value if value.isdigit() else repr(value)}}}}}"
    refusal = f"{key} is a secret"
    try:
        config.parse(written.encode(), Path("cdc.yml"))
        said = ""
    except config.ConfigErrors as error:
        said = str(error)
    assert is_secret is (refusal in said)
    assert config.parse(f"kafka: {{bootstrap: 'k:1', config: {{{key}: '${{N}}'}}}}".encode(), Path("cdc.yml")).kafka
