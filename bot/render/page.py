"""The pages about lag: every watched group, worst first, and one group with its chart, partitions and members.

Promise: a look, nothing else. There is no script and no form, nothing is loaded from anywhere, and a page asks for
itself again every 30 s. Foreign text (names of groups, topics, clients) is escaped by the template; what nobody sees of
it is a blank. What is not known is said so, never shown as 0 or as healthy; a verdict is a word and a sign, its colour
comes on top.
The chart is an SVG that `bot.render.chart` made: the one thing that is not escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from bot.incident.timeline import duration
from bot.lag.judge import Judgement
from bot.lag.verdict import Verdict
from bot.model import Finding, GroupOffsets, Status

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""An SVG's lines are styled by attributes, hence `unsafe-inline`; with it nothing can run and nothing be loaded."""

REFRESH_S = 30
MOST_PARTITIONS = 200
SIGNS = {Status.RED: "✖", Status.YELLOW: "▲", Status.GREEN: "✔", Status.UNKNOWN: "?"}
WORST_FIRST = (Status.RED, Status.YELLOW, Status.UNKNOWN, Status.GREEN)
UNKNOWN = "not known"


@dataclass(frozen=True)
class GroupView:
    """A watched group as the last pass saw it; judgement and read are None where it could not be read."""

    finding: Finding
    pipeline: str | None
    judgement: Judgement | None
    read: GroupOffsets | None

    @property
    def group(self) -> str:
        return self.finding.target


def lag_page(views: Sequence[GroupView], now: datetime, empty: str) -> str:
    """Return the page of all groups; `empty` says why there are none."""
    rows = [_row(view, now) for view in sorted(views, key=_rank)]
    return _LIST.render(rows=rows, empty=empty, at=_at(now), refresh_s=REFRESH_S)


def group_page(view: GroupView, svg: str, now: datetime) -> str:
    """Return the page of one group; `svg` is its chart, empty where there are no samples to draw."""
    judged = {(one.topic, one.partition): one for one in (view.judgement.partitions if view.judgement else ())}
    partitions = [
        {
            "topic": one.topic,
            "partition": one.partition,
            "committed": _count(one.committed),
            "end": _count(one.latest),
            "lag": _count(one.lag_records),
            "verdict": judged[one.key].verdict.value if one.key in judged else Verdict.UNKNOWN.value,
            "evidence": judged[one.key].evidence if one.key in judged else one.error or "",
            "rank": (judged[one.key].verdict.rank if one.key in judged else 0, -(one.lag_records or 0), *one.key),
        }
        for one in (view.read.partitions if view.read else ())
    ]
    partitions.sort(key=lambda row: row["rank"])
    members = view.read.membership if view.read else ()
    return _GROUP.render(
        row=_row(view, now), evidence=view.finding.evidence, not_known=view.finding.not_known, chart=Markup(svg),
        partitions=partitions[:MOST_PARTITIONS], more=max(0, len(partitions) - MOST_PARTITIONS), members=members,
        state=(view.read.state if view.read else None) or UNKNOWN,
        member_count=_count(view.read.members if view.read else None), at=_at(now), refresh_s=REFRESH_S,
    )  # fmt: skip


def unknown_group_page(group: str, now: datetime) -> str:
    """Return the page of a group that is not watched."""
    return _UNKNOWN.render(group=group, at=_at(now), refresh_s=REFRESH_S)


def _rank(view: GroupView) -> tuple[int, int, int, str]:
    judgement = view.judgement
    verdict = judgement.verdict if judgement else Verdict.UNKNOWN
    lag = judgement.at_least_records if judgement else 0
    return WORST_FIRST.index(view.finding.status), verdict.rank, -lag, view.group


def _row(view: GroupView, now: datetime) -> dict[str, str]:
    judgement, read = view.judgement, view.read
    return {
        "group": view.group,
        "link": f"/lag/{quote(view.group, safe='', errors='replace')}",
        "pipeline": view.pipeline or "",
        "verdict": view.finding.verdict,
        "colour": view.finding.status.value,
        "sign": SIGNS[view.finding.status],
        "headline": view.finding.headline,
        "lag": _lag(judgement),
        "behind": _behind(judgement),
        "eta": _eta(judgement),
        "sampled": f"{duration(max(0.0, (now - read.at).total_seconds()))} ago" if read else "never",
    }


def _lag(judgement: Judgement | None) -> str:
    if judgement is None:
        return UNKNOWN
    if judgement.lag_records is not None:
        return f"{judgement.lag_records:,}"
    return f"at least {judgement.at_least_records:,}" if judgement.at_least_records else UNKNOWN


def _behind(judgement: Judgement | None) -> str:
    """Return how old the oldest unread record is: `14 min to 17 min`, `over 3 d`; a dash where nothing is unread."""
    if judgement is None:
        return UNKNOWN
    if judgement.time_lag is None:
        return "–" if judgement.lag_records == 0 else UNKNOWN
    least, most = judgement.time_lag.min_s, judgement.time_lag.max_s
    if most is None:
        return f"over {duration(least)}"
    if least <= 0:
        return f"up to {duration(most)}"
    return duration(most) if duration(least) == duration(most) else f"{duration(least)} to {duration(most)}"


def _eta(judgement: Judgement | None) -> str:
    """Return when a group that catches up is level; a dash for one that does not."""
    if judgement is None or judgement.eta_s is None:
        return "–"
    least, most = judgement.eta_min_s, judgement.eta_max_s
    if least is None or most is None or duration(least) == duration(most):
        return duration(judgement.eta_s)
    return f"{duration(least)} to {duration(most)}"


def _count(value: int | None) -> str:
    return UNKNOWN if value is None else f"{value:,}"


def _at(now: datetime) -> str:
    return f"{now.astimezone(UTC):%-d %b %Y, %H:%M:%S} UTC"


def _visible(value: object) -> object:
    """Return a foreign text with blanks for what nobody sees and a browser obeys: U+202E turns a name around."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return "".join(letter if letter.isprintable() else " " for letter in value)


_ENVIRONMENT = Environment(
    autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_visible
)

_STYLE = """
:root { color-scheme: light dark; --ink: #1a1a1a; --quiet: #5c5c5c; --line: #dcdcdc; --back: #fff; --soft: #f5f5f5;
  --link: #00609c; --red: #a3123a; --yellow: #7a5c00; --green: #006b50; --unknown: #4d4d4d; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececec; --quiet: #a8a8a8; --line: #3d3d3d; --back: #161616;
  --soft: #222; --link: #7cc4ff; --red: #ff8fa8; --yellow: #f0c75e; --green: #6fd6b4; --unknown: #c4c4c4; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 16px; max-width: 1080px; background: var(--back); color: var(--ink);
  font: 16px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.4rem; margin: 0 0 4px; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin: 26px 0 8px; }
a { color: var(--link); } p { margin: 6px 0; } .quiet { color: var(--quiet); font-size: .875rem; }
.verdict { font-weight: 700; white-space: nowrap; } .red { color: var(--red); } .yellow { color: var(--yellow); }
.green { color: var(--green); } .unknown { color: var(--unknown); }
table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: 600; color: var(--quiet);
  font-size: .8125rem; } th, td { padding: 8px 20px 8px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td { overflow-wrap: anywhere; } .number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
ul { padding-left: 20px; margin: 6px 0; } li { overflow-wrap: anywhere; }
.chart { background: #fff; border: 1px solid var(--line); border-radius: 8px; margin: 16px 0; }
.chart svg { display: block; width: 100%; height: auto; }
dl { display: flex; flex-wrap: wrap; gap: 8px 28px; margin: 14px 0; } dt { color: var(--quiet); font-size: .8125rem; }
dd { margin: 0; font-size: 1.125rem; font-weight: 600; font-variant-numeric: tabular-nums; }
@media (max-width: 720px) { thead { position: absolute; left: -10000px; } tr { display: block; padding: 10px 0;
  border-bottom: 1px solid var(--line); } td { display: flex; justify-content: space-between; gap: 16px; border: 0;
  padding: 2px 0; white-space: normal; } td::before { content: attr(data-name); color: var(--quiet); flex: none; }
  .number { text-align: right; } td > * { text-align: right; }
  .chart { overflow-x: auto; direction: rtl; } .chart svg { width: 560px; direction: ltr; } }
"""

_HEAD = (
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="{{ refresh_s }}">
<title>{{ title }}</title>
<style>"""
    + _STYLE
    + """</style>
</head>
<body>
"""
)
_FOOT = """
<p class="quiet">As of {{ at }}. This page asks again every {{ refresh_s }} s.</p>
</body>
</html>
"""

_LIST = _ENVIRONMENT.from_string(
    "{% set title = 'Lag' %}"
    + _HEAD
    + """<h1>Lag</h1>
{% if rows %}
<table>
<thead><tr><th>Verdict</th><th>Group</th><th>Pipeline</th><th class="number">Records behind</th>
<th>Time behind</th><th>Level in</th><th>Sampled</th></tr></thead>
<tbody>
{% for row in rows %}
<tr>
<td data-name="Verdict"><span class="verdict {{ row.colour }}">{{ row.sign }} {{ row.verdict }}</span></td>
<td data-name="Group"><a href="{{ row.link }}">{{ row.group }}</a></td>
<td data-name="Pipeline"><span>{{ row.pipeline or "–" }}</span></td>
<td data-name="Records behind" class="number"><span>{{ row.lag }}</span></td>
<td data-name="Time behind"><span>{{ row.behind }}</span></td>
<td data-name="Level in"><span>{{ row.eta }}</span></td>
<td data-name="Sampled"><span>{{ row.sampled }}</span></td>
</tr>
{% endfor %}
</tbody>
</table>
{% else %}
<p>{{ empty }}</p>
{% endif %}
"""
    + _FOOT
)

_GROUP = _ENVIRONMENT.from_string(
    "{% set title = row.group ~ ': lag' %}"
    + _HEAD
    + """<p><a href="/lag">All groups</a></p>
<h1>{{ row.group }}</h1>
<p><span class="verdict {{ row.colour }}">{{ row.sign }} {{ row.verdict }}</span> {{ row.headline }}</p>
<dl>
<div><dt>Records behind</dt><dd>{{ row.lag }}</dd></div>
<div><dt>Time behind</dt><dd>{{ row.behind }}</dd></div>
<div><dt>Level in</dt><dd>{{ row.eta }}</dd></div>
<div><dt>Pipeline</dt><dd>{{ row.pipeline or "–" }}</dd></div>
<div><dt>Sampled</dt><dd>{{ row.sampled }}</dd></div>
</dl>
{% if chart %}
<div class="chart">{{ chart }}</div>
{% else %}
<p class="quiet">No samples yet: there is nothing to draw.</p>
{% endif %}
{% if evidence %}
<h2>Why</h2>
<ul>
{% for line in evidence if line %}
<li>{{ line }}</li>
{% endfor %}
</ul>
{% endif %}
{% if not_known %}
<h2>Not known</h2>
<ul>
{% for line in not_known %}
<li>{{ line }}</li>
{% endfor %}
</ul>
{% endif %}
<h2>Partitions, worst first</h2>
{% if partitions %}
<table>
<thead><tr><th>Topic</th><th class="number">Partition</th><th class="number">Committed</th>
<th class="number">Log end</th><th class="number">Behind</th><th>Verdict</th></tr></thead>
<tbody>
{% for one in partitions %}
<tr>
<td data-name="Topic"><span>{{ one.topic }}</span></td>
<td data-name="Partition" class="number"><span>{{ one.partition }}</span></td>
<td data-name="Committed" class="number"><span>{{ one.committed }}</span></td>
<td data-name="Log end" class="number"><span>{{ one.end }}</span></td>
<td data-name="Behind" class="number"><span>{{ one.lag }}</span></td>
<td data-name="Verdict"><span><b>{{ one.verdict }}</b> <span class="quiet">{{ one.evidence }}</span></span></td>
</tr>
{% endfor %}
</tbody>
</table>
{% if more %}
<p class="quiet">{{ more }} more are not shown: <code>cdc lag</code> with <code>--json</code> has them all.</p>
{% endif %}
{% else %}
<p class="quiet">None could be read.</p>
{% endif %}
<h2>Members</h2>
<p>State {{ state }}, members: {{ member_count }}</p>
{% if members %}
<table>
<thead><tr><th>Client</th><th>Host</th><th class="number">Partitions</th></tr></thead>
<tbody>
{% for member in members %}
<tr>
<td data-name="Client"><span>{{ member.client }}</span></td>
<td data-name="Host"><span>{{ member.host }}</span></td>
<td data-name="Partitions" class="number"><span>{{ member.partitions | length }}</span></td>
</tr>
{% endfor %}
</tbody>
</table>
{% endif %}
"""
    + _FOOT
)

_UNKNOWN = _ENVIRONMENT.from_string(
    "{% set title = 'Lag' %}"
    + _HEAD
    + """<p><a href="/lag">All groups</a></p>
<h1>{{ group }}</h1>
<p>The bot watches no group of this name. Name it below <code>lag: groups</code> in cdc.yml, or ask once:
<code>cdc lag {{ group }}</code>.</p>
"""
    + _FOOT
)
