"""Alertmanager's routing: what is reached, what is not, and what cannot be told. tests/system asks amtool the same."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from bot.slo.route import NotAConfig, Routing, parse_matchers, parse_routing, routes_of, without

CONFIG = """
route:
  receiver: root
  group_by: [cluster]
  group_wait: 15s
  routes:
    - receiver: first
      match: {team: data}
      continue: true
    - receiver: second
      match_re: {team: data|platform}
      group_interval: 1m30s
      routes:
        - receiver: nested
          matchers: ['severity = critical']
          group_by: ['...']
    - matchers: ['{env="prod",zone!~"eu-.*"}']
    - receiver: quiet
      matchers: [env="test"]
      mute_time_intervals: [nights]
receivers:
  - name: root
    pagerduty_configs: [{service_key: x}]
  - name: first
    webhook_configs: [{url: 'http://bot:8080/alertmanager', http_config: {authorization: {credentials: x}}}]
  - name: second
    webhook_configs: [{url: <secret>, send_resolved: false, max_alerts: 5}]
  - name: nested
  - name: quiet
    webhook_configs: []
"""


@pytest.fixture
def routing() -> Routing:
    return parse_routing(CONFIG)


@pytest.mark.parametrize(
    ("labels", "reached"),
    [
        ({}, ("root",)),
        ({"team": "web"}, ("root",)),
        ({"team": "data"}, ("first", "second")),  # `continue` goes on to the next
        ({"team": "platform"}, ("second",)),
        ({"team": "platforms"}, ("root",)),  # a regex is anchored at both ends
        ({"team": "data", "severity": "critical"}, ("first", "nested")),  # the deepest that matches, not its parent
        ({"env": "prod"}, ("root",)),  # a node without a receiver has its parent's
        ({"env": "prod", "team": "platform"}, ("second",)),  # the first that matches takes it
        ({"env": "prod", "zone": "eu-1"}, ("root",)),
        ({"env": "test"}, ("quiet",)),
    ],
)
def test_an_alert_reaches_what_alertmanager_would_send_it_to(
    routing: Routing, labels: Mapping[str, str], reached: tuple[str, ...]
) -> None:
    """Depth first, in the file's order, until a route without `continue` takes it."""
    assert reached == routes_of(routing, labels).receivers


def test_a_route_inherits_what_it_does_not_say(routing: Routing) -> None:
    """Receiver, group_by and the timers come from the parent; Alertmanager's defaults from nowhere."""
    [first] = routes_of(routing, {"team": "platform"}).routes
    assert ("second", ("cluster",), 15.0, 90.0) == (
        first.receiver, first.group_by, first.group_wait_s, first.group_interval_s,
    )  # fmt: skip
    [nested] = routes_of(routing, {"team": "platform", "severity": "critical"}).routes
    assert (("...",), 90.0, "route.routes[1].routes[0]") == (nested.group_by, nested.group_interval_s, nested.place)
    bare = parse_routing("route: {receiver: a}").root
    assert (30.0, 300.0, 14_400.0) == (bare.group_wait_s, bare.group_interval_s, bare.repeat_interval_s)
    assert [False, True] == [routing.root.routes[2].is_timed, routing.root.routes[3].is_timed]


def test_a_receiver_shows_whom_it_notifies(routing: Routing) -> None:
    """A hidden address is not an address; a receiver without integrations notifies nobody."""
    [shown], [hidden] = routing.receivers["first"].webhooks, routing.receivers["second"].webhooks
    assert ("http://bot:8080/alertmanager", True, 0, True) == (
        shown.url, shown.send_resolved, shown.max_alerts, shown.has_credentials,
    )  # fmt: skip
    assert (None, False, 5, False) == (hidden.url, hidden.send_resolved, hidden.max_alerts, hidden.has_credentials)
    assert ("pagerduty",) == routing.receivers["root"].integrations
    notifying = {name: routing.notifies(name) for name in ("root", "first", "nested", "quiet", "unheard of")}
    assert {"root": True, "first": True, "nested": False, "quiet": False, "unheard of": True} == notifying


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ('a="1"', [("a", "=", "1")]),
        ("a=1", [("a", "=", "1")]),
        (" a  !=  some words ", [("a", "!=", "some words")]),
        ('{a="1",b=~"x|y,z",}', [("a", "=", "1"), ("b", "=~", "x|y,z")]),
        ("a!~b.*", [("a", "!~", "b.*")]),
        ('a=""', [("a", "=", "")]),
        ("a=", [("a", "=", "")]),
        (r'a="say \"hi\", \\ and \n"', [("a", "=", 'say "hi", \\ and \n')]),
        (r'a=~"\d+"', [("a", "=~", r"\d+")]),  # a backslash before anything else is a backslash
        ('"with space"="1"', [("with space", "=", "1")]),  # the UTF-8 syntax of 0.27
        ("größe=1", [("größe", "=", "1")]),
        ("{}", []),
        ('a="1', None),
        ('a=1"', None),
        ('a="1"2"', None),
        ("a", None),
        ("=1", None),
    ],
)
def test_both_syntaxes_of_matchers_are_read(text: str, read: list[tuple[str, str, str]] | None) -> None:
    """What Alertmanager reads is read the same; what neither syntax allows is None, not a guess."""
    found = parse_matchers(text)
    assert read == (None if found is None else [(each.name, each.operator, each.value) for each in found])


@pytest.mark.parametrize(
    ("pattern", "value", "answer"),
    [
        ("a|b", "a", True),
        ("a|b", "ab", False),
        ("(?i)abc", "ABC", True),
        (r"\d+", "12", True),
        (r"\d+", "१२", False),  # RE2's \d is ASCII
        ("", "", True),
        ("(?i)ärger", "ÄRGER", True),
        (r"\pL+", "a", True),
        ("[[:alpha:]]+", "a", True),
        ("a{,3}", "a", False),  # literal in RE2, a repetition in Python
        ("a{,3}", "a{,3}", True),
        ("x(?i)a", "xA", True),
        ("(", "(", None),
        ("(?=a)a", "a", None),
        ("(?i)k", "\N{KELVIN SIGN}", True),  # RE2 folds all of Unicode
        (r"(\w+-?)+_prod", "warehouse-inventory-snapshots-eu-central", False),  # takes a backtracking engine for ever
        (r"(\w+-?)+_prod", "orders-eu_prod", True),
    ],
)
def test_a_regex_is_read_by_re2_or_not_at_all(pattern: str, value: str, answer: bool | None) -> None:
    """Alertmanager's matchers are RE2: what RE2 cannot read is "not known", never "no"."""
    found = parse_matchers("name=~" + pattern)
    if found is None or len(found) != 1:  # the pattern holds a comma or a quote: as the old style writes it
        found = parse_routing(f"route: {{receiver: a, match_re: {{name: '{pattern}'}}}}").root.matchers
    assert answer is found[0].matches({"name": value})


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0x_", "0x_"), ("0b_", "0b_"), ("=", "="), ("<<", "<<"), ("1e3", "1e3"), ("01", "01"), ("1_000", "1_000"),
        ("yes", "yes"), ("True", "True"), ("2020-13-45", "2020-13-45"), ("12:30:45", "12:30:45"), (".inf", ".inf"),
        ("~", ""), ("null", ""), ("", ""), ("'~'", "~"), ('"null"', "null"), ("!!str 1", "1"), ("*a", None),
        ("!!int 0x_", None), ("!!python/object:os.system x", None), ("!!timestamp 2020-13-45", None),
    ],
)  # fmt: skip
def test_a_label_is_the_text_that_is_written(written: str, value: str | None) -> None:
    """Alertmanager prints these without quotes; YAML's types would make other words of them, or an error."""
    text = f"route: {{receiver: a, match: {{x: {written} }}}}"
    if value is None:
        with pytest.raises(NotAConfig):
            parse_routing(text)
    else:
        assert value == parse_routing(text).root.matchers[0].value


@pytest.mark.parametrize(
    ("word", "truth"),
    [("true", True), ("True", True), ("yes", True), ("on", True), ("false", False), ("No", False), ("off", False)],
)
def test_a_truth_value_has_many_words(word: str, truth: bool) -> None:
    """Without one, a route does not go on, and a webhook hears the end."""
    text = "route: {receiver: a, continue: %s}\nreceivers: [{name: a, webhook_configs: [{send_resolved: %s}, {}]}]"
    routing = parse_routing(text % (word, word))
    said, unsaid = routing.receivers["a"].webhooks
    assert (truth, truth, True) == (routing.root.continues, said.send_resolved, unsaid.send_resolved)
    assert not parse_routing("route: {receiver: a, continue: }").root.continues


@pytest.mark.parametrize(("written", "most"), [("5", 5), ("0", 0), ("", 0), ("x", 0), ("10", 10)])
def test_the_most_alerts_are_a_number(written: str, most: int) -> None:
    """A webhook without it gets all of a group."""
    text = f"route: {{receiver: a}}\nreceivers: [{{name: a, webhook_configs: [{{max_alerts: {written} }}]}}]"
    assert most == parse_routing(text).receivers["a"].webhooks[0].max_alerts


@pytest.mark.parametrize(
    ("written", "seconds"), [("0", 0.0), ("0s", 0.0), ("1h30m", 5400.0), ("1e3", 30.0), ("", 30.0)]
)
def test_a_duration_is_read_as_text(written: str, seconds: float) -> None:
    """One that is none leaves Alertmanager's default."""
    assert seconds == parse_routing(f"route: {{receiver: a, group_wait: {written} }}").root.group_wait_s


@pytest.mark.parametrize(
    ("routes", "certain", "possible"),
    [
        ([r"{receiver: a, matchers: ['x=~(']}"], (), ("a", "root")),
        ([r"{receiver: a, matchers: ['x=~(', 'y=1']}"], ("root",), ()),  # y decides: it certainly does not match
        ([r"{receiver: a, matchers: ['x=~(']}", "{receiver: b, matchers: [x=1]}"], (), ("a", "b")),
        ([r"{receiver: a, matchers: ['x=~('], continue: true}", "{receiver: b, matchers: [x=1]}"], ("b",), ("a",)),
        (["{receiver: b, matchers: [x=1]}", r"{receiver: a, matchers: ['x=~(']}"], ("b",), ()),
        (["{receiver: a, matchers: ['x=\"1']}"], (), ("a", "root")),
    ],
)
def test_what_hangs_on_an_unread_matcher_is_possible(
    routes: list[str], certain: tuple[str, ...], possible: tuple[str, ...]
) -> None:
    """It is neither reached nor not reached, and the matcher is named; what does not hang on it stays certain."""
    routing = parse_routing("route:\n  receiver: root\n  routes:\n" + "".join(f"  - {each}\n" for each in routes))
    found = routes_of(routing, {"x": "1"})
    assert certain == found.receivers
    assert possible == found.possible_receivers
    assert bool(possible) is bool(found.not_known)


def test_what_a_route_takes_away_is_seen_without_it(routing: Routing) -> None:
    """Leaving a route out shows who would get its alerts."""
    second = routing.root.routes[1]
    assert ("first", "root") != routes_of(routing, {"team": "data"}).receivers
    assert ("first",) == routes_of(without(routing, second), {"team": "data"}).receivers
    assert ("root",) == routes_of(without(routing, second), {"team": "platform"}).receivers


@pytest.mark.parametrize(
    "text", ["", "[]", "route: 3", "receivers: []", "route: {", "a: &a [*a]", "route: &a {routes: [*a]}"]
)
def test_what_is_no_config_is_refused(text: str) -> None:
    """A foreign answer is one error of ours, never a stack trace."""
    with pytest.raises(NotAConfig):
        parse_routing(text)
