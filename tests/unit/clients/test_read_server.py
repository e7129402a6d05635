"""`read_server`: what a registry and a Connect worker say of themselves, and which calls they answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.clients.connect import HttpConnect
from bot.clients.http import JsonHttp
from bot.clients.registry import HttpSchemaRegistry
from bot.config import Tls
from bot.ports import Denied, Missing, Unreachable

APICURIO = {"name": "Apicurio Registry (In Memory)", "description": "...", "version": "3.3.3"}
KARAPACE = {"process_uptime_sec": 11, "karapace_version": "5.0.3", "schema_registry_ready": True}
CONFLUENT = {"version": "7.9.1", "commitId": "abc"}
ABOUT = {"version": "4.1.1", "commit": "abc", "kafka_cluster_id": "x"}


def with_subject(server, base: str = "") -> None:
    """Answer the calls on a subject as a registry does."""
    server[f"GET {base}/subjects"] = (200, ["s/1"])
    server[f"GET {base}/subjects/s%2F1/versions"] = (200, [1, 2])
    server[f"GET {base}/subjects/s%2F1/versions/latest"] = (200, {"version": 2, "id": 7, "schema": "{}"})
    server[f"GET {base}/config/s%2F1?defaultToGlobal=true"] = (200, {"compatibilityLevel": "FULL"})
    server[f"GET {base}/mode/s%2F1?defaultToGlobal=true"] = (200, {"mode": "READWRITE"})
    server[f"GET {base}/schemas/ids/7"] = (200, {"schema": "{}"})


@pytest.mark.parametrize(
    ("where", "answer", "kind", "version"),
    [
        ("/apis/registry/v3/system/info", APICURIO, "Apicurio", "3.3.3"),
        ("/apis/registry/v2/system/info", {**APICURIO, "version": "2.6.13"}, "Apicurio", "2.6.13"),
        ("/apis/ccompat/v7/_health", KARAPACE, "Karapace", "5.0.3"),
        ("/apis/ccompat/v7/v1/metadata/version", CONFLUENT, "Confluent", "7.9.1"),
        ("/apis/ccompat/v7/v1/metadata/version", {"version": "1"}, "", None),
        ("/elsewhere", {}, "", None),
    ],
)
def test_a_registry_is_known_by_what_only_it_answers(server, where, answer, kind, version):
    """Apicurio's own API is at its root, whatever the path of the Confluent one; the others' is below the address."""
    with_subject(server, "/apis/ccompat/v7")
    server[f"GET {where}"] = (200, answer)

    found = HttpSchemaRegistry(JsonHttp(f"{server.url}/apis/ccompat/v7")).read_server(5)

    assert (kind, version) == (found.kind, found.version)
    assert 6 == len(found.calls)
    assert {None} == set(found.calls.values())


def test_a_call_that_is_refused_says_why_and_the_others_are_tried(server):
    """Karapace has no mode; a missing permission is no outage."""
    with_subject(server)
    server["GET /mode/s%2F1?defaultToGlobal=true"] = (404, {"message": "Not Found"})
    server["GET /schemas/ids/7"] = (403, {"message": "User cannot Read"})

    calls = HttpSchemaRegistry(JsonHttp(server.url)).read_server(5).calls

    assert "answered 404: Not Found" in calls["GET /mode/SUBJECT?defaultToGlobal=true"]
    assert "answered 403" in calls["GET /schemas/ids/ID"]
    assert [None] * 4 == [calls[call] for call in list(calls)[:4]]


def test_a_registry_without_subjects_leaves_its_calls_untried(server):
    """What was not tried is said to be not known."""
    server["GET /subjects"] = (200, [])

    found = HttpSchemaRegistry(JsonHttp(server.url)).read_server(5)

    assert {"GET /subjects": None} == found.calls
    assert ("which of its calls work: it shows no subject to try them on",) == found.not_known


def test_apicurio_without_the_path_of_its_confluent_api_is_still_known(server):
    """So that the right address can be told."""
    server["GET /subjects"] = (404, "<html>Not here</html>")
    server["GET /apis/registry/v3/system/info"] = (200, APICURIO)

    found = HttpSchemaRegistry(JsonHttp(server.url)).read_server(5)

    assert ("Apicurio", "3.3.3") == (found.kind, found.version)
    assert "is this the right address?" in found.calls["GET /subjects"]


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (401, {"message": "Unauthorized"}, Denied),
        (404, {"error_code": 404, "message": "Not Found"}, Missing),
        (404, {"message": "Not Found"}, Unreachable),
        (404, "", Unreachable),
        (200, "<html>Sign in</html>", Unreachable),
        (200, {"not": "a list"}, Unreachable),
        (200, 7, Unreachable),
    ],
)
def test_a_server_that_is_no_known_registry_is_the_error_of_its_first_call(server, status, body, error):
    """It does not say what it is: then why it did not list its subjects is all there is."""
    server["GET /subjects"] = (status, body)

    with pytest.raises(error):
        HttpSchemaRegistry(JsonHttp(server.url)).read_server(5)


@pytest.mark.parametrize(
    ("base", "subjects", "moved", "found"),
    [
        ("", (404, ""), (200, ["s"]), True),
        ("/apis/registry/v3", (404, ""), (200, []), True),
        ("", (404, "<html>Not here</html>"), (200, ["s"]), True),
        ("", (200, ["s"]), (200, ["s"]), False),  # the address is one already
        ("/apis/ccompat/v7", (404, ""), (404, ""), False),
        ("", (404, ""), (401, {}), False),  # what was not seen to work is not said
        ("", (404, ""), (200, {"not": "a list"}), False),
    ],
)
def test_apicurios_confluent_api_is_found_from_its_base(server, base, subjects, moved, found):
    """Only where it answers as one."""
    server["GET /apis/registry/v3/system/info"] = (200, APICURIO)
    server["GET /apis/ccompat/v7/subjects"] = moved
    server[f"GET {base}/subjects"] = subjects

    address = HttpSchemaRegistry(JsonHttp(server.url + base)).confluent_address(5)

    assert (f"{server.url}/apis/ccompat/v7" if found else None) == address


def test_another_servers_404_is_not_taken_for_apicurio(server):
    """What does not say that it is Apicurio is not sent anywhere."""
    server["GET /subjects"] = (404, "")
    server["GET /apis/ccompat/v7/subjects"] = (200, [])
    assert None is HttpSchemaRegistry(JsonHttp(server.url)).confluent_address(5)
    assert None is HttpSchemaRegistry(JsonHttp("http://127.0.0.1:1")).confluent_address(5)


def with_connector(server) -> None:
    server["GET /"] = (200, ABOUT)
    server["GET /connectors?expand=status&expand=info"] = (200, {"a b": {"status": {}, "info": {}}})
    server["GET /connectors/a%20b/status"] = (200, {})
    server["GET /connectors/a%20b/config"] = (200, {})
    server["GET /connector-plugins"] = (200, [{"class": "x.SinkConnector", "type": "sink", "version": "1"}])


def test_a_worker_tells_version_plugins_and_calls(server):
    """Reading only: not one POST."""
    with_connector(server)

    found = HttpConnect(JsonHttp(server.url)).read_server(5)

    assert ("Kafka Connect", "4.1.1", ("x.SinkConnector",)) == (found.kind, found.version, found.plugins)
    assert {None} == set(found.calls.values())
    assert 4 == len(found.calls)
    assert {"GET"} == {line.split()[0] for line, _, _ in server.asked}


def test_a_worker_that_hides_its_plugins_says_so(server):
    """No plugins listed is not no plugins."""
    with_connector(server)
    server["GET /connector-plugins"] = (403, {"message": "no"})

    found = HttpConnect(JsonHttp(server.url)).read_server(5)

    assert () == found.plugins
    assert "answered 403" in found.calls["GET /connector-plugins"]


def test_a_worker_that_ignores_expand_is_older_than_2_3(server):
    """It answers with the names alone."""
    with_connector(server)
    server["GET /connectors?expand=status&expand=info"] = (200, ["a b"])

    assert "older than 2.3" in HttpConnect(JsonHttp(server.url)).read_server(5).calls["GET /connectors"]


@pytest.mark.parametrize("body", [{}, [], {"version": "1"}, "<html>", 7])
def test_a_server_that_is_no_worker_says_so(server, body):
    """A registry answers `{}` at its root."""
    server["GET /"] = (200, body)

    with pytest.raises(Unreachable, match="is this the right address"):
        HttpConnect(JsonHttp(server.url)).read_server(5)


@pytest.mark.parametrize(
    ("tls", "words"),
    [
        (
            {"ca": "absent.pem"},
            "not asked: Could not find a suitable TLS CA certificate bundle, invalid path: .*absent.pem",
        ),
        (
            {"certificate": "absent.pem"},
            "not asked: Could not find the TLS certificate file, invalid path: .*absent.pem",
        ),
        ({"ca": "garbage.pem"}, "TLS failed: the file of tls.ca holds no certificate in PEM form"),
        ({"certificate": "garbage.pem"}, "TLS failed: the file of tls.certificate or tls.key is not in PEM form"),
    ],
)
def test_a_certificate_file_that_is_of_no_use_is_an_error_that_names_it(server, tmp_path: Path, tls, words):
    """A typo in a path is told, and nothing was sent."""
    (tmp_path / "garbage.pem").write_text("garbage")
    files = Tls.model_validate(tls, context={"directory": tmp_path})

    with pytest.raises(Unreachable, match=words) as raised:
        JsonHttp(server.url.replace("http://", "https://"), tls=files).get("/x", 5)

    assert raised.value.sent is False
