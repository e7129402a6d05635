"""`cdc doctor` beside a real bot, a real Alertmanager, a real Prometheus and the local workspace; and `--fire`.

What the routes do is asked of `amtool`, Alertmanager's own tool: both must agree.
"""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.drill.slack_store import Channel
from bot.drill.workspace import INCIDENTS, SlackWorkspace
from bot.slo.route import parse_routing, routes_of
from tests.system.estate import Pager
from tests.system.pipeline import alertmanager_config
from tests.system.walk import CDC, Json, OnCall, without_pipeline

ROOT = Path(__file__).parents[2]
AMTOOL = Path("/usr/bin/amtool")
PAGER = {"name": "pager", "webhook_configs": [{"url": "http://127.0.0.1:1/pager"}]}


@pytest.fixture
def pager() -> Iterator[tuple[Pager, Json]]:
    """A pager, and the receiver that rings it."""
    pager = Pager()
    yield pager, {"name": "pager", "webhook_configs": [{"url": pager.url}]}
    pager.stop()


@pytest.fixture(scope="module")
def oncall(new_oncall: Callable[..., OnCall]) -> OnCall:
    """A sound bot: it is asked about while its Alertmanager and its workspace are changed around it."""
    return new_oncall("doctor", without_pipeline, alertmanager_config)


@pytest.fixture
def sound(oncall: OnCall) -> Iterator[OnCall]:
    """The bot with everything as it should be, before and after the test."""
    channel = oncall.workspace.store.channel(INCIDENTS)
    assert channel is not None
    yield oncall
    oncall.workspace.store.put_channel(channel)
    oncall.workspace.web_api.install(oncall.workspace.app)
    oncall.alertmanager.reload(receiving(oncall))


def receiving(oncall: OnCall, change: Callable[[Json], object] = lambda _: None) -> str:
    """Return the sound alertmanager.yml with something changed."""
    document: Json = yaml.safe_load(alertmanager_config(f"{oncall.url}/alertmanager", oncall.token))
    change(document)
    return str(yaml.safe_dump(document))


def run(oncall: OnCall, *arguments: str, environ: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    command = [str(CDC), "-c", str(oncall.config), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**oncall.environ, **(environ or {})}, check=False
    )
    return done.returncode, done.stdout, done.stderr


def lines(oncall: OnCall, part: str, environ: Mapping[str, str] | None = None) -> list[tuple[str, str, str]]:
    """Return (status, what, remedy) of one part's lines."""
    _, out, _ = run(oncall, "doctor", "--json", environ=environ)
    return [(line["status"], line["what"], line["remedy"]) for line in json.loads(out) if line["part"] == part]


def bad(oncall: OnCall, part: str, environ: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """Return status and words of one part's lines that are not well."""
    return [(status, what) for status, what, _ in lines(oncall, part, environ) if status in ("failed", "warning")]


# --- Alertmanager ----------------------------------------------------------------------------------


def test_a_sound_bot_has_nothing_to_put_right(sound: OnCall) -> None:
    """No warning and no failure; exit 0; every part that is configured says what works."""
    code, out, err = run(sound, "doctor", "--json")
    found = json.loads(out)
    by_no_pipeline = ("config", "warning")  # this bot watches none
    assert [by_no_pipeline] == [
        (line["part"], line["status"]) for line in found if line["status"] in ("warning", "failed")
    ]
    assert (0, "") == (code, err)
    assert {"config", "journal", "bot", "slack", "alertmanager", "clock"} <= {
        line["part"] for line in found if line["status"] == "ok"
    }
    code, out, _ = run(sound, "doctor", "--fail-on", "warning")
    assert 1 == code
    assert "First: config:" in out
    assert sound.token not in out


def unset(document: Json, **changed: Any) -> None:
    document["receivers"][0]["webhook_configs"][0].update(changed)


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        (lambda d: unset(d, url="http://127.0.0.1:9/alerts"), "failed", "where the bot answers 404"),
        (lambda d: unset(d, send_resolved=False), "failed", "send_resolved: false"),
        (lambda d: unset(d, http_config={}), "failed", "sends no credentials: the bot answers 401"),
        (lambda d: unset(d, max_alerts=3), "warning", "max_alerts: 3"),
        (lambda d: d["receivers"].__setitem__(0, {"name": "cdc-oncall"}), "failed", "has no webhook_configs"),
        (
            lambda d: (d["receivers"].append(PAGER), d["route"].update(receiver="pager")),
            "failed",
            "no route leads to receiver cdc-oncall",
        ),
        (
            lambda d: (
                d["receivers"].append(PAGER),
                d["route"].update(receiver="pager", routes=[{"receiver": "cdc-oncall", "matchers": ['team="data"']}]),
            ),
            "warning",
            'none of the bot\'s alerts reaches it without team="data", which its rules do not set',
        ),
    ],
    ids=["path", "send_resolved", "credentials", "max_alerts", "no webhook", "no route", "route of others"],
)
def test_a_route_that_does_not_point_at_the_bot_is_told(
    sound: OnCall, change: Callable[[Json], object], status: str, words: str
) -> None:
    """One thing wrong in a real Alertmanager's config in force: its line, with the remedy."""
    sound.alertmanager.reload(receiving(sound, change))
    found = [line for line in lines(sound, "alertmanager") if words in line[1]]
    assert [status] == [line[0] for line in found]
    assert found[0][2]


def test_a_route_that_takes_the_pagers_alerts_is_told(sound: OnCall) -> None:
    """`continue: true` alone does not give them back to the root's receiver, and the remedy knows it."""

    def team(document: Json) -> None:
        document["receivers"].append(PAGER)
        document["route"].update(receiver="pager", routes=[{"receiver": "cdc-oncall", "matchers": ['team="data"']}])

    sound.alertmanager.reload(receiving(sound, team))
    [(_, _, remedy)] = [line for line in lines(sound, "alertmanager") if "pager no longer gets alerts" in line[1]]
    assert "continue: true" in remedy
    assert "- {receiver: pager}" in remedy


# --- Slack -------------------------------------------------------------------------------------------


def test_a_token_that_slack_does_not_know(sound: OnCall) -> None:
    """One line, and the rest of the report."""
    assert [("failed", "auth.test: Slack did not let the bot in (invalid_auth)")] == bad(
        sound, "slack", {"SLACK_BOT_TOKEN": "xoxb-of-another-workspace"}
    )


def test_a_missing_scope(sound: OnCall) -> None:
    """The feature that suffers is named."""
    scopes = sound.workspace.app.scopes
    assert scopes is not None
    sound.workspace.web_api.install(replace(sound.workspace.app, scopes=scopes - {"files:write"}))
    assert [("failed", "scope files:write is missing: postmortems cannot be uploaded")] == bad(sound, "slack")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"members": ()}, "the bot is not in #cdc-incidents"),
        ({"is_archived": True}, "#cdc-incidents (of incidents without a pipeline) is archived"),
        ({"name": "renamed"}, "there is no channel #cdc-incidents"),
    ],
)
def test_a_channel_that_cannot_be_posted_to(sound: OnCall, changed: Json, words: str) -> None:
    """Not in it, archived, gone."""
    channel = sound.workspace.store.channel(INCIDENTS)
    assert isinstance(channel, Channel)
    sound.workspace.store.put_channel(replace(channel, **changed))
    [(status, what)] = bad(sound, "slack")
    assert "failed" == status
    assert words in what


# --- fire --------------------------------------------------------------------------------------------


def with_pager(routes: Sequence[Json], receiver: Json = PAGER) -> Callable[[Json], None]:
    """The pager is the root; `routes` are before it."""

    def change(document: Json) -> None:
        document["receivers"].append(receiver)
        document["route"].update(receiver="pager", routes=list(routes))

    return change


CDC_ONLY: Json = {"receiver": "cdc-oncall", "matchers": ['alertname=~"CDC.+"']}


def test_a_test_alert_goes_to_the_thread_and_ends(sound: OnCall, pager: tuple[Pager, Json]) -> None:
    """Step by step with its seconds; the pager hears nothing; the incident is resolved and mentioned nobody."""
    sound.alertmanager.reload(receiving(sound, with_pager([CDC_ONLY], pager[1])))
    known = {incident["id"] for incident in sound.incidents()}
    code, out, err = run(sound, "doctor", "--fire")
    assert (0, 6) == (code, len(out.splitlines())), out + err
    assert all("  ok  " in line for line in out.splitlines())
    [incident] = [incident for incident in sound.incidents() if incident["id"] not in known]
    assert ("resolved", "info") == (incident["status"], incident["severity"])
    assert "Test alert by walker from cdc doctor: nothing is wrong" == incident["title"]
    thread = [message["text"] for message in sound.channel.messages() if incident["id"] in json.dumps(message)]
    assert thread
    assert not any(mention in text for text in thread for mention in ("<@", "<!"))
    assert any(what.startswith("last webhook") for _, what, _ in lines(sound, "alertmanager"))
    assert [] == pager[0].rang


def test_a_pager_that_would_ring_stops_it(sound: OnCall, pager: tuple[Pager, Json]) -> None:
    """Nothing is sent without --yes, and with it everything comes as a document."""
    both = [{**CDC_ONLY, "continue": True}, {"receiver": "pager", "matchers": ['alertname=~".+"']}]
    sound.alertmanager.reload(receiving(sound, with_pager(both, pager[1])))
    known = len(sound.incidents())
    code, out, err = run(sound, "doctor", "--fire")
    assert (1, "") == (code, out)
    assert "Nothing was sent: pager would be told as well" in err
    assert (known, []) == (len(sound.incidents()), pager[0].rang)

    code, out, _ = run(sound, "doctor", "--fire", "--yes", "--json")
    steps = json.loads(out)
    assert (0, {"ok"}, known + 1) == (code, {step["status"] for step in steps}, len(sound.incidents()))
    assert {"CDCOncallTest"} == set(pager[0].rang)
    assert sorted(step["after_s"] for step in steps) == [step["after_s"] for step in steps]


def test_an_alert_that_would_not_reach_the_bot_is_not_sent(sound: OnCall) -> None:
    """It says where it would go instead."""
    sound.alertmanager.reload(receiving(sound, with_pager([{"receiver": "cdc-oncall", "matchers": ['team="data"']}])))
    code, _, err = run(sound, "doctor", "--fire")
    assert 1 == code
    assert "does not reach the bot: it goes to pager" in err
    code, out, err = run(sound, "doctor", "--fire", "--label", "team=data")
    assert 0 == code, out + err


def test_a_token_the_bot_does_not_know_ends_it_at_once(sound: OnCall) -> None:
    """Long before group_wait and a minute have passed: the bot has counted the 401; the last line says what is left."""
    sound.alertmanager.reload(receiving(sound, lambda d: unset(d, http_config={"authorization": {"credentials": "x"}})))
    code, out, err = run(sound, "doctor", "--fire", "--json")
    *_, step, last = json.loads(out)
    assert (1, "failed", "ok") == (code, step["status"], last["status"]), out + err
    assert step["what"].startswith("Alertmanager sends a token the bot does not know")
    assert "receiver cdc-oncall" in step["remedy"]
    assert 30 > step["after_s"]
    assert last["what"].startswith("the end of the test alert was sent to Alertmanager")


def test_nothing_is_sent_past_a_failed_slack_line(sound: OnCall) -> None:
    """A channel that the bot is not in: the doctor's line and remedy, and no incident."""
    channel = sound.workspace.store.channel(INCIDENTS)
    assert isinstance(channel, Channel)
    sound.workspace.store.put_channel(replace(channel, members=()))
    known = len(sound.incidents())
    code, out, err = run(sound, "doctor", "--fire", "--yes")
    assert (1, "", known) == (code, out, len(sound.incidents()))
    assert "Nothing was sent: slack: the bot is not in #cdc-incidents" in err
    assert "/invite @cdc-oncall" in err


def test_a_card_that_slack_refuses_ends_it_at_once(sound: OnCall, tmp_path: Path) -> None:
    """The bot's own token was taken back, and this terminal has a good one of another workspace."""
    other = SlackWorkspace(token="xoxb-other", signing_secret="s", manifest=ROOT / "manifest.yml").start()
    document = yaml.safe_load(sound.config.read_text())
    document["slack"]["api_url"] = other.api_url
    config = sound.config.with_name("elsewhere.yml")
    config.write_text(yaml.safe_dump(document))
    channel = sound.workspace.store.channel(INCIDENTS)
    assert isinstance(channel, Channel)
    sound.workspace.store.put_channel(replace(channel, is_archived=True))
    tokens = {"SLACK_BOT_TOKEN": "xoxb-other"}
    command = [str(CDC), "-c", str(config), "doctor", "--fire", "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**sound.environ, **tokens}, check=False
    )
    other.stop()
    *_, step, last = json.loads(done.stdout)
    assert (1, "failed", "ok") == (done.returncode, step["status"], last["status"]), done.stdout + done.stderr
    assert step["what"].startswith("Slack refuses the card (is_archived)")
    assert "Unarchive" in step["remedy"]
    assert 30 > step["after_s"]


# --- nobody answers ------------------------------------------------------------------------------------


def test_with_everything_hanging_it_ends_in_time(tmp_path: Path) -> None:
    """Every system takes the connection and says nothing, the brokers too: a line each, in less than 15 s."""
    with socket.create_server(("127.0.0.1", 0), backlog=200) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        urls = "".join(f"{part}: {{url: 'http://{address}'}}\n" for part in ("registry", "connect", "prometheus"))
        config = tmp_path / "cdc.yml"
        config.write_text(
            f"listen: {address}\nkafka: {{bootstrap: '{address}'}}\n{urls}"
            f"alertmanager: {{url: 'http://{address}', tokens: ['${{A}}']}}\n"
            f"slack: {{bot_token: '${{A}}', app_token: '${{A}}', api_url: 'http://{address}/api/'}}\n"
            "pipelines: {customers: {topics: [customers], sink: {connector: sink, dlq: dlq.customers}}}\n"
        )
        command = [str(CDC), "-c", str(config), "doctor", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=15, env={"A": "x"}, check=False)
    found = {line["part"] for line in json.loads(done.stdout) if line["status"] == "failed"}
    assert (1, {"kafka", "registry", "connect", "prometheus", "alertmanager", "slack"}) == (done.returncode, found)


# --- amtool ------------------------------------------------------------------------------------------

CONFIGS = {
    "old and new matchers": """
        - {receiver: a, match: {x: '1'}, continue: true}
        - {receiver: b, match_re: {x: '1|2'}}
        - {receiver: c, matchers: ['y="1"', 'z=~"a.*"']}
        - {receiver: d, matchers: ['{q="1",w!="2"}']}
        - {receiver: e, matchers: [q = foo]}
    """,
    "nested": """
        - receiver: a
          matchers: [x=~"1|2"]
          routes:
            - {receiver: b, matchers: [y="1"], continue: true}
            - {receiver: c, matchers: [y=~"1.*"]}
            - {matchers: [y="2"], routes: [{receiver: d, matchers: [z!~"a|b"]}]}
        - {receiver: e, matchers: [x!=""]}
    """,
    "regexes": r"""
        - {receiver: a, matchers: ['x=~"(?i)abc"']}
        - {receiver: b, matchers: ['x=~"\\d+"']}
        - {receiver: c, matchers: ['x=~"a.c|b"']}
        - {receiver: d, matchers: ['y=~""', 'x=~".+"']}
        - {receiver: e, match_re: {q: '[a-c]{2,3}'}}
    """,
    "quotes": r"""
        - {receiver: a, matchers: ['x="say \"hi\", you"']}
        - {receiver: b, matchers: ['x="a,b"']}
        - {receiver: c, matchers: ['x="back\\slash"']}
    """,
}
LABELS = (
    {}, {"x": "1"}, {"x": "12"}, {"x": "2"}, {"x": "2", "y": "1"}, {"x": "1", "y": "12"}, {"x": "2", "y": "2"},
    {"x": "2", "y": "2", "z": "a"}, {"x": "2", "y": "2", "z": "c"}, {"y": "1", "z": "abc"}, {"q": "1"},
    {"q": "1", "w": "2"}, {"q": "foo"}, {"x": "ABC"}, {"x": "abc"}, {"x": "a\nc"}, {"x": "b"}, {"x": "xb"},
    {"q": "ab"}, {"q": "abcd"}, {"x": 'say "hi", you'}, {"x": "a,b"}, {"x": "back\\slash"}, {"x": "12", "y": "1"},
)  # fmt: skip


@pytest.mark.skipif(not AMTOOL.exists(), reason="amtool is not installed (Debian: prometheus-alertmanager)")
@pytest.mark.parametrize("name", CONFIGS)
def test_routes_are_followed_as_amtool_follows_them(tmp_path: Path, name: str) -> None:
    """The same receivers, in the same order, for every set of labels: as written, and as Alertmanager prints it."""
    routes = yaml.safe_load(CONFIGS[name])
    config = {
        "route": {"receiver": "root", "routes": routes},
        "receivers": [{"name": receiver} for receiver in ("root", *"abcde")],
    }
    path = tmp_path / "alertmanager.yml"
    path.write_text(yaml.safe_dump(config))
    routing = parse_routing(path.read_text())
    different = {}
    for labels in LABELS:
        quoted = [f"{label}={json.dumps(value, ensure_ascii=False)}" for label, value in labels.items()]
        command = [str(AMTOOL), "config", "routes", "test", f"--config.file={path}", *quoted]
        said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
        found = routes_of(routing, labels)
        if found.possible or said.strip().split(",") != list(found.receivers):
            different[str(labels)] = (said.strip(), found.receivers, found.not_known)
    assert {} == different
