"""YAML read within limits: what is hostile is refused with its place, and costs no more than its size."""

import time
import tracemalloc

import pytest

from manifests import parse as parser
from manifests.node import ListNode, MapNode, Scalar
from manifests.parse import parse


def only(text: str | bytes, file: str = "m.yaml") -> str:
    """The one problem of a text."""
    _, problems = parse(file, text)
    assert len(problems) == 1, [str(problem) for problem in problems]
    return str(problems[0])


def value(text: str) -> object:
    documents, problems = parse("m.yaml", f"key: {text}")
    assert problems == []
    node = documents[0].get("key") if isinstance(documents[0], MapNode) else None
    assert isinstance(node, Scalar)
    return node.value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no", "no"),
        ("on", "on"),
        ("22:22", "22:22"),
        ("true", True),
        ("0777", 777),
        ("0o17", 15),
        ("0x1F", 31),
        ("1.10", 1.1),
        ("1_000", "1_000"),
        ("2026-01-02", "2026-01-02"),
        ("~", None),
        ('"7"', "7"),
        (".inf", ".inf"),
        ("=", "="),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, expected: object) -> None:
    assert value(text) == expected
    assert type(value(text)) is type(expected)


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system [id]",
        "!!python/name:os.system ''",
        "!!str x",
        "!own x",
        "!!set {a, b}",
        "! x",
        "!!binary aGk=",
    ],
)
def test_every_tag_is_refused(tag: str) -> None:
    assert "m.yaml:1:4: a: the tag" in only(f"a: {tag}")


def test_the_position_is_of_the_character_as_an_editor_counts() -> None:
    assert only("a: 1\n  b: ü\n\tc: 2").startswith("m.yaml:2:")
    assert only("ä: 1\nö: [\n").startswith("m.yaml:3:1: ")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a: 1\nb: \xff\xfe", "m.yaml:2:4: is not UTF-8 here"),
        ("a: 1".encode("utf-16"), "m.yaml:1:1: is UTF-16; a manifest is UTF-8"),
        (b"a: \0", "m.yaml:1:4: a NUL character cannot stand in a manifest"),
        (b'a: "\\0"', "m.yaml:1:4: a: a NUL character cannot stand in a manifest"),
        (b'{"a": "\\u0000"}', "m.yaml:1:7: a: a NUL character cannot stand in a manifest"),
        ("a: \x1b[31m", "m.yaml:1:4: the character U+001B cannot stand in a manifest"),
        (b"\xed\xa0\x80", "m.yaml:1:1: is not UTF-8 here"),
    ],
)
def test_what_is_no_text_is_refused_with_its_place(data: str | bytes, expected: str) -> None:
    assert only(data) == expected


@pytest.mark.parametrize("file", ["m.yaml", "m.json"])
def test_half_a_character_is_refused(file: str) -> None:
    assert "the escape does not stand for a character" in only(b'{"a": "\\ud800"}', file)


def test_json_writes_far_characters_as_pairs() -> None:
    documents, problems = parse("m.json", '{"a": "\\ud83d\\ude00", "b": "\\\\ud83d\\\\ude00"}')
    assert problems == []
    assert isinstance(documents[0], MapNode)
    assert documents[0].get("a") == Scalar("😀", "😀", documents[0].get("a").position)  # type: ignore[union-attr]
    assert documents[0].get("b").value == "\\ud83d\\ude00"  # type: ignore[union-attr]


def test_a_byte_order_mark_is_nothing() -> None:
    documents, problems = parse("m.yaml", b"\xef\xbb\xbfa: 1")
    assert (len(documents), problems) == (1, [])


def test_duplicate_keys_name_the_first() -> None:
    assert only("a: 1\nb: 2\na: 3") == "m.yaml:3:1: a: stands twice, first in line 1"
    assert "spec.x: stands twice" in only("spec:\n  x: 1\n  'x': 2")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[" * 50_000, "is nested deeper than 64"),
        ("{a: " * 5_000, "is nested deeper than 64"),
        ("- " * 10_000, "is nested deeper than 64"),
        ("a: &a\n  b: *a", "the alias *a stands for a value it is part of"),
        ("a: *b", "the alias *b is not defined above in this document"),
        ("a: &a 1\n---\nb: *a", "the alias *a is not defined above in this document"),
        ("a: &a 1\nb: [" + "*a, " * 101 + "]", "has more than 100 aliases"),
        ("? " + "k" * 5000 + "\n: 1", "a key has at most 4096 characters"),
        ("[1]: 2", "a key is a word"),
        ("? \n: 2", "a key is a word"),
        ("a: [" + "1," * 200_000 + "1]", "has more than 200000 values"),
        ("x" * (4 * 1024 * 1024 + 1), "is 4194305 bytes; a manifest has at most 4194304"),
    ],
)
def test_limits(text: str, expected: str) -> None:
    assert expected in only(text)


def test_aliases_multiply_only_within_the_limits() -> None:
    lines = ["a0: &a0 [" + ", ".join(["x"] * 10) + "]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 9) + "]" for n in range(1, 9)]
    assert "has more than" in only("\n".join(lines))


@pytest.mark.parametrize("levels", [5, 24])
def test_merges_multiply_only_within_the_limits(levels: int) -> None:
    lines = ["m0: &m0 {k: 1}"]
    lines += [f"m{n}: &m{n} {{<<: [*m{n - 1}, *m{n - 1}], k{n}: 1}}" for n in range(1, levels + 1)]
    tracemalloc.start()
    began = time.process_time()
    message = only("\n".join(lines))
    assert time.process_time() - began < 1
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()
    assert "<< merges at most 8 maps at once and 4 within each other" in message


def test_what_a_merge_brings_gives_way() -> None:
    documents, problems = parse("m.yaml", "base: &b {x: 1, y: 1}\nown: {<<: *b, x: 2}")
    assert problems == []
    assert isinstance(documents[0], MapNode)
    own = documents[0].get("own")
    assert isinstance(own, MapNode)
    assert {key: entry.node.value for key, entry in own.entries.items() if isinstance(entry.node, Scalar)} == {
        "x": 2,
        "y": 1,
    }


def test_many_documents_and_problems_are_bounded() -> None:
    documents, problems = parse("m.yaml", "---\na: 1\n" * 100_000)
    assert len(documents) < 100_000
    assert ["has more than 200000 values" in problem.message for problem in problems] == [True]
    _, problems = parse("m.yaml", "a: !x 1\nb: !x 1\n---\n" * 1000)
    assert len(problems) == parser.MAX_PROBLEMS + 1


def test_empty_documents_are_none() -> None:
    assert parse("m.yaml", "---\n---\n# nothing\n---\n~\n...\n") == ([], [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: b: c", "a ': ' cannot stand here; quote the text, or begin a new line with the right indentation"),
        ('a: "x', "the file ends inside a quoted text"),
        ("a:\n\tb: 1", "a tab cannot indent; use spaces"),
        ("a: @x", "a text that begins with @ has to be quoted"),
        ("a: [1, 2", "a ',' or the closing ']' is missing"),
        ("a: {b: ${C}}", "inside [ ] and { } a text with ${…} has to be quoted"),
        ("a:\n - 1\n b: 2", "a '- ' was expected here; check the indentation"),
    ],
)
def test_syntax_errors_help(text: str, expected: str) -> None:
    assert expected in only(text)


def test_a_half_written_file_never_loads_whole() -> None:
    text = '{"apiVersion": "lading/v1", "kind": "Config", "metadata": {"name": "x"}, "spec": {"data": {"a": "b"}}}'
    for length in range(1, len(text)):
        _, problems = parse("m.json", text[:length])
        assert problems


def test_lists_remember_where_their_items_stand() -> None:
    documents, _ = parse("m.yaml", "- 1\n-   b")
    assert isinstance(documents[0], ListNode)
    assert [str(item.position) for item in documents[0].items] == ["m.yaml:1:3", "m.yaml:2:5"]
