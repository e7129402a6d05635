"""`cdc doctor`, Schema Registry: each line from both sides."""

from __future__ import annotations

import pytest

from bot.doctor.registry import RegistryFacts, gather, judge
from bot.model import Pipeline
from bot.ports import Denied, Missing, PortError, ServerFacts, SubjectState, Unreachable

URL = "https://registry:8081"
SETTING = "pipelines.p.subjects"
CALLS = dict.fromkeys(
    (
        "GET /subjects",
        "GET /subjects/SUBJECT/versions",
        "GET /config/SUBJECT?defaultToGlobal=true",
        "GET /mode/SUBJECT?defaultToGlobal=true",
        "GET /schemas/ids/ID",
    )
)


def judged(facts: RegistryFacts) -> list[tuple[str, str, str]]:
    return [(str(line.status), line.what, line.remedy) for line in judge(facts)]


@pytest.mark.parametrize(
    ("kind", "version", "words"),
    [
        ("Confluent", "7.9.1", "Confluent 7.9.1 at https://registry:8081, 5 of 5 calls answered"),
        ("Karapace", "5.0.3", "Karapace 5.0.3 at https://registry:8081, 5 of 5 calls answered"),
        (
            "Apicurio",
            "3.3.3",
            "Apicurio 3.3.3 at https://registry:8081, 5 of 5 calls answered; a mode READONLY would not protect a "
            "subject there: Apicurio does not enforce it",
        ),
        ("", None, "a registry that does not say which at https://registry:8081, 5 of 5 calls answered"),
    ],
)
def test_a_sound_registry_says_which_it_is(kind: str, version: str | None, words: str) -> None:
    """Its subjects are a line of their own."""
    facts = RegistryFacts(URL, ServerFacts(kind, version, CALLS), subjects={("s", SETTING): None})

    assert [("ok", words, ""), ("ok", "subjects of cdc.yml found: s", "")] == judged(facts)


@pytest.mark.parametrize(
    ("error", "what", "remedy"),
    [
        (
            Unreachable(
                "GET https://registry:8081/subjects: TLS failed: certificate not trusted: is the CA configured?"
            ),
            "certificate not trusted",
            "Write `registry: {tls: {ca: ./ca.pem}}` into cdc.yml",
        ),
        (
            Unreachable("GET x: TLS failed: the certificate is for another host: is this the right name?"),
            "another host",
            "Write under `registry: {url: ...}` the host name",
        ),
        (
            Unreachable(
                "GET x: TLS failed: the server wants a client certificate: are tls.certificate and tls.key ..?"
            ),
            "wants a client certificate",
            "`registry: {tls: {certificate: ./client.pem, key: ./client.key}}`",
        ),
        (
            Unreachable("GET x: TLS failed: the port speaks plain HTTP: is it http:// here?"),
            "speaks plain HTTP",
            "`registry: {url: http://registry:8081}`",
        ),
        (
            Denied("GET x: answered 401, the credentials are missing or wrong"),
            "answered 401",
            '`registry: {auth: {user: NAME, password: "${REGISTRY_PASSWORD}"}}`',
        ),
        (Denied("GET x: answered 403, these credentials may not do this"), "answered 403", "--permissions"),
        (
            Unreachable("GET x: answered 200 with HTML, not the API: is this the right address?"),
            "with HTML",
            "a page for people is another",
        ),
        (
            Unreachable(
                "https://registry:8081: not asked: The secret file /s/registry could not be read: No such file"
            ),
            "/s/registry",
            "Put the secret into that file",
        ),
        (Unreachable("GET x: reset the connection"), "reset the connection", "let it through the network"),
        (Unreachable("GET x: refused the connection"), "refused the connection", "let it through the network"),
    ],
)
def test_what_keeps_the_bot_out_is_one_line_with_what_to_write(error: PortError, what: str, remedy: str) -> None:
    """Nothing more is said of a registry that was not reached."""
    ((status, said, then),) = judged(RegistryFacts(URL, error=error))

    assert ("failed", True, True) == (status, what in said, remedy in then), (said, then)


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("http://apicurio:8080", "Write `registry: {url: http://apicurio:8080/apis/ccompat/v7}` into cdc.yml."),
        ("http://apicurio:8080/apis/registry/v3", "Write `registry: {url: http://apicurio:8080/apis/ccompat/v7}`"),
        ("http://apicurio:8080/apis/ccompat/v7", "Write under `registry: {url: ...}` the address of the API"),
    ],
)
def test_apicurios_own_address_is_answered_with_the_one_that_is_meant(url: str, remedy: str) -> None:
    """It tells its version there, and has no subjects."""
    refused = {"GET /subjects": "answered 404 with HTML, not the API: is this the right address?"}

    ((status, _, then),) = judged(RegistryFacts(url, ServerFacts("Apicurio", "3.3.3", refused)))

    assert "failed" == status
    assert then.startswith(remedy)


@pytest.mark.parametrize(
    ("kind", "call", "status"),
    [
        ("Confluent", "GET /mode/SUBJECT?defaultToGlobal=true", ["warning"]),
        ("Karapace", "GET /mode/SUBJECT?defaultToGlobal=true", []),
        ("Karapace", "GET /config/SUBJECT?defaultToGlobal=true", ["warning"]),
        ("Confluent", "GET /schemas/ids/ID", ["warning"]),
        ("Confluent", "GET /subjects/SUBJECT/versions", ["failed"]),
    ],
)
def test_a_call_that_does_not_work_says_what_is_left_out(kind: str, call: str, status: list[str]) -> None:
    """Karapace has no mode: nothing that anybody has to repair."""
    server = ServerFacts(kind, "1", {**CALLS, call: "GET x: answered 403, these credentials may not do this"})

    bad = [line for line in judged(RegistryFacts(URL, server)) if line[0] != "ok"]

    assert status == [line[0] for line in bad]
    assert all(line[1].startswith(call) and "--permissions" in line[2] for line in bad)


def test_a_registry_without_subjects_is_not_said_to_work_whole() -> None:
    """What was not tried is not known."""
    server = ServerFacts("Confluent", "7", {"GET /subjects": None}, not_known=("which calls work: no subject",))

    assert judged(RegistryFacts(URL, server))[0][1].endswith(
        "1 of 1 calls answered; not known: which calls work: no subject"
    )


class Registry:
    """One that has the subject `there` only."""

    def __init__(self, server: ServerFacts | PortError) -> None:
        self.server = server

    def read_server(self, deadline_s: float) -> ServerFacts:
        if isinstance(self.server, PortError):
            raise self.server
        return self.server

    def read_subject(self, subject: str, newest: int, deadline_s: float) -> SubjectState:
        if subject == "hidden":
            raise Denied("answered 403")
        if subject != "there":
            raise Missing(f"no subject {subject}")
        return SubjectState(subject, None, None, ())

    def read_schema(self, schema_id: int, deadline_s: float) -> str:
        raise Missing("not asked for")

    def read_subjects(self, deadline_s: float) -> tuple[str, ...]:
        raise Missing("not asked for")


def test_a_subject_that_is_not_there_names_the_setting() -> None:
    """A typo in cdc.yml is no outage of the registry."""
    registry = Registry(ServerFacts("Confluent", "7", CALLS))
    pipeline = Pipeline("p", "#c", subjects=("there", "typo", "hidden"))

    lines = judged(gather(registry, registry, URL, [pipeline], 1))[1:]

    assert [
        ("ok", "subjects of cdc.yml found: there"),
        ("failed", "pipelines.p.subjects: there is no subject typo"),
        ("failed", "pipelines.p.subjects: subject hidden cannot be read: answered 403"),
    ] == [line[:2] for line in lines]
    assert "Correct pipelines.p.subjects in cdc.yml" in lines[1][2]


@pytest.mark.parametrize(
    "server", [Unreachable("down"), ServerFacts("Apicurio", "3", {"GET /subjects": "answered 404"})]
)
def test_a_registry_that_does_not_list_is_asked_nothing_more(server: ServerFacts | PortError) -> None:
    """One line, not one per subject."""
    registry = Registry(server)

    assert 1 == len(judged(gather(registry, registry, URL, [Pipeline("p", "#c", subjects=("there",))], 1)))
