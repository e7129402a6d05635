"""The runbooks as one Markdown page for the wiki: four sections, one screen, commands to copy.

Pure. The page is rendered from the YAML alone; `runbooks/README.md` is this page for the pipeline of the example.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from bot.incident.runbook import Runbook, Step, fill
from bot.model import ConsumerGroup, GroupKind, Pipeline, Sink

EXAMPLE = Pipeline(
    name="customers",
    channel="#cdc-incidents",
    source_connector="customers-postgres-source",
    topics=("customers",),
    subjects=("customers-value",),
    consumers=(ConsumerGroup("customers_canonical_flink", GroupKind.FLINK),),
    sink=Sink("customers-iceberg-sink", "lake.customers", "dlq.customers"),
)
EXAMPLE_ADDRESSES = {
    "bootstrap": "kafka:9092",
    "registry": "http://registry:8081",
    "connect": "http://connect:8083",
    "alertmanager": "http://alertmanager:9093",
}


def render_runbook_page(
    runbooks: Sequence[Runbook],
    pipeline: Pipeline = EXAMPLE,
    addresses: Mapping[str, str] = EXAMPLE_ADDRESSES,
) -> str:
    """Return the page. A step that several runbooks share stands there once, in the place of the most upstream."""
    ordered = sorted(runbooks, key=lambda runbook: (runbook.signal.upstream_rank, runbook.id))
    lines = [
        "# CDC Pipeline - Incident Runbook",
        "",
        f"For pipeline `{pipeline.name}`; in an incident thread the bot fills in the names of yours. "
        "Rendered from `runbooks/*.yml`.",
        "",
        "## Symptoms",
        "",
        *(_symptom(runbook) for runbook in ordered),
    ]
    for section, heading in (
        ("triage", "Quick triage checklist"),
        ("actions", "Standard actions"),
        ("post_incident", "Post-incident tasks"),
    ):
        lines += ["", f"## {heading}", ""]
        for runbooks_of_step, step in _steps(ordered, section):
            lines += _step(step, _reason(runbooks_of_step, len(ordered), section), pipeline, addresses)
    return "\n".join(lines) + "\n"


def _symptom(runbook: Runbook) -> str:
    return f'- <a id="{runbook.id}"></a>**{runbook.title}.** {" ".join(runbook.symptoms)}'


def _steps(runbooks: Sequence[Runbook], section: str) -> Iterable[tuple[list[Runbook], Step]]:
    """Each step once with the runbooks that have it; among actions and tasks those of one symptom come first."""
    steps: dict[str, tuple[list[Runbook], Step]] = {}
    for runbook in runbooks:
        for step in runbook.section(section):
            steps.setdefault(step.id, ([], step))[0].append(runbook)
    return steps.values() if section == "triage" else sorted(steps.values(), key=lambda entry: len(entry[0]) > 1)


def _reason(runbooks: Sequence[Runbook], all_of_them: int, section: str) -> str:
    """An action of one symptom says of which."""
    return f"_{runbooks[0].title}:_ " if section == "actions" and len(runbooks) == 1 < all_of_them else ""


def _step(step: Step, reason: str, pipeline: Pipeline, addresses: Mapping[str, str]) -> Iterator[str]:
    guard = f" (`{step.action}`, by a {step.guard.replace('_', ' ')})" if step.action and step.guard else ""
    commands = [line for line in (step.command or "").splitlines() if line.strip()]
    yield f"- [ ] {reason}{step.title}{guard}" + ("  " if commands else "")
    for index, command in enumerate(commands):
        end = "  " if index + 1 < len(commands) else ""
        yield f"  `{fill(command, pipeline, addresses)}`{end}"
