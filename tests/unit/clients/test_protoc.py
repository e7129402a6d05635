"""The real protoc: what it is given, what comes back, and what is wrong with a file said of that file."""

from __future__ import annotations

import time

import pytest

from bot.clients.proto_imports import imports_of, touched
from bot.clients.protoc import GrpcProtoc
from bot.ports import Unreachable

PROTOC = GrpcProtoc()
HEAD = 'syntax = "proto3";\npackage shop.v1;\n'


def errors(texts, **how):
    found = PROTOC.compile(texts, **({"folders": ["schemas"]} | how))
    assert set(texts) == set(found.files) | {one.file for one in found.errors}
    return {one.file: (one.line, one.column, one.message) for one in reversed(found.errors)}


def message(text):
    return PROTOC.compile({"a.proto": text}).files["a.proto"].messages[0]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        (HEAD + "message A {\n  string a = 1\n}\n", (5, 1), 'Expected ";"'),
        (HEAD + "message A {\n\tstring é = 1;\n}\n", (4, 9), "non ascii"),  # a tab is one column, as editors count
        ("<html>no proto</html>", (1, 1), "Expected top-level statement"),
        (HEAD + "message A { string a = 1; string b = 1; }", (3, 38), "already been used"),
        (HEAD + "message A { reserved 1; string a = 1; }", (3, 22), "reserved"),
        (HEAD + "message A { Nothing a = 1; }", (3, 13), '"Nothing" is not defined'),
        (HEAD + "message M { " * 200 + "} " * 200, None, "nest"),
        ("\0\1\2", None, ""),
    ],
)
def test_a_file_that_does_not_compile_is_told_with_its_place(text, place, words):
    """Each error stands at the line and column of an editor; the good file beside it is compiled."""
    texts = {"schemas/good.proto": HEAD + "message Good {}", "schemas/bad.proto": text}
    found = errors(texts)
    assert {"schemas/bad.proto"} == set(found)
    line, column, said = found["schemas/bad.proto"]
    assert words in said
    assert place is None or place == (line, column)


@pytest.mark.parametrize("text", ["", "\ufeff" + HEAD, HEAD.replace("\n", "\r\n"), "// only a comment"])
def test_what_looks_odd_and_is_fine_compiles(text):
    """An empty file, a byte order mark and the line ends of Windows are none of protoc's worries."""
    assert {} == errors({"schemas/a.proto": text})


def test_all_other_files_are_checked_when_many_are_broken():
    """A broken file takes down itself and those that import it, and each of these says so."""
    texts = {f"schemas/ok{i}.proto": HEAD + f"message Ok{i} {{}}" for i in range(30)}
    texts |= {f"schemas/bad{i}.proto": "garbage" for i in range(30)}
    texts["schemas/user.proto"] = HEAD + 'import "bad3.proto";\nmessage User {}'
    texts["schemas/above.proto"] = HEAD + '\nimport "user.proto";\nmessage Above {}'
    found = errors(texts)
    assert {f"schemas/bad{i}.proto" for i in range(30)} | {"schemas/user.proto", "schemas/above.proto"} == set(found)
    assert (3, 1, 'import "bad3.proto" does not compile, so this file was not checked') == found["schemas/user.proto"]
    assert 4 == found["schemas/above.proto"][0]


def test_a_missing_import_says_where_it_was_looked_for():
    """The folders that were searched, and the flag that adds one."""
    text = HEAD + '// import "comment.proto";\nimport "common/money.proto";\nmessage A {}'
    found = PROTOC.compile({"schemas/shop/a.proto": text}, folders=["vendor", "schemas"])
    (error,) = found.errors
    assert (4, 1) == (error.line, error.column)
    assert 'import "common/money.proto" is not there: looked in vendor/, schemas/, schemas/shop/, ./' == error.message
    assert "--proto-path" in error.remedy


def test_an_import_is_found_beside_below_and_above():
    """Whatever folder the imports of a repository begin at; a file not given is read, and only such a one."""
    money = HEAD + "message Money {}"
    user = (
        HEAD + 'import "common/money.proto";\nimport "google/protobuf/timestamp.proto";\nmessage A {{ Money m = 1; }}'
    )
    for place in ("schemas/common/money.proto", "schemas/shop/common/money.proto", "common/money.proto"):
        asked = []

        def read(path, place=place, asked=asked):
            asked.append(path)
            return money if path == place else None

        assert {} == errors({"schemas/shop/a.proto": user.replace("{{", "{").replace("}}", "}")}, read=read)
        assert place in asked


@pytest.mark.parametrize("name", ["../secret.proto", "/etc/passwd", "a//b.proto", "./a.proto", "a\\b.proto"])
def test_no_import_leaves_the_folder(name):
    """protoc refuses such names; we do before a file is read or written for them."""

    def read(path):
        raise AssertionError(f"asked for {path}")

    found = errors({"schemas/a.proto": HEAD + f'import "{name}";\nmessage A {{}}'}, read=read)
    assert "is none that protoc takes" in found["schemas/a.proto"][2]


def test_an_import_cannot_bring_code_to_the_process_that_compiles():
    """An import may be called like a module of Python: protoc runs with the files as working folder."""
    evil = HEAD + "message Json {}"
    texts = {"schemas/a.proto": HEAD + 'import "json.py";\nimport "grpc_tools/protoc.py";\nmessage A {}'}
    assert {} == errors(texts, read=lambda path: evil if path == "schemas/json.py" else HEAD if ".py" in path else None)


def test_files_that_import_each_other_in_a_ring_are_told():
    """A ring breaks all in it and nobody else."""
    texts = {
        "schemas/a.proto": HEAD + 'import "b.proto";\nmessage A {}',
        "schemas/b.proto": HEAD + 'import "a.proto";\nmessage B {}',
        "schemas/c.proto": HEAD + "message C {}",
    }
    found = errors(texts)
    assert {"schemas/a.proto", "schemas/b.proto"} == set(found)
    assert any("recursively" in said for _, _, said in found.values())


def test_two_files_that_define_one_name_are_told_and_one_of_them_compiles():
    """The second of the two, with the first one's name."""
    texts = {"schemas/a.proto": HEAD + "message A {}", "schemas/b.proto": HEAD + "message A {}"}
    ((file, (_, _, said)),) = errors(texts).items()
    assert file in texts
    assert "already defined in file" in said


def test_folders_that_each_have_their_own_common_file_are_compiled_apart():
    """Two services with a `common.proto` each are no clash, though protoc could not take them together."""
    texts = {}
    for service in ("orders", "users"):
        head = f'syntax = "proto3";\npackage {service}.v1;\n'
        texts[f"schemas/{service}/common.proto"] = head + "message Id {}"
        texts[f"schemas/{service}/a.proto"] = head + 'import "common.proto";\nmessage A { Id id = 1; }'
    assert {} == errors(texts)


def test_one_file_under_two_roots_is_one_file():
    """`schemas/` and `schemas/shop/` both given: what imports call it is its name."""
    texts = {
        "schemas/shop/money.proto": HEAD + "message Money {}",
        "schemas/shop/a.proto": HEAD + 'import "money.proto";\nmessage A { Money m = 1; }',
    }
    assert {} == errors(texts, folders=["schemas", "schemas/shop"])


def test_a_large_file_and_a_file_of_many_megabytes():
    """5 MB compile like any other, within the deadline."""
    fields = "\n".join(f"  optional string a_long_name_for_a_field_{i} = {i};" for i in range(1, 15_000))
    text = HEAD + f"message A {{\n{fields}\n}}\n" + "// " + "x" * 78 + "\n"
    text += ("// " + "x" * 97 + "\n") * ((5_000_000 - len(text)) // 100)
    assert 14_999 == len(message(text).fields)


def test_presence_is_resolved_for_every_syntax():
    """Whether a reader can tell `not set` from zero, whatever says so."""
    said = {
        ('syntax = "proto3";', "string a = 1;"): False,
        ('syntax = "proto3";', "optional string a = 1;"): True,
        ('syntax = "proto3";', "oneof o { string a = 1; }"): True,
        ('syntax = "proto3";', "M a = 1;"): True,
        ('syntax = "proto3";', "repeated string a = 1;"): False,
        ('syntax = "proto2";', "optional string a = 1;"): True,
        ('edition = "2023";', "string a = 1;"): True,
        ('edition = "2024";', "string a = 1 [features.field_presence = IMPLICIT];"): False,
        ('edition = "2023"; option features.field_presence = IMPLICIT;', "string a = 1;"): False,
    }
    for (head, line), presence in said.items():
        assert presence == message(f"{head}\nmessage M {{ {line} }}").fields[0].has_presence, (head, line)


def test_a_map_carries_its_types_and_is_no_message():
    """The entry message that protoc makes up is not shown."""
    found = message(HEAD + "message M { map<string, int64> m = 1; reserved 5 to 7, 9 to max; }")
    assert ("map<string, int64>", (), ((5, 7), (9, 536_870_911))) == (
        found.fields[0].words,
        found.messages,
        found.reserved_ranges,
    )


def test_a_version_without_places_equals_one_with_them():
    """Comments and lines do not make a difference between two versions."""
    text = HEAD + "// Said.\nmessage M {\n  // Once.\n  string a = 1;\n}\n"
    now, before = (PROTOC.compile({"a.proto": text}, places=places).files["a.proto"] for places in (True, False))
    assert now == before
    assert (5, 3, " Once.\n") != (before.messages[0].fields[0].line, 1, "")
    assert (6, 3, " Once.\n") == (
        now.messages[0].fields[0].line,
        now.messages[0].fields[0].column,
        now.messages[0].fields[0].comment,
    )


def test_a_deadline_ends_it():
    """protoc that does not end is Unreachable, not a hang."""
    with pytest.raises(Unreachable, match="within"):
        PROTOC.compile({f"a{i}.proto": HEAD + f"message A{i} {{}}" for i in range(3000)}, deadline_s=0.01)


def test_only_what_changed_and_what_imports_it_is_touched():
    """The side that is compared with is compiled for these files alone."""
    before = {
        "schemas/money.proto": HEAD + "message Money {}",
        "schemas/a.proto": HEAD + 'import "money.proto";',
        "schemas/b.proto": HEAD,
        "schemas/c.proto": HEAD + 'import "a.proto";',
    }
    now = before | {"schemas/money.proto": HEAD + "message Money { optional string a = 1; }"}
    assert {"schemas/money.proto", "schemas/a.proto", "schemas/c.proto"} == touched(before, now)
    assert frozenset() == touched(before, before)


def test_imports_in_comments_and_strings_are_none():
    """Only statements count, also in a file that does not compile."""
    text = (
        '// import "a.proto";\n/* import "b.proto"; */ x = "import \\"c.proto\\"";\nimport public "d.proto"; garbage {'
    )
    assert ["d.proto"] == [one.name for one in imports_of(text)]


def test_a_thousand_files_compile_fast():
    """1,000 files of 30 fields; generous, since CI machines are slow and shared: measured at 0.6 to 0.9 s."""
    fields = "\n".join(f"  optional string field_{i} = {i};" for i in range(1, 31))
    texts = {f"schemas/f{i}.proto": HEAD + f"message M{i} {{\n{fields}\n}}\n" for i in range(1000)}
    started = time.monotonic()
    assert {} == errors(texts)
    assert time.monotonic() - started < 10
