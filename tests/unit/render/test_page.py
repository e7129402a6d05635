"""The pages about lag: worst first, nothing unknown shown as healthy, and no name that becomes markup."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser

import pytest

from bot.lag.judge import Judgement, PartitionJudgement
from bot.lag.ladder import TimeLag
from bot.lag.verdict import Verdict
from bot.model import Finding, GroupOffsets, Member, PartitionOffsets, Status
from bot.render.page import MOST_PARTITIONS, GroupView, group_page, lag_page, unknown_group_page

NOW = datetime(2026, 11, 24, 2, 30, tzinfo=UTC)
SCRIPT = "<script>alert(1)</script>"
HOSTILE = f"{SCRIPT}\"' onload='x' {{{{ 7*7 }}}} </style>&amp;"


class Tags(HTMLParser):
    """Which elements a browser would make, and their attributes; `words` is the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.words += data


def view(
    group: str = "g", verdict: Verdict = Verdict.OK, status: Status = Status.GREEN, lag: int | None = 0,
    time_lag: TimeLag | None = None, eta: tuple[int, int, int] | None = None, partitions: int = 2,
) -> GroupView:  # fmt: skip
    offsets = tuple(PartitionOffsets("customers", n, 100, 0, 100 + (lag or 0)) for n in range(partitions))
    judged = tuple(PartitionJudgement("customers", n, verdict, "because", lag) for n in range(partitions))
    judgement = Judgement(
        verdict, "because", lag, lag or 0, eta[0] if eta else None, judged, eta[1] if eta else None,
        eta[2] if eta else None, time_lag,
    )  # fmt: skip
    read = GroupOffsets(
        group, NOW - timedelta(seconds=12), "STABLE", 1, offsets,
        membership=(Member("m", "client-1", "10.0.0.1", (("customers", 0),)),),
    )  # fmt: skip
    finding = Finding("consumer_lag", group, verdict.value, status, f"lag {lag}", NOW, evidence=("because",))
    return GroupView(finding, "customers", judgement, read)


def unread(group: str = "g") -> GroupView:
    said = Finding(
        "consumer_lag", group, "DENIED", Status.UNKNOWN, "Kafka does not let the bot look", NOW, not_known=("x",)
    )
    return GroupView(said, None, None, None)


def test_groups_stand_worst_first() -> None:
    """By what a person should feel, then by the verdict, then by the lag; not known comes before healthy."""
    views = [
        view("fine", lag=3), unread("unread"), view("behind", Verdict.FALLING_BEHIND, Status.YELLOW, 20_000),
        view("lost", Verdict.DATA_LOST, Status.RED, 5), view("stuck", Verdict.STUCK, Status.RED, 9_000_000),
        view("more", Verdict.FALLING_BEHIND, Status.YELLOW, 30_000),
    ]  # fmt: skip
    names = re.findall(r'href="/lag/([^"]+)"', lag_page(views, NOW, "none"))
    assert ["lost", "stuck", "more", "behind", "unread", "fine"] == names


@pytest.mark.parametrize(
    ("shown", "words"),
    [
        (view(lag=0), "✔ OK customers 0 – – 12 s ago"),
        (view(lag=None), "✔ OK customers not known not known – 12 s ago"),
        (unread(), "? DENIED – not known not known – never"),
        (view(lag=1_234_567, time_lag=TimeLag(840, 1020, 900)), "✔ OK customers 1,234,567 14 min to 17 min – 12 s ago"),
        (view(lag=9, time_lag=TimeLag(259_200, None, None)), "✔ OK customers 9 over 3 d – 12 s ago"),
        (view(lag=9, time_lag=TimeLag(0, 10, 5)), "✔ OK customers 9 up to 10 s – 12 s ago"),
        (
            view(lag=9, verdict=Verdict.CATCHING_UP, status=Status.YELLOW, eta=(600, 480, 900)),
            "▲ CATCHING_UP customers 9 not known 8 min to 15 min 12 s ago",
        ),
        (view(lag=9, verdict=Verdict.STUCK, status=Status.RED), "✖ STUCK customers 9 not known – 12 s ago"),
    ],
)  # fmt: skip
def test_a_row_says_what_is_known_and_what_is_not(shown: GroupView, words: str) -> None:
    """Never 0 for what nobody knows; the verdict is a sign and a word, its colour comes on top."""
    cells = re.findall(r"<td[^>]*>(.*?)</td>", lag_page([shown], NOW, "none"), re.DOTALL)
    said = [re.sub(r"<[^>]+>", "", cell).strip() for cell in cells]
    assert "g" == said.pop(1)
    assert words == " ".join(said)


@pytest.mark.parametrize(
    "page",
    [
        lag_page([view(HOSTILE)], NOW, ""),
        group_page(view(HOSTILE), "", NOW),
        unknown_group_page(HOSTILE, NOW),
        group_page(unread(HOSTILE), "<svg></svg>", NOW),
    ],
)
def test_a_group_named_like_markup_is_a_name(page: str) -> None:
    """Groups are called what their owners like: a name is text in the page, in its title and in its links."""
    tags = Tags(page)
    assert {"script", "img", "form", "iframe", "link"}.isdisjoint(tags.tags)
    assert [] == [name for name, _ in tags.attributes if name.startswith("on")]
    assert HOSTILE in tags.words
    links = [value or "" for name, value in tags.attributes if name in ("href", "src")]
    assert [] == [link for link in links if not re.fullmatch(r"/lag(/[\w%.~-]+)?", link)]


def test_a_page_reads_itself_again_and_needs_nothing_else() -> None:
    """A meta refresh, and no address of anything to load."""
    page = group_page(view(), "", NOW)
    assert '<meta http-equiv="refresh" content="30">' in page
    assert "http://" not in page and "https://" not in page and "@import" not in page and "url(" not in page


def test_a_wide_group_is_cut_and_says_so() -> None:
    """A group of thousands of partitions is a page that a phone can open: the worst of them, and how many more."""
    page = group_page(view(partitions=MOST_PARTITIONS + 7), "", NOW)
    assert MOST_PARTITIONS == page.count('data-name="Committed"')
    assert "7 more are not shown" in page


def test_a_group_says_who_reads_it_and_what_is_not_known() -> None:
    """Members with their hosts, the verdict's evidence; of a group that could not be read, why."""
    known, denied = Tags(group_page(view(), "", NOW)).words, Tags(group_page(unread(), "", NOW)).words
    assert all(words in known for words in ("client-1", "10.0.0.1", "State STABLE, members: 1", "because"))
    assert all(words in denied for words in ("Not known", "State not known", "None could be read", "nothing to draw"))


def test_an_empty_list_says_why() -> None:
    """A bot without Kafka has a page, too."""
    assert "no Kafka" in lag_page([], NOW, "no Kafka")


def test_what_nobody_sees_of_a_name_is_a_blank() -> None:
    """A name that turns the text around it, or holds what is no character at all, is shown flat."""
    for page in (
        lag_page([view("a\u202eb\x00\x1b\udcff")], NOW, ""),
        group_page(view("a\u202eb\x00\x1b\udcff"), "", NOW),
    ):
        assert "a b   <" in page
        assert not {"\u202e", "\x00", "\x1b", "\udcff"} & set(page)
        assert page.encode()
