"""Registry, Connect and Alertmanager clients against recorded answers of each make."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from bot.clients.alertmanager import HttpAlertmanager
from bot.clients.connect import HttpConnect
from bot.clients.http import JsonHttp
from bot.clients.registry import HttpSchemaRegistry
from bot.ports import Matcher, Missing, Rejected, Unreachable

AVRO = '{"type":"record","name":"c","fields":[]}'
VERSIONS = "/subjects/customers-value/versions"
CONFIG = "/config/customers-value?defaultToGlobal=true"
MODE = "/mode/customers-value?defaultToGlobal=true"


def registry(server) -> HttpSchemaRegistry:
    return HttpSchemaRegistry(JsonHttp(server.url))


def confluent(server, *, ts: object = None) -> None:
    server[f"GET {VERSIONS}"] = (200, [1, 2, 3])
    for number in (1, 2, 3):
        body = {"subject": "customers-value", "version": number, "id": 10 + number, "schema": AVRO}
        server[f"GET {VERSIONS}/{number}"] = (200, {**body, **({"ts": ts} if ts is not None else {})})
    server[f"GET {CONFIG}"] = (200, {"compatibilityLevel": "BACKWARD"})
    server[f"GET {MODE}"] = (200, {"mode": "READWRITE"})


@pytest.mark.parametrize(
    ("expected", "ts"),
    [
        (datetime(2026, 11, 23, 14, 2, 11, tzinfo=UTC), 1795442531000),
        (None, None),
        (None, 0),
        (None, "soon"),
    ],
)
def test_registered_at_is_the_registrys_own_ts_or_unknown(server, expected, ts):
    """Confluent >= 8.0 sends milliseconds; the others send nothing, and nothing is invented."""
    confluent(server, ts=ts)

    assert expected == registry(server).read_subject("customers-value", 1, 5).versions[0].registered_at


def test_newest_versions_oldest_first_with_level_and_mode(server):
    """Two of three are asked for; the numbers of all are kept."""
    confluent(server)

    state = registry(server).read_subject("customers-value", 2, 5)

    assert ([2, 3], (1, 2, 3)) == ([v.version for v in state.versions], state.all_versions)
    assert ("BACKWARD", "READWRITE", ()) == (state.compatibility, state.mode, state.not_known)
    assert (13, "AVRO", AVRO) == (state.versions[1].schema_id, state.versions[1].schema_type, state.versions[1].schema)


def test_karapace_has_no_mode_and_that_is_one_line_of_not_known(server):
    """The rest of the answer stands."""
    confluent(server)
    server[f"GET {MODE}"] = (404, {"error_code": 404, "message": "Not Found"})

    state = registry(server).read_subject("customers-value", 1, 5)

    assert None is state.mode
    assert ["mode of customers-value"] == [line.partition(":")[0] for line in state.not_known]


@pytest.mark.parametrize("body", ["", {}, {"message": "Not Found"}, {"error_code": "x"}, "null"])
@pytest.mark.parametrize(
    "ask", [lambda it: it.read_subject("s", 2, 5), lambda it: it.read_schema(7, 5), lambda it: it.read_subjects(5)]
)
def test_a_404_without_a_registrys_number_is_another_address(server, body, ask):
    """Apicurio's base answers 404 with nothing: that is no word of the subject, and the right address is named."""
    for path in ("/subjects", "/subjects/s/versions", "/schemas/ids/7"):
        server[f"GET {path}"] = (404, body)

    with pytest.raises(Unreachable) as raised:
        ask(registry(server))

    assert "this address does not answer as a Schema Registry" in str(raised.value)
    assert f"is it Apicurio? its Confluent API is at {server.url}/apis/ccompat/v7" in str(raised.value)


@pytest.mark.parametrize("code", [404, 40401])
def test_a_404_with_a_registrys_number_is_missing(server, code):
    """Karapace, Confluent and Apicurio give one."""
    server["GET /subjects/s/versions"] = (404, {"error_code": code, "message": "Subject 's' not found."})
    with pytest.raises(Missing):
        registry(server).read_subject("s", 2, 5)


def test_an_unknown_subject_is_missing_in_the_registrys_words(server):
    """Recorded from Apicurio 3.3.3 and Confluent: both answer 40401."""
    server["GET /subjects/typo/versions"] = (404, {"error_code": 40401, "message": "Subject 'typo' not found."})

    with pytest.raises(Missing, match=r"no subject typo at http://.*Subject 'typo' not found"):
        registry(server).read_subject("typo", 2, 5)


def test_a_subject_with_a_slash_stays_one_path_segment(server):
    """Subject names are free text."""
    server["GET /subjects/a%2Fb%3Fc/versions"] = (200, [])

    assert () == registry(server).read_subject("a/b?c", 2, 5).versions


@pytest.mark.parametrize("body", [{"no": "list"}, ["one"], 7, [None]])
def test_other_json_than_a_registrys_is_unreachable(server, body):
    """The URL of another service answers JSON too."""
    server[f"GET {VERSIONS}"] = (200, body)

    with pytest.raises(Unreachable, match="other JSON than a Schema Registry's"):
        registry(server).read_subject("customers-value", 2, 5)


def test_schema_of_an_id(server):
    """A dead letter names its schema by id."""
    server["GET /schemas/ids/7"] = (200, {"schema": AVRO})

    assert AVRO == registry(server).read_schema(7, 5)
    with pytest.raises(Missing, match="no schema with id 8"):
        registry(server).read_schema(8, 5)


# --- Connect -------------------------------------------------------------------------------------

STATUS = {
    "name": "source",
    "connector": {"state": "RUNNING", "worker_id": "127.0.0.1:8083"},
    "tasks": [
        {"id": 1, "state": "RUNNING", "worker_id": "127.0.0.1:8083"},
        {"id": 0, "state": "FAILED", "worker_id": "127.0.0.1:8083", "trace": "org.apache.X: boom"},
    ],
    "type": "source",
}


def test_connector_state_tasks_in_order_and_trace(server):
    """A RUNNING connector with a FAILED task is exactly that."""
    server["GET /connectors/source/status"] = (200, STATUS)
    server["GET /connectors/source/config"] = (200, {"name": "source", "tasks.max": "2"})

    state = HttpConnect(JsonHttp(server.url)).read_connector("source", 5)

    assert ("source", "RUNNING", "2") == (state.type, state.state, state.config["tasks.max"])
    assert [(0, "FAILED", "org.apache.X: boom"), (1, "RUNNING", None)] == [
        (task.task, task.state, task.trace) for task in state.tasks
    ]


def test_a_config_that_may_not_be_read_does_not_hide_the_state(server):
    """Configs hold secrets: many companies close them."""
    server["GET /connectors/source/status"] = (200, STATUS)
    server["GET /connectors/source/config"] = (403, {"message": "no"})

    state = HttpConnect(JsonHttp(server.url)).read_connector("source", 5)

    assert ({}, "RUNNING") == (state.config, state.state)
    assert state.not_known[0].startswith("config of source: ")


def test_unknown_connector_is_missing(server):
    """Recorded from Kafka Connect 4.1.1."""
    server["GET /connectors/typo/status"] = (
        404,
        {"error_code": 404, "message": "No status found for connector typo"},
    )

    with pytest.raises(Missing, match="no connector typo"):
        HttpConnect(JsonHttp(server.url)).read_connector("typo", 5)


def test_all_connectors_in_one_call(server):
    """`expand` twice, one request."""
    server["GET /connectors?expand=status&expand=info"] = (
        200,
        {"source": {"status": STATUS, "info": {"config": {"a": "b"}}}},
    )

    (state,) = HttpConnect(JsonHttp(server.url)).read_connectors(5)

    assert ("source", {"a": "b"}, 1) == (state.connector, state.config, len(server.asked))


@pytest.mark.parametrize("body", [[], {}])
def test_no_connectors_is_an_answer(server, body):
    """A fresh cluster has none."""
    server["GET /connectors?expand=status&expand=info"] = (200, body)

    assert () == HttpConnect(JsonHttp(server.url)).read_connectors(5)


@pytest.mark.parametrize("status", [{"hello": 1}, [], None, {"connector": {"state": "RUNNING"}, "tasks": [{}]}])
def test_other_json_than_connects_is_unreachable(server, status):
    """Never a connector without a state."""
    server["GET /connectors/source/status"] = (200, status)

    with pytest.raises(Unreachable, match="other JSON than Kafka Connect's"):
        HttpConnect(JsonHttp(server.url)).read_connector("source", 5)


RESTART = "POST /connectors/source/restart?includeTasks=true&onlyFailed=true"


def test_restart_failed_asks_for_failed_tasks_only_and_returns_the_answer(server):
    """Both flags: without them Connect restarts the connector and leaves its tasks failed."""
    server[RESTART] = (
        202,
        {
            "name": "source",
            "connector": {"state": "RUNNING"},
            "tasks": [{"id": 0, "state": "RESTARTING", "worker_id": "w"}],
            "type": "source",
        },
    )

    answer = HttpConnect(JsonHttp(server.url)).restart_failed("source", 5)

    assert "accepted: source RUNNING, restarting task 0" == answer


def test_restart_during_a_rebalance_is_rejected(server):
    """409: nothing was done, ask again."""
    message = "Cannot complete request momentarily due to stale configuration"
    server[RESTART] = (409, {"error_code": 409, "message": message})

    with pytest.raises(Rejected, match="stale configuration"):
        HttpConnect(JsonHttp(server.url)).restart_failed("source", 5)


# --- Alertmanager --------------------------------------------------------------------------------

ALERT = {
    "annotations": {"summary": "lag"},
    "endsAt": "2026-11-23T14:10:00.000Z",
    "fingerprint": "6016ac6a78922ed4",
    "receivers": [{"name": "cdc-bot"}],
    "startsAt": "2026-11-23T14:02:11.643Z",
    "status": {"inhibitedBy": [], "silencedBy": ["s1"], "state": "suppressed"},
    "updatedAt": "2026-11-23T14:06:00.000Z",
    "generatorURL": "http://prometheus/graph",
    "labels": {"alertname": "Lag"},
}
ALERTS = "GET /api/v2/alerts?active=true&silenced=true&inhibited=true&unprocessed=true"
AT = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)


def test_alerts_silenced_ones_included(server):
    """An alert that is silenced still exists: absence would read as recovered."""
    server[ALERTS + "&filter=alertname%3D%22Lag%22&filter=team%3D~%22a%7Cb%22"] = (200, [ALERT])

    (alert,) = HttpAlertmanager(JsonHttp(server.url)).read_alerts(
        [Matcher("alertname", "Lag"), Matcher("team", "a|b", is_regex=True)], 5
    )

    assert ("suppressed", ("s1",)) == (alert.state, alert.silenced_by)
    assert datetime(2026, 11, 23, 14, 2, 11, 643000, tzinfo=UTC) == alert.starts_at


def test_ends_at_of_year_one_is_none(server):
    """Go's zero time is "no end"."""
    server[ALERTS] = (200, [{**ALERT, "endsAt": "0001-01-01T00:00:00.000Z"}])

    assert None is HttpAlertmanager(JsonHttp(server.url)).read_alerts([], 5)[0].ends_at


def test_a_quote_in_a_label_cannot_end_the_matcher(server):
    """Label values are foreign text."""
    server[ALERTS + "&filter=a%3D%22x%5C%22%2C+b%3D%5C%22y%22"] = (200, [])

    assert () == HttpAlertmanager(JsonHttp(server.url)).read_alerts([Matcher("a", 'x", b="y')], 5)


def test_create_silence_sends_times_in_utc_and_returns_the_id(server):
    """The body Alertmanager 0.25 takes."""
    server["POST /api/v2/silences"] = (200, {"silenceID": "s2"})

    made = HttpAlertmanager(JsonHttp(server.url)).create_silence(
        [Matcher("alertname", "Lag")], AT, AT.replace(hour=16), "ana", "known, #123", 5
    )

    assert "s2" == made
    assert {
        "matchers": [{"name": "alertname", "value": "Lag", "isRegex": False, "isEqual": True}],
        "startsAt": "2026-11-23T14:00:00.000Z",
        "endsAt": "2026-11-23T16:00:00.000Z",
        "createdBy": "ana",
        "comment": "known, #123",
    } == json.loads(server.asked[0][2])


@pytest.mark.parametrize(
    ("matchers", "created_by", "comment"),
    [
        ([Matcher("a", "b")], " ", "why"),
        ([Matcher("a", "b")], "ana", ""),
        ([], "ana", "why"),
        ([Matcher("a", ".*", is_regex=True)], "ana", "why"),
        ([Matcher("a", "b", is_equal=False)], "ana", "why"),
    ],
)
def test_a_silence_without_owner_comment_or_aim_is_refused_before_it_is_sent(server, matchers, created_by, comment):
    """Alertmanager would accept the first two; nobody could tell later who silenced what and why."""
    with pytest.raises(Rejected, match="nothing was sent"):
        HttpAlertmanager(JsonHttp(server.url)).create_silence(matchers, AT, AT, created_by, comment, 5)

    assert [] == server.asked


@pytest.mark.parametrize(
    ("words", "body"),
    [
        ("end time must not be in the past", '"invalid silence: end time must not be in the past"'),
        ("matchers in body is required", {"code": 602, "message": "matchers in body is required"}),
    ],
)
def test_alertmanagers_two_error_shapes_are_both_read(server, words, body):
    """Its handlers answer a bare string, its validation an object."""
    server["POST /api/v2/silences"] = (400, body)

    with pytest.raises(Rejected, match=words):
        HttpAlertmanager(JsonHttp(server.url)).create_silence([Matcher("a", "b")], AT, AT, "ana", "why", 5)


def test_silence_state_and_the_empty_404(server):
    """Alertmanager answers an unknown id with an empty 404."""
    server["GET /api/v2/silence/s1"] = (200, {"id": "s1", "status": {"state": "active"}})
    server["GET /api/v2/silence/s9"] = (404, "")
    alertmanager = HttpAlertmanager(JsonHttp(server.url))

    assert "active" == alertmanager.read_silence("s1", 5)
    with pytest.raises(Missing, match="no silence s9"):
        alertmanager.read_silence("s9", 5)


def test_external_url_is_the_configured_one_or_the_address(server):
    """Webhooks are matched to an Alertmanager by it."""
    assert server.url == HttpAlertmanager(JsonHttp(server.url + "/")).external_url
    assert "https://am.example" == HttpAlertmanager(JsonHttp(server.url), "https://am.example").external_url
