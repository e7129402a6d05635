"""One run: what is compared with what, what is told once, and what waivers and baselines take out."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from bot.checks import baseline
from bot.checks.result import Result
from bot.checks.run import Registered, RegisteredVersion, Snapshot, Source, check, narrowed, read
from bot.checks.settings import SchemaSettings
from bot.checks.violation import Severity, Violation, Waiver
from bot.checks.waivers import ATTRIBUTE, InFile

TODAY = dt.date(2026, 11, 23)
FILE = "schemas/customers-value.avsc"
ID = {"name": "id", "type": "long", "doc": "Primary key, from the database."}
TIER = {"name": "tier", "type": "string", "doc": "Loyalty tier, as sales has it."}
DECIDED = {**TIER, "type": ["null", "string"], "default": None}
WAIVER = {"rule": "C001", "reason": "The topic is rebuilt.", "owner": "@data", "until": "2026-11-23"}


def record(*fields: Any, name: str = "Customer", **more: Any) -> str:
    head = {"type": "record", "name": name, "namespace": "com.shop", "doc": "Whom the shop sells to."}
    return json.dumps({**head, **more, "fields": list(fields)}, indent=1)


def judged(
    new: str, old: str | None = record(ID), settings: SchemaSettings | None = None, today: dt.date = TODAY, **more: Any
) -> Result:
    snapshots = () if old is None else (Snapshot("git main (1234567)", {FILE: old}, frozenset()),)
    return check(read([Source(FILE, new, "avro")]), settings or SchemaSettings(), today, snapshots, **more)


def rules(result: Result) -> list[str]:
    return [one.rule for one in result.violations if one.waiver is None]


def test_a_change_is_told_with_its_place_and_what_it_was_compared_with() -> None:
    """The line is that of the field, the path survives reformatting."""
    (found,) = judged(record(ID, TIER)).violations
    assert ("C001", FILE, "tier", "git main (1234567)") == (found.rule, found.file, found.path, found.against)
    assert '"name": "tier"' in record(ID, TIER).splitlines()[found.line]
    assert "customers-value" == found.subject
    assert [] == rules(judged(record(ID, DECIDED)))
    assert [] == rules(judged(record(ID, TIER), old=None))


def test_one_broken_file_stops_no_other() -> None:
    """It is an error of its own, and its neighbour is judged as ever."""
    corpus = read([Source("broken.avsc", '{"type": ', "avro"), Source(FILE, record(ID, TIER), "avro")])
    before = Snapshot("before", {FILE: record(ID), "broken.avsc": record(ID, name="Broken")}, frozenset())
    result = check(corpus, SchemaSettings(), TODAY, (before,))
    assert ["A001", "C001"] == rules(result)
    assert ("broken.avsc", FILE) == result.checked


@pytest.mark.parametrize("text", ["null", "7", "true", '"com.shop.Nowhere"'])
def test_json_that_is_no_schema_is_never_green(text: str) -> None:
    """`null` is a document too, not the lack of one."""
    result = judged(text, old=None)
    assert [Severity.ERROR] == [one.severity for one in result.violations]


def test_what_a_file_that_is_only_read_has_wrong_is_not_told() -> None:
    """It is there for its names; its own check is another run's, or another folder's."""
    address = Source(ADDRESS, record({**ID, "order": "up"}, name="Address"), "avro", linted=False, judged=False)
    ship = {**SHIP, "type": ["null", "com.shop.Address"], "default": None}
    corpus = read([Source(ORDERS, record(ID, ship, name="Order"), "avro"), address])
    before = Snapshot("before", {ORDERS: record(ID, name="Order")}, frozenset())
    result = check(corpus, SchemaSettings(), TODAY, (before,))
    assert ([], (ORDERS,), ()) == (rules(result), result.checked, result.notes)


def test_a_version_that_could_not_be_read_is_a_note() -> None:
    """The file is then not compared, and not passed in silence."""
    result = judged(record(ID, TIER), old="{")
    assert [] == rules(result)
    assert (f"not compared, unreadable at git main (1234567): {FILE}",) == result.notes


ADDRESS, ORDERS = "schemas/address.avsc", "schemas/orders-value.avsc"
ZIP = {"name": "zip", "type": "string", "doc": "Postal code, as the post writes it."}
SHIP = {"name": "ship_to", "type": "com.shop.Address", "doc": "Where the parcel goes to."}


def shared(address: str, orders: str, before: Snapshot, settings: SchemaSettings | None = None) -> Result:
    sources = [Source(ADDRESS, address, "avro"), Source(ORDERS, orders, "avro")]
    return check(read(sources), settings or SchemaSettings(), TODAY, (before,))


def test_a_change_of_a_shared_type_is_told_where_it_is_defined() -> None:
    """And not once more for each file that uses the type: one waiver is then enough."""
    old, new = record(ID, name="Address"), record(ID, ZIP, name="Address")
    result = shared(new, record(ID, SHIP, name="Order"), Snapshot("before", {ADDRESS: old}, frozenset({ORDERS})))
    assert [("C001", ADDRESS, "zip")] == [(one.rule, one.file, one.path) for one in result.violations]


def test_a_user_of_a_shared_type_is_judged_at_its_own_level() -> None:
    """What the definition's level lets pass may break the subject that uses it."""
    old, new = record(ID, ZIP, name="Address"), record(ID, name="Address")
    settings = SchemaSettings(levels={"**/orders-value.avsc": "FORWARD"})
    unchanged = frozenset({ORDERS})
    result = shared(new, record(ID, SHIP, name="Order"), Snapshot("before", {ADDRESS: old}, unchanged), settings)
    assert {ORDERS} == {one.file for one in result.violations if one.severity is Severity.ERROR}


def test_a_user_of_a_shared_type_is_compared_and_its_own_lint_is_not_asked() -> None:
    """A check of what changed reads the files that use it: judged where it says so, and else only for their names."""
    old, new = record(ID, ZIP, name="Address"), record(ID, name="Address")
    settings = SchemaSettings(levels={"**/orders-value.avsc": "FORWARD"})
    before = Snapshot("before", {ADDRESS: old}, frozenset({ORDERS}))
    for is_judged, told in ((True, {ORDERS}), (False, set())):
        order = Source(ORDERS, record(ID, SHIP, name="order"), "avro", linted=False, judged=is_judged)
        result = check(read([Source(ADDRESS, new, "avro"), order]), settings, TODAY, (before,))
        assert told == {one.file for one in result.violations if one.severity is Severity.ERROR}
        assert () == result.notes


def test_a_new_file_that_uses_a_changed_type_is_new_and_not_unreadable() -> None:
    """There is nothing of it to compare with."""
    old, new = record(ID, name="Address"), record(ID, {**ZIP, "default": ""}, name="Address")
    result = shared(new, record(ID, SHIP, name="Order"), Snapshot("before", {ADDRESS: old}, frozenset()))
    assert (f"new since before, nothing to compare with: {ORDERS}",) == result.notes


@pytest.mark.parametrize(("count", "end"), [(3, "c.avsc"), (4, "c.avsc and 1 more"), (5, "c.avsc and 2 more")])
def test_a_note_names_three_files_and_counts_the_rest(count: int, end: str) -> None:
    """A thousand new files are one line."""
    corpus = read([Source(f"{name}.avsc", record(ID, name=name.upper()), "avro") for name in "abcde"[:count]])
    (note,) = check(corpus, SchemaSettings(), TODAY, (Snapshot("before", {}, frozenset()),)).notes
    assert note.endswith(f": a.avsc, b.avsc, {end}")


def test_a_moved_file_is_found_by_the_name_of_its_record() -> None:
    """Also where git saw no rename: an earlier copy, a move that is not staged."""
    before = Snapshot("before", {}, frozenset(), {"old/place.avsc": record(ID)})
    result = check(read([Source(FILE, record(ID, TIER), "avro")]), SchemaSettings(), TODAY, (before,))
    assert ["C001"] == rules(result)
    gone = Snapshot("before", {}, frozenset(), {"old/place.avsc": record(ID, name="Other")})
    result = check(read([Source(FILE, record(ID, TIER), "avro")]), SchemaSettings(), TODAY, (gone,))
    assert [] == rules(result)
    assert any("old/place.avsc" in note and "stays in the registry" in note for note in result.notes)


def test_the_same_violation_against_two_is_told_once() -> None:
    """It names both, each once, also where one's name begins as the other's does."""
    names = ("git main (1)", "dir old.2", "dir old", "dir old")
    snapshots = [Snapshot(name, {FILE: record(ID)}, frozenset()) for name in names]
    (found,) = check(read([Source(FILE, record(ID, TIER), "avro")]), SchemaSettings(), TODAY, snapshots).violations
    assert "git main (1), dir old.2, dir old" == found.against


def test_what_the_file_alone_and_a_comparison_show_is_told_with_the_comparison() -> None:
    """As lines without a pointer: what protoc tells."""
    lint = Violation("P105", Severity.WARNING, "a.proto", "M.f", "w", "r", line=3)
    (found,) = check(read([]), SchemaSettings(), TODAY, more=[lint, replace(lint, against="git main")]).violations
    assert "git main" == found.against


def test_severities_are_those_of_the_settings() -> None:
    """A rule can be re-rated or turned off."""
    result = judged(record(ID, TIER), settings=SchemaSettings(severities={"C001": "note"}))
    assert [Severity.NOTE] == [one.severity for one in result.violations]
    assert [] == rules(judged(record(ID, TIER), settings=SchemaSettings(severities={"C001": None, "C002": None})))


# --- waivers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["field", "root"])
def test_a_waiver_holds_for_its_node_and_below(where: str) -> None:
    """With who and why in the result, to the end of its last day."""
    field = {**TIER, ATTRIBUTE: [WAIVER]} if where == "field" else TIER
    root = {ATTRIBUTE: WAIVER} if where == "root" else {}
    new = record(ID, field, **root)
    (found,) = judged(new).violations
    assert Waiver("The topic is rebuilt.", "@data", "2026-11-23") == found.waiver
    late = judged(new, today=dt.date(2026, 11, 24))
    assert ["C001"] == rules(late)
    assert "the waiver of @data ended 2026-11-23" in late.violations[0].message
    other = judged(record({**ID, ATTRIBUTE: [WAIVER]}, TIER))
    assert ["S003", "C001"] == rules(other)


@pytest.mark.parametrize(
    ("waived", "found", "covers"),
    [
        ("Customer.tier", "Customer.tier", True),
        ("Customer.tier", "Customer.tier.name", True),
        ("Customer.tier", "Customer.tiers", False),
        ("Customer.tier", "Customer", False),
        (None, "Customer.tier", True),  # of the whole file
        ("", "Customer.tier", True),
    ],
)
def test_a_waiver_of_protobuf_holds_for_its_path_and_below(waived: str | None, found: str, covers: bool) -> None:
    """Of its rule in its file, and of nothing else."""
    waiver = InFile("a.proto", "P105", Waiver("r", "@o"), path=waived)
    violation = Violation("P105", Severity.ERROR, "a.proto", found, "w", "r")
    assert covers is waiver.covers(violation)
    assert not waiver.covers(replace(violation, rule="P101"))
    assert not waiver.covers(replace(violation, file="b.proto"))


def test_the_first_of_two_waivers_holds() -> None:
    """The inner one stands later; neither is idle. Blanks around a reason or an owner are no part of it."""
    outer, inner = ({**WAIVER, "reason": f" {name} ", "owner": f" @{name}"} for name in ("root", "field"))
    result = judged(record(ID, {**TIER, ATTRIBUTE: [inner]}, **{ATTRIBUTE: [outer]}))
    assert [Waiver("root", "@root", "2026-11-23")] == [one.waiver for one in result.violations]


@pytest.mark.parametrize(
    ("waiver", "rule", "says"),
    [
        ({**WAIVER, "owner": " "}, "S001", "has no owner"),
        ({"rule": "C001", "owner": "@data"}, "S001", "gives no reason"),
        ({**WAIVER, "until": "31.1.2027"}, "S001", "not a date"),
        ({**WAIVER, "untill": "2027-01-31"}, "S001", "no `untill`"),
        ("C001", "S001", "an object"),
        ({**WAIVER, "rule": "C999"}, "S002", "no rule C999"),
        ({**WAIVER, "rule": "A002"}, "S002", "cannot be waived"),
        ({**WAIVER, "rule": "S004"}, "S002", "cannot be waived"),
    ],
)
def test_a_waiver_that_decides_nothing_is_an_error(waiver: Any, rule: str, says: str) -> None:
    """And what it was to waive counts."""
    result = judged(record(ID, {**TIER, ATTRIBUTE: [waiver]}))
    assert {rule, "C001"} == set(rules(result))
    assert any(says in one.message for one in result.violations)


def test_an_unused_waiver_is_told_only_where_it_could_be_used() -> None:
    """Without a comparison there are no changes, and an unchanged file has none either."""
    new = record(ID, {**DECIDED, ATTRIBUTE: [WAIVER]})
    assert ["S003"] == rules(judged(new))
    assert [] == rules(judged(new, old=None))
    assert ["S003"] == rules(against(registered(record(ID)), new))
    unchanged = Snapshot("before", {}, frozenset({FILE}))
    assert [] == rules(check(read([Source(FILE, new, "avro")]), SchemaSettings(), TODAY, (unchanged,)))


@pytest.mark.parametrize(
    ("rule", "alone", "compared"),
    [
        ("A101", ["S003"], ["S003"]),
        ("C001", [], ["S003"]),
        ("P101", ["S003"], ["S003"]),
        ("P105", ["S003"], []),  # compared, it asks new fields only
        ("P203", [], ["S003"]),
    ],
)
def test_a_rule_that_was_not_asked_leaves_no_waiver_idle(rule: str, alone: list[str], compared: list[str]) -> None:
    """Rules of changes are asked where there is something before."""
    idle = InFile(FILE, rule, Waiver("r", "@o"), path="tier")
    corpus = replace(read([Source(FILE, record(ID), "avro")]), waivers=(idle,))
    before = Snapshot("before", {FILE: record(ID)}, frozenset())
    assert alone == rules(check(corpus, SchemaSettings(), TODAY))
    assert compared == rules(check(corpus, SchemaSettings(), TODAY, (before,)))


def test_violations_come_by_file_then_by_place_then_by_rule() -> None:
    """In whatever order the files were given: two runs print the same."""
    places = [("b.sql", 1, "D009"), ("a.sql", 7, "D009"), ("a.sql", 7, "D001"), ("a.sql", 2, "D009")]
    more = [Violation(rule, Severity.ERROR, file, "t", f"w{line}", "r", line=line) for file, line, rule in places]
    result = check(read([]), SchemaSettings(), TODAY, more=more)
    assert [("a.sql", 2, "D009"), ("a.sql", 7, "D001"), ("a.sql", 7, "D009"), ("b.sql", 1, "D009")] == [
        (one.file, one.line, one.rule) for one in result.violations
    ]


def test_a_baseline_takes_out_what_it_names() -> None:
    """By rule, subject and path; an entry that names nothing is a warning in the baseline file."""
    accepted = Waiver("Known since the import.", "@data")
    entry = baseline.Entry("C001", "tier", accepted, subject="customers-value", line=3)
    (found,) = judged(record(ID, TIER), accepted=[entry], baseline_file="b.yml").violations
    assert accepted == found.waiver
    other = replace(entry, path="id")
    assert ["S003", "C001"] == rules(judged(record(ID, TIER), accepted=[other], baseline_file="b.yml"))
    (idle,) = judged(record(ID, DECIDED), accepted=[entry], baseline_file="b.yml").violations
    assert ("S003", "b.yml", 3) == (idle.rule, idle.file, idle.line)


def test_a_baseline_of_a_file_without_a_subject_is_of_that_file_alone() -> None:
    """Two migrations have no subject, and are not the same for that."""
    found = [Violation("D001", Severity.ERROR, file, "t", "w", "r") for file in ("a.sql", "b.sql")]
    entry = baseline.Entry("D001", "t", Waiver("r", "@o"), file="a.sql")
    waived, idle = baseline.apply(found, [entry], TODAY)
    assert ([True, False], []) == ([one.waiver is not None for one in waived], idle)


def test_an_idle_entry_of_a_file_without_a_subject_is_told() -> None:
    """Where that file was checked; elsewhere it may be another run's."""
    shared_types = SchemaSettings(subjects={"schemas/**": "none"})
    for file, told in ((FILE, ["S003"]), ("other/a.avsc", [])):
        entry = baseline.Entry("A101", "gone", Waiver("r", "@o"), file=file)
        assert told == rules(judged(record(ID), settings=shared_types, accepted=[entry], baseline_file="b.yml"))


def test_an_empty_baseline_is_a_list_and_an_empty_file_is_one() -> None:
    """The first run that finds nothing writes what the next one reads."""
    accepted = Waiver("r", "@o")
    assert [] == json.loads(baseline.render_baseline([], accepted, as_json=True))
    assert "[]" == baseline.render_baseline([], accepted, as_json=False).splitlines()[-1]
    assert ([], []) == baseline.read_baseline(None, "b.yml", {"C001"}, {})


@pytest.mark.parametrize("as_json", [True, False])
def test_a_written_baseline_reads_back(as_json: bool) -> None:
    """As YAML (here by its JSON scalars) and as JSON; what it accepts is then waived."""
    accepted = Waiver('Known: "since" the import #3.', "@data", "2027-01-31")
    violations = judged(record(ID, TIER)).violations
    text = baseline.render_baseline((*violations, *violations), accepted, as_json)
    if as_json:
        entries, wrong = baseline.read_baseline(json.loads(text), "b.json", {"C001"}, {})
    else:
        from bot.incident.yaml_lines import read as read_yaml

        document = read_yaml(text, "b.yml")
        assert () == document.problems
        entries, wrong = baseline.read_baseline(document.values, "b.yml", {"C001"}, {})
    assert ([], [accepted]) == (wrong, [one.waiver for one in entries])
    assert [] == rules(judged(record(ID, TIER), accepted=entries))


@pytest.mark.parametrize(
    ("document", "rule", "line"),
    [
        ({"rule": "C001"}, "S001", 1),
        ([{"rule": "C001", "path": "tier", "reason": "x", "owner": "@y"}], "S001", 7),
        ([{"rule": "C001", "subject": "s", "file": "f", "reason": "x", "owner": "@y"}], "S001", 7),
        ([{"rule": "C9", "file": "f", "reason": "x", "owner": "@y"}], "S002", 7),
        (["C001"], "S001", 7),
    ],
)
def test_a_baseline_that_cannot_be_read_is_an_error(document: Any, rule: str, line: int) -> None:
    """Never an empty one; an entry at its own line."""
    entries, wrong = baseline.read_baseline(document, "b.yml", {"C001"}, {0: 7})
    assert ([], [(rule, line)]) == (entries, [(one.rule, one.line) for one in wrong])


# --- a registry ------------------------------------------------------------------------------------


def registered(*texts: str, level: str = "BACKWARD", accepts: bool | None = None, **more: Any) -> Registered:
    versions = tuple(RegisteredVersion(number, "AVRO", text) for number, text in enumerate(texts, 1))
    return Registered(FILE, "customers-value", "http://r", level, versions, accepts, **more)


def against(held: Registered, new: str, kind: str = "avro", level: str | None = None) -> Result:
    return check(read([Source(FILE, new, kind)]), SchemaSettings(), TODAY, (), (held,), level=level)


def test_a_new_subject_passes_with_a_note() -> None:
    """Nothing is in its way."""
    result = against(registered(), record(ID))
    assert ([], True) == (rules(result), "is new to the registry" in result.notes[0])


def test_the_registry_s_level_is_the_file_s() -> None:
    """A flag goes before it."""
    old, new = record(ID, DECIDED), record(ID)
    assert [] == _errors(against(registered(old), new))
    plain = registered(record(ID, TIER), level="FORWARD")
    assert ["C011"] == _errors(against(plain, new))
    assert [] == _errors(against(plain, new, level="BACKWARD"))


def _errors(result: Result) -> list[str]:
    return [one.rule for one in result.violations if one.severity is Severity.ERROR and one.waiver is None]


def test_both_verdicts_are_told_where_they_differ() -> None:
    """The registry's no is an error; its yes to what we refuse is a note beside our finding."""
    refused = against(registered(record(ID), accepts=False, said=("READER_FIELD_MISSING at /x",)), record(ID, DECIDED))
    assert ["S004"] == _errors(refused)
    assert "READER_FIELD_MISSING at /x" in refused.violations[0].message
    accepted = against(registered(record(ID), accepts=True), record(ID, TIER))
    assert {("C001", Severity.ERROR), ("S005", Severity.NOTE)} == {(v.rule, v.severity) for v in accepted.violations}
    agreed = against(registered(record(ID), accepts=False, said=("no",)), record(ID, TIER))
    assert ["C001"] == rules(agreed)


def test_json_schema_is_the_registry_s_own_verdict() -> None:
    """And marked as that."""
    held = Registered(
        FILE, "customers-value", "http://r", "BACKWARD", (RegisteredVersion(1, "JSON", "{}"),), False, ("x",)
    )
    (found,) = against(held, '{"$schema": "http://json-schema.org/draft-07/schema#"}', "json").violations
    assert ("S004", True) == (found.rule, "does not judge JSON Schema" in found.message)


def test_another_type_of_schema_is_told() -> None:
    """A subject keeps its type."""
    held = Registered(FILE, "customers-value", "http://r", "BACKWARD", (RegisteredVersion(1, "PROTOBUF", "x"),))
    assert ["C019"] == rules(against(held, record(ID)))


def test_a_subject_that_changed_its_type_is_judged_by_its_last() -> None:
    """What it held before is no schema of this kind; at a transitive level that is said."""
    versions = (RegisteredVersion(1, "JSON", '{"type": "string"}'), RegisteredVersion(2, "AVRO", record(ID)))
    held = Registered(FILE, "customers-value", "http://r", "BACKWARD_TRANSITIVE", versions)
    result = against(held, record(ID, TIER))
    assert ["C001"] == _errors(result)
    assert (f"{FILE}: registry customers-value v1 could not be read, not compared with it",) == result.notes


def test_a_violation_has_the_subject_that_it_was_compared_under() -> None:
    """Not the one that the path alone would give."""
    held = Registered(FILE, "people-value", "http://r", "BACKWARD", (RegisteredVersion(1, "AVRO", record(ID)),))
    assert [("C001", "people-value")] == [(one.rule, one.subject) for one in against(held, record(ID, TIER)).violations]


def test_references_of_a_version_are_resolved() -> None:
    """Types that other subjects hold."""
    address = record(ID, name="Address")
    held = Registered(
        FILE, "customers-value", "http://r", "BACKWARD",
        (RegisteredVersion(1, "AVRO", record(ID, SHIP), {"com.shop.Address": address}),),
    )  # fmt: skip
    sources = [Source(FILE, record(ID, SHIP, TIER), "avro"), Source(ADDRESS, address, "avro")]
    result = check(read(sources), SchemaSettings(), TODAY, (), (held,))
    assert ["C001"] == rules(result)


def test_two_files_of_one_subject_are_told() -> None:
    """Each would be the next version of the other."""
    other = "more/customers-value.avsc"
    sources = [Source(FILE, record(ID), "avro"), Source(other, record(ID, name="Other"), "avro")]
    held = [Registered(file, "customers-value", "http://r", "BACKWARD") for file in (FILE, other)]
    assert ["S007"] == rules(check(read(sources), SchemaSettings(), TODAY, (), held))


def test_files_that_use_each_other_are_told() -> None:
    """None of them could be registered first."""
    sources = [
        Source("a.avsc", record({**SHIP, "type": ["null", "com.shop.B"], "default": None}, name="A"), "avro"),
        Source("b.avsc", record({**SHIP, "type": ["null", "com.shop.A"], "default": None}, name="B"), "avro"),
    ]
    assert "S006" in rules(check(read(sources), SchemaSettings(), TODAY))


# --- only what changed -----------------------------------------------------------------------------


def kinds(sources: Sequence[Source]) -> dict[str, tuple[bool, bool]]:
    return {one.file: (one.linted, one.judged) for one in sources}


def test_a_changed_file_brings_those_that_use_it_and_those_that_it_uses() -> None:
    """The users are judged and not linted; of the others only the names are read; the rest is not read at all."""
    texts = {
        "address.avsc": record(ID, name="Address"),
        "customer.avsc": record(SHIP, name="Customer"),
        "order.avsc": record({**ID, "type": "com.shop.Customer"}, name="Order"),
        "city.avsc": record(ID, name="City"),
    }
    assert {"customer.avsc": (True, True), "order.avsc": (False, True), "address.avsc": (False, False)} == kinds(
        list(narrowed(texts, ["customer.avsc"]))
    )
    assert {"city.avsc": (True, True)} == kinds(list(narrowed(texts, ["city.avsc"])))


def test_violations_from_elsewhere_are_rated_waived_and_placed_too() -> None:
    """What protoc or a migration brought."""
    other = Violation("D001", Severity.ERROR, "m.sql", "t.c", "w", "r", line=7)
    entry = baseline.Entry("D001", "t.c", Waiver("r", "@o"), file="m.sql")
    result = judged(record(ID), more=[other], accepted=[entry])
    assert [("m.sql", 7, Waiver("r", "@o"))] == [(one.file, one.line, one.waiver) for one in result.violations]


def test_what_stands_in_a_file_that_did_not_change_is_older() -> None:
    """Its lint is; a change that it shares in is not, nor a name that another file took away."""
    bare = {"name": "note", "type": "string"}
    old, new = record(ID, name="Address"), record(ID, ZIP, bare, name="Address")
    before = Snapshot("before", {ADDRESS: old}, frozenset({ORDERS}))
    result = shared(new, record(ID, SHIP, bare, name="Order"), before)
    lint = [one for one in result.violations if one.rule == "A101"]
    assert {ADDRESS: False, ORDERS: True} == {one.file: result.is_older(one) for one in lint}
    assert not any(result.is_older(one) for one in result.violations if one.rule == "C001")
    broken = shared(record(ID, name="Place"), record(ID, SHIP, name="Order"), before)
    assert [("A002", False)] == [(one.rule, broken.is_older(one)) for one in broken.violations if one.file == ORDERS]


def test_what_is_wrong_with_a_waiver_is_never_older() -> None:
    """A waiver ends by its day, not by a change."""
    corpus = read([Source(FILE, record({**ID, ATTRIBUTE: [{**WAIVER, "rule": "C999"}]}), "avro")])
    result = check(corpus, SchemaSettings(), TODAY, (Snapshot("a", {}, frozenset({FILE})),))
    assert [("S002", False)] == [(one.rule, result.is_older(one)) for one in result.violations]


def test_a_fingerprint_follows_the_subject_over_a_move() -> None:
    """Code Quality of GitLab would call a moved file's findings new; where there is no subject the file tells."""
    one = Violation("C001", Severity.ERROR, "v1/a.avsc", "tier", "w", "r", subject="a-value")
    assert one.fingerprint == replace(one, file="v2/a.avsc", line=9).fingerprint
    assert one.fingerprint != replace(one, path="id").fingerprint
    bare = replace(one, subject=None)
    assert bare.fingerprint != replace(bare, file="v2/a.avsc").fingerprint


def test_a_file_is_older_only_where_it_is_as_in_all_that_it_is_compared_with() -> None:
    """Without a comparison nothing is known to be older."""
    corpus = read([Source(FILE, record(ID, {"name": "note", "type": "string"}), "avro")])
    same, other = Snapshot("a", {}, frozenset({FILE})), Snapshot("b", {FILE: record(ID)}, frozenset())
    assert frozenset({FILE}) == check(corpus, SchemaSettings(), TODAY, (same,)).untouched
    assert frozenset() == check(corpus, SchemaSettings(), TODAY, (same, other)).untouched
    assert frozenset() == check(corpus, SchemaSettings(), TODAY).untouched


def test_what_a_changed_file_had_wrong_before_is_older_too() -> None:
    """What the change adds of the same rule is not; nor the same rule at the same place where all was well."""
    bare, more = {"name": "note", "type": "string"}, {"name": "more", "type": "string"}
    old, new = record(ID, bare), record(ID, bare, more)
    result = judged(new, old)
    lint = {one.path: result.is_older(one) for one in result.violations if one.rule == "A101"}
    assert {"note": True, "more": False} == lint
    assert [False] == [result.is_older(one) for one in result.violations if one.rule == "C001"]
    described = judged(record(ID, bare), record(ID, {**bare, "doc": "What was said at the till."}))
    assert {"note": False} == {one.path: described.is_older(one) for one in described.violations if one.rule == "A101"}


def test_what_only_one_of_two_had_wrong_before_is_not_older() -> None:
    """It is new to whoever is compared with the other one."""
    bare = {"name": "note", "type": "string"}
    corpus = read([Source(FILE, record(ID, bare), "avro")])
    had, had_not = (
        Snapshot(name, {FILE: text}, frozenset()) for name, text in (("a", record(bare)), ("b", record(ID)))
    )
    for snapshots, older in (((had,), True), ((had, had_not), False)):
        result = check(corpus, SchemaSettings(), TODAY, snapshots)
        assert [older] == [result.is_older(one) for one in result.violations if one.rule == "A101"]


def test_a_file_that_moved_is_told_with_both_subjects() -> None:
    """What it was is compared; that the registry sees another subject is a note, and none where it does not."""
    corpus = read([Source("schemas/orders-value.avsc", record(ID, ZIP), "avro")])
    before = Snapshot("main", {}, frozenset(), {"schemas/customers-value.avsc": record(ID)})
    (note,) = check(corpus, SchemaSettings(), TODAY, (before,)).notes
    assert "schemas/orders-value.avsc was schemas/customers-value.avsc at main" in note
    assert "its subject was customers-value and is orders-value" in note
    assert "--subject 'schemas/orders-value.avsc=customers-value'" in note
    by_record = SchemaSettings(subjects={"schemas/**": "RecordNameStrategy"})
    assert () == check(corpus, by_record, TODAY, (before,)).notes
    kept = SchemaSettings(subjects={"schemas/orders-value.avsc": "customers-value"})
    assert () == check(corpus, kept, TODAY, (before,)).notes


def test_what_git_takes_for_renamed_is_paired_by_subject_and_by_record() -> None:
    """Two small records look alike to git: the one is then no later version of the other."""
    now = {"schemas/orders-value.avsc": record(ID, ZIP), "schemas/paid-value.avsc": record(ID, name="Paid")}
    corpus = read([Source(file, text, "avro") for file, text in now.items()])
    before = Snapshot(
        "git main",
        {"schemas/orders-value.avsc": record(ID), "schemas/paid-value.avsc": record(ID, name="Gone")},
        frozenset(),
        renamed={"schemas/orders-value.avsc": FILE, "schemas/paid-value.avsc": "schemas/gone-value.avsc"},
    )
    result = check(corpus, SchemaSettings(), TODAY, (before,))
    assert [("C001", "zip")] == [(one.rule, one.path) for one in result.violations]
    fresh, moved, deleted = result.notes
    assert "new since git main, nothing to compare with: schemas/paid-value.avsc" == fresh
    assert "its subject was customers-value and is orders-value" in moved
    assert deleted.endswith("checked no more: schemas/gone-value.avsc (gone-value)")


def test_a_moved_file_whose_record_moved_too_is_found_by_its_subject() -> None:
    """Its topic goes on, so it is compared; no note, for to the registry nothing moved."""
    corpus = read([Source("v2/customers-value.avsc", record(ID, ZIP, namespace="com.shop.v2"), "avro")])
    before = Snapshot("main", {}, frozenset(), {"v1/customers-value.avsc": record(ID)})
    result = check(corpus, SchemaSettings(), TODAY, (before,))
    assert ["C001"] == [one.rule for one in result.violations if one.severity is Severity.ERROR]
    assert () == result.notes


def test_the_subject_goes_before_the_record_where_files_moved_crosswise() -> None:
    """What consumers read goes on under the subject; a record of the same name elsewhere is another topic's."""
    corpus = read([Source("v2/customers-value.avsc", record(ID, ZIP, name="Person"), "avro")])
    deleted = {
        "v1/people-value.avsc": record(ID, ZIP, name="Person"),
        "v1/customers-value.avsc": record(ID, name="Person"),
    }
    result = check(corpus, SchemaSettings(), TODAY, (Snapshot("main", {}, frozenset(), deleted),))
    assert ["C001"] == [one.rule for one in result.violations if one.severity is Severity.ERROR]
    (note,) = result.notes
    assert note.endswith("checked no more: v1/people-value.avsc (people-value)")


def test_one_new_file_is_the_later_version_of_one_deleted_file() -> None:
    """The other one is gone: two histories do not become one."""
    corpus = read([Source("new/customers-value.avsc", record(ID), "avro")])
    deleted = {f"{folder}/customers-value.avsc": record(ID) for folder in ("eu", "us")}
    (note,) = check(corpus, SchemaSettings(), TODAY, (Snapshot("main", {}, frozenset(), deleted),)).notes
    assert note.endswith("checked no more: us/customers-value.avsc (customers-value)")


def test_a_record_that_takes_its_subject_with_it_is_told() -> None:
    """With RecordNameStrategy a new name is a new subject, and an alias helps no registry."""
    new = record(ID, name="Client", aliases=["Customer"])
    by_record = SchemaSettings(subjects={"schemas/**": "RecordNameStrategy"})
    (note,) = judged(new, settings=by_record).notes
    assert "its subject was com.shop.Customer and is com.shop.Client" in note
    assert "--subject 'schemas/customers-value.avsc=com.shop.Customer'" in note
    assert () == judged(new).notes


@pytest.mark.parametrize(("count", "more"), [(3, ()), (9, ("6 more files have another subject than at main",))])
def test_of_many_files_with_another_subject_three_are_told(count: int, more: tuple[str, ...]) -> None:
    """A rename of a folder's naming is no hundred lines."""
    deleted = {f"t{number}.avsc": record(ID, name=f"T{number}") for number in range(count)}
    corpus = read([Source(f"topic_{file}", text, "avro") for file, text in deleted.items()])
    notes = check(corpus, SchemaSettings(), TODAY, (Snapshot("main", {}, frozenset(), deleted),)).notes
    assert (3 + len(more), more) == (len(notes), notes[3:])


def test_a_moved_json_schema_is_not_said_to_be_compared() -> None:
    """Only a registry judges it; that its subject is another one holds for it as well."""
    text = '{"$schema": "x"}'
    before = Snapshot("main", {"b-value.json": text}, frozenset(), renamed={"b-value.json": "a-value.json"})
    (note,) = check(read([Source("b-value.json", text, "json")]), SchemaSettings(), TODAY, (before,)).notes
    assert note.startswith("b-value.json was a-value.json at main; its subject was a-value and is b-value")


def test_a_deleted_file_that_is_no_schema_had_no_subject() -> None:
    """A folder of schemas may hold settings."""
    deleted = {"schemas/package.json": '{"name": "x"}', "schemas/a-value.json": '{"$schema": "x"}'}
    (note,) = check(read([]), SchemaSettings(), TODAY, (Snapshot("main", {}, frozenset(), deleted),)).notes
    assert note.endswith("checked no more: schemas/a-value.json (a-value)")


def test_a_deleted_schema_without_a_name_had_a_subject() -> None:
    """A primitive or a union may be a topic's key."""
    before = Snapshot("main", {}, frozenset(), {"schemas/a-key.avsc": '["null", "string"]'})
    (note,) = check(read([]), SchemaSettings(), TODAY, (before,)).notes
    assert note.endswith("checked no more: schemas/a-key.avsc (a-key)")
