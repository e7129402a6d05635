"""How durations and rates are worded in evidence."""

from __future__ import annotations


def in_words(seconds: float) -> str:
    """Return `1.5 s`, `40 s`, `3 min`, `2.4 h`, `3.1 days`."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def between(min_s: float, max_s: float | None) -> str:
    """Return `4-6 min`, or `at least 4 min` where there is no upper end."""
    if max_s is None:
        return f"at least {in_words(min_s)}"
    low, high = in_words(min_s), in_words(max_s)
    if low == high:
        return low
    same_unit = low.split()[1] == high.split()[1]
    return f"{low.split()[0] if same_unit else low}-{high}"
