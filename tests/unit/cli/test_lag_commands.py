"""`cdc lag` and `cdc watch`: what they ask for, where they print, how they end."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.cli import run
from bot.cli_call import Stop, is_interrupt
from bot.cli_lag import read_interval
from bot.model import ConsumerGroup, GroupOffsets, PartitionOffsets, Pipeline
from bot.ports import GroupEntry, KafkaListing, Missing, Unreachable
from bot.probes.sources import Sources
from tests.unit.quiet_kafka import QuietKafka

AT = datetime(2026, 11, 23, 14, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Configured:
    path: Path = Path("cdc.yml")
    pipelines: tuple[Pipeline, ...] = (Pipeline("orders", "#cdc", consumers=(ConsumerGroup("orders"),)),)


class Brokers(QuietKafka):
    """Answers one read after another: a lag, or an error to raise; the last one for ever."""

    def __init__(self, answers: Sequence[int | BaseException]) -> None:
        self._answers = list(answers)
        self.reads = 0

    def read_group(self, group: str, topics: Sequence[str], deadline_s: float) -> GroupOffsets:
        self.reads += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, BaseException):
            raise answer
        at = AT + timedelta(seconds=5 * self.reads)
        return GroupOffsets(group, at, "STABLE", 1, (PartitionOffsets("t", 0, 100 - answer, 0, 100),))

    def read_listing(self, deadline_s: float) -> KafkaListing:
        if isinstance(self._answers[0], Unreachable):
            raise self._answers[0]
        return KafkaListing(
            "c", 1, (), (GroupEntry("orders", None), GroupEntry("billing", None)), ("one broker: down",)
        )


@dataclass
class App:
    """A composition root over a few reads."""

    answers: Sequence[int | BaseException] = (0,)
    brokers: Brokers = field(init=False)

    def __post_init__(self) -> None:
        self.brokers = Brokers(self.answers)

    def clock(self) -> datetime:
        return AT

    def open_config(self, path: Path, environ: object) -> Configured:
        return Configured(path)

    def sources(self, config: object, environ: object) -> Sources:
        return Sources(kafka=self.brokers, cluster=self.brokers, deadline_s=1.0)  # type: ignore[arg-type]

    def bare_sources(self, bootstrap: str, kafka_settings: object = None) -> Sources:
        return self.sources(None, None)


def cdc(line: str, *answers: int | BaseException) -> int:
    app = App(answers or (0,))
    return run(line.split(), {}, lambda: app)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    ("code", "said", "line"),
    [
        (2, "which is one", "lag orders --all --bootstrap k:9"),
        (2, "--topic goes with a group", "lag --all --topic t --bootstrap k:9"),
        (2, "Name it, or ask about every one with --all", "lag --bootstrap k:9"),
        (2, "Give --bootstrap, or -c PATH", "lag orders"),
        (2, "Give --bootstrap, or -c PATH", "lag"),
        (2, "Give --bootstrap, or -c PATH", "watch orders"),
        (2, "-X goes with --bootstrap", "watch orders -X a=b"),
        (2, "at least a second", "watch orders --bootstrap k:9 --interval 0.1s"),
        (2, "at least a second", "watch orders --bootstrap k:9 --interval soon"),
        (2, "Missing argument 'GROUP'", "watch"),
    ],
)
def test_what_does_not_go_together_is_refused_with_the_way_to_write_it(
    code: int, said: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """2, and nothing on stdout."""
    monkeypatch.chdir(tmp_path)
    expected = said.replace("which is one", "and orders is one")

    assert code == cdc(line)
    out, err = capsys.readouterr()
    assert "" == out
    assert expected in err


@pytest.mark.parametrize(("word", "seconds"), [("5s", 5), ("1m", 60), ("2.5", 2.5), ("1h", 3600), (" 1 s ", 1)])
def test_an_interval_is_a_time(word: str, seconds: float) -> None:
    """As people write it."""
    assert seconds == read_interval(word)


@pytest.mark.parametrize("word", ["", "0s", "0.9", "-5s", "5d", "nan", "1e3"])
def test_an_interval_that_is_none_stops(word: str) -> None:
    """Two reads within a second are one read."""
    with pytest.raises(Stop):
        read_interval(word)


def test_all_is_a_list_of_summaries_on_stdout_and_nothing_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """A bar is drawn on a terminal only."""
    assert 0 == cdc("lag --all --bootstrap k:9 --json", 7)
    out, err = capsys.readouterr()

    assert [("billing", 7), ("orders", 7)] == [(one["group"], one["lag_records"]) for one in json.loads(out)]
    assert "" == err


def test_brokers_that_are_away_are_one_document_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts read stdout also when it ends with 3; a watch prints its line of JSON."""
    away = Unreachable("Kafka at k:9: no answer")

    assert 3 == cdc("lag --all --bootstrap k:9 --json", away)
    assert {"error": "No group could be listed Kafka at k:9: no answer", "next": []} == json.loads(
        capsys.readouterr().out
    )
    assert 3 == cdc("watch orders --bootstrap k:9 --json", away)
    [line] = capsys.readouterr().out.splitlines()
    assert ("UNREACHABLE", None, False) == tuple(json.loads(line)[key] for key in ("verdict", "lag_records", "drained"))


def test_all_says_what_could_not_be_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """A broker that is down hides groups."""
    assert 0 == cdc("lag --all --bootstrap k:9")
    assert "not known: one broker: down" in capsys.readouterr().out


def test_without_a_group_the_configured_ones_are_asked(capsys: pytest.CaptureFixture[str]) -> None:
    """With cdc.yml; the row names the pipeline."""
    assert 0 == cdc("-c cdc.yml lag --json", 3)
    assert [("orders", "orders", 3)] == [
        (one["group"], one["pipeline"], one["lag_records"]) for one in json.loads(capsys.readouterr().out)
    ]


def test_next_steps_ask_the_brokers_that_were_asked(capsys: pytest.CaptureFixture[str]) -> None:
    """Copied, they work."""
    assert 0 == cdc("lag orders --bootstrap k:9", 3)
    assert "next: cdc watch orders --bootstrap k:9\n" in capsys.readouterr().out


def test_a_group_that_is_not_there_is_3_with_a_name_like_it(capsys: pytest.CaptureFixture[str]) -> None:
    """For both commands, in one wording."""
    for verb in ("lag", "watch"):
        assert 3 == cdc(f"{verb} ordrs --bootstrap k:9", Missing("no consumer group ordrs on Kafka at k:9"))
        out, err = capsys.readouterr()
        assert "" == out
        assert "no consumer group ordrs" in err
        assert "next: cdc lag orders --bootstrap k:9" in err


def test_a_watch_ends_when_the_group_is_drained(capsys: pytest.CaptureFixture[str]) -> None:
    """A line a look, a last line, 0."""
    assert 0 == cdc("watch orders --bootstrap k:9 --interval 1s", 9, 4, 0)
    lines = capsys.readouterr().out.splitlines()

    assert ["9", "4 (-5)", "0 (-4)"] == [line.partition(" lag ")[2].partition("  ")[0] for line in lines[:3]]
    assert "orders: drained at lag 0, OK, watched for 10 s" == lines[3]
    assert 4 == len(lines)


def test_a_broker_lost_in_between_is_a_line_and_it_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    """Brokers are restarted while people watch. One JSON document a line, of one shape."""
    lost = Unreachable("Kafka at k:9: no answer")
    assert 0 == cdc("watch orders --bootstrap k:9 --interval 1s --json", 9, lost, 0)
    looks = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert [9, None, 0] == [look["lag_records"] for look in looks]
    assert [False, False, True] == [look["drained"] for look in looks]
    assert ["could not see orders: Kafka at k:9: no answer"] == looks[1]["not_known"]
    assert -9 == looks[2]["delta_records"]
    assert 1 == len({tuple(look) for look in looks})


@pytest.mark.parametrize(
    ("code", "error", "last"),
    [
        (3, Missing("no consumer group orders"), "MISSING"),
        (130, KeyboardInterrupt(), "orders: stopped at lag 9, UNKNOWN, watched for 0 s"),
    ],
)
def test_a_watch_that_cannot_go_on_ends_with_a_line(
    code: int, error: BaseException, last: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A deleted group is 3, Ctrl-C is 130."""
    assert code == cdc("watch orders --bootstrap k:9 --interval 1s", 9, error)
    assert last in capsys.readouterr().out.splitlines()[-1]


def in_c(error: BaseException) -> BaseException:
    """What CPython raises when a C function returns a value although an exception is set."""
    wrapped = SystemError("list_offsets returned a result with an exception set")
    wrapped.__cause__ = error
    return wrapped


@pytest.mark.parametrize("line", ["lag orders --bootstrap k:9", "watch orders --bootstrap k:9"])
def test_a_ctrl_c_inside_librdkafka_is_a_ctrl_c(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And no defect of ours; another SystemError is one."""
    assert 130 == cdc(line, in_c(KeyboardInterrupt()))
    assert "defect" not in capsys.readouterr().err
    assert 70 == cdc(line, in_c(ValueError()))


@pytest.mark.parametrize(
    ("expected", "error"),
    [(True, KeyboardInterrupt()), (True, in_c(KeyboardInterrupt())), (False, in_c(ValueError())), (False, None)],
)
def test_an_interrupt_is_found_behind_an_error(expected: bool, error: BaseException | None) -> None:
    """However deep."""
    assert expected is is_interrupt(error)


def test_a_watch_that_was_told_so_goes_on_after_lag_0(capsys: pytest.CaptureFixture[str]) -> None:
    """--forever ends with Ctrl-C alone."""
    assert 130 == cdc("watch orders --bootstrap k:9 --interval 1s --forever", 0, 5, KeyboardInterrupt())
    assert 3 == len(capsys.readouterr().out.splitlines())
