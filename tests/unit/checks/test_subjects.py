"""Subjects by path and template, and the globs that choose."""

from __future__ import annotations

import pytest

from bot.checks.paths import matches
from bot.checks.subjects import is_key, subject_of, wrong_template


@pytest.mark.parametrize(
    ("file", "templates", "subject"),
    [
        ("schemas/customers-value.avsc", {}, "customers-value"),
        ("schemas/customers-key.avsc", {}, "customers-key"),
        ("schemas/customers.value.avsc", {}, "customers-value"),
        ("schemas/customers.avsc", {}, "customers-value"),
        ("schemas/shop.public.customers-value.avsc", {}, "shop.public.customers-value"),
        ("schemas/door-key-events.avsc", {}, "door-key-events-value"),
        ("topics/customers/value.avsc", {"**": "{parent}-{stem}"}, "customers-value"),
        ("customers/value.avsc", {"**": "{parent}-{stem}"}, "customers-value"),
        ("schemas/customers-key.avsc", {"**": "RecordNameStrategy"}, "com.shop.Customer"),
        ("schemas/customers-key.avsc", {"**": "TopicRecordNameStrategy"}, "customers-com.shop.Customer"),
        ("schemas/customers-key.avsc", {"**": ":.staging:{stem}"}, ":.staging:customers-key"),
        ("common/money.avsc", {"common/**": "none"}, None),
        ("keys/a.avsc", {"keys/*": "{stem}-key", "**": "x"}, "a-key"),
    ],
)
def test_a_subject_follows_from_the_path(file: str, templates: dict[str, str], subject: str | None) -> None:
    """The first pattern that fits decides; without one the file's name does."""
    assert subject == subject_of(file, "com.shop.Customer", templates)


def test_a_template_that_needs_a_name_gives_none_without_one() -> None:
    """A union or a primitive has no name."""
    assert subject_of("a.avsc", None, {"**": "RecordNameStrategy"}) is None


def test_a_key_is_told_by_its_end() -> None:
    """As the default strategy writes it."""
    assert [True, False, False, False] == [is_key(one) for one in ("a-key", "a-value", "monkey", None)]


@pytest.mark.parametrize("template", ["{steem}", "{stem", "", "a}b{"])
def test_a_template_that_means_nothing_is_refused(template: str) -> None:
    """With what may be written."""
    assert "{stem}" in (wrong_template(template) or "")


@pytest.mark.parametrize("template", ["{stem}-value", "none", "RecordNameStrategy", ":.ctx:{topic}-{end}", "fixed"])
def test_a_template_that_means_something_is_taken(template: str) -> None:
    """Placeholders, a strategy, a fixed name."""
    assert wrong_template(template) is None


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("*.avsc", "a.avsc", True),
        ("*.avsc", "deep/er/a.avsc", True),
        ("schemas/*.avsc", "repo/schemas/a.avsc", True),
        ("schemas/*.avsc", "schemas/deep/a.avsc", False),
        ("schemas/**/*.avsc", "schemas/a.avsc", True),
        ("schemas/**/*.avsc", "schemas/deep/er/a.avsc", True),
        ("schemas/**", "schemas/deep/a.avsc", True),
        ("schemas/", "schemas/deep/a.avsc", True),
        ("./schemas/*", "repo/schemas/a", False),
        ("./schemas/*", "schemas/a", True),
        ("/repo/schemas/*", "/repo/schemas/a", True),
        ("/schemas/*", "/repo/schemas/a", False),
        ("./schemas/*", "./schemas/a", True),
        ("/schemas/*", "schemas/a", True),
        ("a?.avsc", "ab.avsc", True),
        ("a?.avsc", "a/.avsc", False),
        ("a.avsc", "aXavsc", False),
        ("hemas/*", "schemas/a", False),
    ],
)
def test_a_glob_is_that_of_gitignore(pattern: str, path: str, fits: bool) -> None:
    """Stars stay within a folder, two stars do not; a pattern fits from any folder on."""
    assert fits is matches(pattern, path)
