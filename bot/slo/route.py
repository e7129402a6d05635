"""Alertmanager's routing, as Alertmanager does it: which receivers an alert reaches, and how soon.

Pure: the text of an alertmanager.yml (as written, or as `/api/v2/status` returns it, secrets hidden) becomes a
`Routing`; `routes_of` walks its tree with an alert's labels. `cdc doctor` asks it whether alerts reach the bot and
whom else; `cdc doctor --fire` asks it whose pager would ring.

Promise: three answers, never a guess. A route is reached, is not reached, or it is not known: a matcher that this
module cannot read (RE2 syntax that Python's `re` has not, or reads differently) makes what hangs on it `possible`.

Sources: alertmanager dispatch/route.go (NewRoute, Match), pkg/labels/parse.go and matchers/parse/lexer.go (the two
matcher syntaxes), pkg/labels/matcher.go (regexes are anchored). tests/system compares it with `amtool`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from bot.patterns import read

HIDDEN = "<secret>"
DEFAULT_GROUP_WAIT_S, DEFAULT_GROUP_INTERVAL_S, DEFAULT_REPEAT_INTERVAL_S = 30.0, 300.0, 4 * 3600.0

_UNIT_S = {"y": 31_536_000.0, "w": 604_800.0, "d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_MATCHER = re.compile(
    r'\s*(?P<name>"(?:[^"\\]|\\.)*"|[^\s{}!=~,"\'`]+?)\s*(?P<operator>=~|!=|!~|=)\s*(?P<value>.*?)\s*', re.S
)
_YAML = "tag:yaml.org,2002:"
_NULL, _MERGE, _PLAIN_TAGS = f"{_YAML}null", f"{_YAML}merge", (f"{_YAML}str", f"{_YAML}seq", f"{_YAML}map")
_TRUE, _FALSE = ("true", "yes", "on", "y"), ("false", "no", "off", "n")


class NotAConfig(ValueError):
    """The text is not an alertmanager.yml with a route."""


@dataclass(frozen=True)
class LabelMatcher:
    """One matcher; a label that is absent has the empty value. `text` is how it was written."""

    name: str
    operator: str
    value: str
    text: str

    def matches(self, labels: Mapping[str, str]) -> bool | None:
        """Return whether the labels fulfil it; None where its regex cannot be read here."""
        value = labels.get(self.name, "")
        if self.operator in ("=", "!="):
            return (value == self.value) is (self.operator == "=")
        is_hit = _is_hit(self.value, value)
        return None if is_hit is None else is_hit is (self.operator == "=~")


@dataclass(frozen=True)
class Route:
    """A node of the tree with what it inherits filled in; durations in seconds.

    `group_by` holds label names, `...` for all. `unread` are matchers that cannot be read.
    `is_timed`: it is muted or active at certain times only. `place` is how a person finds it in the file.
    """

    receiver: str
    place: str = "route"
    matchers: tuple[LabelMatcher, ...] = ()
    continues: bool = False
    group_by: tuple[str, ...] = ()
    group_wait_s: float = DEFAULT_GROUP_WAIT_S
    group_interval_s: float = DEFAULT_GROUP_INTERVAL_S
    repeat_interval_s: float = DEFAULT_REPEAT_INTERVAL_S
    is_timed: bool = False
    unread: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool | None:
        """Return whether its own matchers are fulfilled: one that is not decides, else one that cannot be read."""
        answers = [matcher.matches(labels) for matcher in self.matchers]
        if False in answers:
            return False
        return None if None in answers or self.unread else True

    def walk(self) -> Iterator[Route]:
        """Yield the route and all below it, in the order of the file."""
        yield self
        for route in self.routes:
            yield from route.walk()


@dataclass(frozen=True)
class Webhook:
    """One `webhook_configs` entry. `url` is None where Alertmanager hides it (0.26 and newer) or has it from a file."""

    url: str | None
    send_resolved: bool = True
    max_alerts: int = 0
    has_credentials: bool = False


@dataclass(frozen=True)
class Receiver:
    """A receiver; `integrations` are the kinds that notify (`webhook`, `pagerduty`, ...), none for a null one."""

    name: str
    integrations: tuple[str, ...] = ()
    webhooks: tuple[Webhook, ...] = ()


@dataclass(frozen=True)
class Routing:
    root: Route
    receivers: Mapping[str, Receiver] = field(default_factory=dict)

    def notifies(self, name: str) -> bool:
        """Whether a receiver tells anybody: one without integrations is where alerts are sent to rest."""
        receiver = self.receivers.get(name)
        return receiver is None or bool(receiver.integrations)


@dataclass(frozen=True)
class Reached:
    """The routes an alert ends at, in order; `possible` hang on a matcher of `not_known`."""

    routes: tuple[Route, ...]
    possible: tuple[Route, ...] = ()
    not_known: tuple[str, ...] = ()

    @property
    def receivers(self) -> tuple[str, ...]:
        """The receivers it certainly reaches, each once."""
        return tuple(dict.fromkeys(route.receiver for route in self.routes))

    @property
    def possible_receivers(self) -> tuple[str, ...]:
        """The receivers it may reach besides."""
        return tuple(dict.fromkeys(route.receiver for route in self.possible if route.receiver not in self.receivers))


# --- the walk --------------------------------------------------------------------------------------


def routes_of(routing: Routing, labels: Mapping[str, str]) -> Reached:
    """Return the routes an alert ends at. The root takes everything, whatever its matchers say."""
    certain: list[Route] = []
    possible: list[Route] = []
    unread: list[str] = []
    _descend(routing.root, labels, True, certain, possible, unread)
    return Reached(tuple(certain), tuple(possible), tuple(dict.fromkeys(unread)))


def without(routing: Routing, left_out: Route) -> Routing:
    """Return the routing as it would be if one route (not the root) were not there."""
    return _changed(routing, left_out, None)


def with_continue(routing: Routing, route: Route) -> Routing:
    """Return the routing as it would be with `continue: true` on one route."""
    return _changed(routing, route, replace(route, continues=True))


def _changed(routing: Routing, one: Route, other: Route | None) -> Routing:
    def rebuilt(route: Route) -> Route:
        routes = (other if each is one else rebuilt(each) for each in route.routes)
        return replace(route, routes=tuple(each for each in routes if each is not None))

    return replace(routing, root=rebuilt(routing.root))


def _descend(
    route: Route, labels: Mapping[str, str], is_certain: bool, certain: list[Route], possible: list[Route],
    unread: list[str],
) -> None:  # fmt: skip
    """Collect where an alert that came to `route` ends; once a step is uncertain, so is all that it decides."""
    is_taken, maybe_taken, here = False, False, is_certain
    for child in route.routes:
        matched = child.matches(labels)
        if matched is False:
            continue
        if matched is None:
            unread.extend(_unread(child, labels))
        _descend(child, labels, here and matched is True, certain, possible, unread)
        if matched is None:
            maybe_taken = True
            here = here and child.continues  # what comes after it is reached only if it was not taken
            continue
        is_taken = True
        if not child.continues:
            break
    if not is_taken:
        (certain if is_certain and not maybe_taken else possible).append(route)


def _unread(route: Route, labels: Mapping[str, str]) -> Iterator[str]:
    yield from route.unread
    yield from (matcher.text for matcher in route.matchers if matcher.matches(labels) is None)


def _is_hit(pattern: str, value: str) -> bool | None:
    """Whether an RE2 pattern is all of the value; None where it cannot be read here."""
    compiled = read(pattern)
    return None if compiled is None else compiled.fullmatch(value) is not None


# --- reading ---------------------------------------------------------------------------------------


def parse_routing(text: str) -> Routing:
    """Return the routing in an alertmanager.yml. Raises NotAConfig."""
    try:
        # A SafeLoader with fewer constructors: nothing but text, lists and mappings comes of it.
        document = yaml.load(text, _Texts)
        tree = document.get("route") if isinstance(document, Mapping) else None
        if not isinstance(tree, Mapping):
            raise NotAConfig("it has no `route`")
        receivers = [_receiver(entry) for entry in _list(document.get("receivers")) if isinstance(entry, Mapping)]
        return Routing(_route(tree, Route(""), "route"), {receiver.name: receiver for receiver in receivers})
    except (yaml.YAMLError, RecursionError) as error:
        raise NotAConfig(f"not YAML: {type(error).__name__}") from error


class _Texts(yaml.SafeLoader):
    """Reads scalars as the text that is written, as Alertmanager does where it wants text: `1e3`, `yes`, `0x_`, `=`.

    A plain `null`, `~` or nothing is None, and `<<` merges.
    """


_Texts.yaml_implicit_resolvers = {
    char: [(tag, pattern) for tag, pattern in resolvers if tag in (_NULL, _MERGE)]
    for char, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Texts.yaml_constructors = {
    **{tag: yaml.SafeLoader.yaml_constructors[tag] for tag in (None, _NULL, *_PLAIN_TAGS)},
    _MERGE: yaml.SafeLoader.construct_yaml_str,
}


def parse_matchers(text: str) -> tuple[LabelMatcher, ...] | None:
    """Return the matchers in one string, `{a="1", b=~"x"}` or `a = 1`; None where it cannot be read."""
    inner = text.strip()
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1]
    matchers: list[LabelMatcher] = []
    for part in _split(inner):
        found = _MATCHER.fullmatch(part)
        name, value = (_unquoted(found["name"]), _unquoted(found["value"])) if found else (None, None)
        if found is None or name is None or value is None:
            return None
        matchers.append(LabelMatcher(name, found["operator"], value, part.strip()))
    return tuple(matchers)


def parse_duration_s(value: object) -> float | None:
    """Return a Prometheus duration (`1h30m`, `0`) in seconds, or None."""
    text = str(value)
    if text == "0":
        return 0.0
    parts = re.findall(r"(\d+)(ms|[ywdhms])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(int(number) * _UNIT_S[unit] for number, unit in parts)


def _route(entry: Mapping[str, Any], parent: Route, place: str) -> Route:
    """Return a node with what it does not say taken from its parent (NewRoute in dispatch/route.go)."""
    matchers, unread = _matchers(entry)
    group_by = tuple(str(name) for name in _list(entry.get("group_by")))
    own = Route(
        receiver=str(entry.get("receiver") or parent.receiver),
        place=place,
        matchers=matchers,
        continues=_is_one_of(_TRUE, entry.get("continue")),
        group_by=group_by or parent.group_by,
        group_wait_s=_duration_s(entry.get("group_wait"), parent.group_wait_s),
        group_interval_s=_duration_s(entry.get("group_interval"), parent.group_interval_s),
        repeat_interval_s=_duration_s(entry.get("repeat_interval"), parent.repeat_interval_s),
        is_timed=bool(entry.get("mute_time_intervals") or entry.get("active_time_intervals")),
        unread=unread,
    )
    below = [each for each in _list(entry.get("routes")) if isinstance(each, Mapping)]
    return replace(
        own, routes=tuple(_route(each, own, f"{place}.routes[{number}]") for number, each in enumerate(below))
    )


def _matchers(entry: Mapping[str, Any]) -> tuple[tuple[LabelMatcher, ...], tuple[str, ...]]:
    """Return a route's matchers, old and new style, and the ones that cannot be read."""
    read: list[LabelMatcher] = []
    unread: list[str] = []
    for key, operator in (("match", "="), ("match_re", "=~")):
        values = entry.get(key)
        for name, value in (values if isinstance(values, Mapping) else {}).items():
            word = "" if value is None else str(value)
            read.append(LabelMatcher(str(name), operator, word, f'{name}{operator}"{word}"'))
    for text in _list(entry.get("matchers")):
        found = parse_matchers(str(text))
        if found is None:
            unread.append(str(text))
        else:
            read += found
    return tuple(read), tuple(unread)


def _receiver(entry: Mapping[str, Any]) -> Receiver:
    kinds = [key.removesuffix("_configs") for key, value in entry.items() if str(key).endswith("_configs") and value]
    webhooks = [_webhook(each) for each in _list(entry.get("webhook_configs")) if isinstance(each, Mapping)]
    return Receiver(str(entry.get("name")), tuple(kinds), tuple(webhooks))


def _webhook(entry: Mapping[str, Any]) -> Webhook:
    url = entry.get("url")
    http = entry.get("http_config")
    http = http if isinstance(http, Mapping) else {}
    logins = ("authorization", "basic_auth", "oauth2", "bearer_token", "bearer_token_file")
    max_alerts = str(entry.get("max_alerts"))
    return Webhook(
        url=str(url) if url and url != HIDDEN else None,
        send_resolved=not _is_one_of(_FALSE, entry.get("send_resolved")),
        max_alerts=int(max_alerts) if re.fullmatch(r"[0-9]{1,18}", max_alerts) else 0,
        has_credentials=any(http.get(name) for name in logins),
    )


def _split(text: str) -> Iterator[str]:
    """Yield the parts between commas that are not inside quotes; an empty part after the last comma is none."""
    part, is_quoted, is_escaped = "", False, False
    for char in text:
        if char == "," and not is_quoted:
            yield part
            part = ""
            continue
        if char == '"' and not is_escaped:
            is_quoted = not is_quoted
        is_escaped = char == "\\" and not is_escaped
        part += char
    if part.strip():
        yield part


def _unquoted(text: str) -> str | None:
    """Return a name or value without its quotes and escapes (OpenMetrics rules); None when a quote is left over."""
    is_quoted = text.startswith('"')
    if is_quoted and not (len(text) >= 2 and text.endswith('"')):
        return None
    inner = text[1:-1] if is_quoted else text
    if re.search(r'(?<!\\)(?:\\\\)*"', inner) or (is_quoted and re.search(r"(?<!\\)(?:\\\\)*\\$", inner)):
        return None
    return re.sub(r'\\([n"\\])', lambda escape: "\n" if escape[1] == "n" else escape[1], inner)


def _is_one_of(words: Sequence[str], value: object) -> bool:
    """Whether a scalar is one of YAML 1.1's words for a truth value: Alertmanager reads `yes` and `On` too."""
    return str(value).lower() in words


def _duration_s(value: object, otherwise_s: float) -> float:
    parsed = None if value is None else parse_duration_s(value)
    return otherwise_s if parsed is None else parsed


def _list(value: object) -> Sequence[Any]:
    """YAML allows one matcher where a list belongs, and null where nothing is."""
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)
