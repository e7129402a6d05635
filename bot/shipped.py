"""Where the files that ship with the bot are: inside the wheel, else in the checkout it runs from."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def shipped(name: str) -> Path:
    """Return the path of `runbooks` or `manifest.yml`. Raises FileNotFoundError when the installation lacks it."""
    for folder in (_PACKAGE / "_shipped", _PACKAGE.parent):
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(f"{name} is not part of this installation of cdc-oncall: install it again")
