"""docs/rules.md and ci/gitlab-schema-check.yml, rendered from the code: `python -m tests.rules_page` writes them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from bot.checks.rules import ALL
from bot.cli_generate import gitlab_template
from bot.render.checks_rules import render_page

ROOT = Path(__file__).resolve().parents[1]


def pages() -> Mapping[Path, str]:
    """Return each file with what it has to say."""
    return {
        ROOT / "docs" / "rules.md": render_page(ALL.values()),
        ROOT / "ci" / "gitlab-schema-check.yml": gitlab_template(version("cdc-oncall")),
    }


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
