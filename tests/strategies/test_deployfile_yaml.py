"""YAML as deploy files and as manifests are written in it, and text that is hardly YAML at all."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml

from strategies import yaml_document
from strategies.yaml_document import Composed, Limits, MappingNode, Mark, ScalarNode, compose, decode, to_plain
from strategies.yaml_scalars import Dialect, resolve

LIMITS = Limits(bytes=10_000, values=1_000)


def read(text: str, dialect: Dialect = Dialect.DEPLOY_FILE, *, single: bool = True) -> Composed:
    return compose(text, dialect=dialect, limits=LIMITS, single=single)


def plain(text: str, dialect: Dialect = Dialect.DEPLOY_FILE) -> Any:
    composed = read(text, dialect)
    assert composed.faults == ()
    return to_plain(composed.documents[0])


# --- words ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("y", "y"),
        ("~", None),
        ("", None),
        ("null", None),
        ("12", 12),
        ("-7", -7),
        ("+7", 7),
        ("0", 0),
        ("012", "012"),
        ("0o14", "0o14"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("1.50", 1.5),
        ("0.1", 0.1),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1.2.3", "1.2.3"),
        ("2024-01-01", "2024-01-01"),
        ("=", "="),
        ("<<", "<<"),
    ],
)
def test_a_word_of_a_deploy_file(word: str, value: object) -> None:
    found = resolve(word, Dialect.DEPLOY_FILE)

    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("yes", True),
        ("Off", False),
        ("n", False),
        ("0644", 420),
        ("0o644", 420),
        ("0x1F", 31),
        ("0b101", 5),
        ("-0x10", -16),
        ("1_000", 1000),
        ("08", 8),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("100m", "100m"),
        ("1.0", 1),
        ("1.25", 1.25),
        ("1e3", 1000),
        (".5", 0.5),
        ("-", "-"),
        ("_1", "_1"),
        ("18446744073709551615", 18446744073709551615),
    ],
)
def test_a_word_of_a_manifest_means_what_kubectl_makes_of_it(word: str, value: object) -> None:
    found = resolve(word, Dialect.KUBERNETES)

    assert found == value
    assert type(found) is type(value)


def test_numbers_without_end_are_not_numbers_without_end_of_work() -> None:
    assert resolve("9" * 5_000, Dialect.DEPLOY_FILE) == math.inf
    assert isinstance(resolve("0b" + "1" * 5_000, Dialect.KUBERNETES), str)
    assert resolve("1e999", Dialect.KUBERNETES) == math.inf


# --- documents --------------------------------------------------------------------------------------------------------


def test_every_value_knows_its_place_in_characters() -> None:
    composed = read("größe: 'ü'\nlist:\n  - é: x\n")
    root = composed.documents[0]

    assert isinstance(root, MappingNode)
    assert root.entries["größe"].node.mark == Mark(1, 8)
    assert root.entries["list"].key_mark == Mark(2, 1)
    assert to_plain(root) == {"größe": "ü", "list": [{"é": "x"}]}


def test_a_byte_order_mark_is_no_character_of_the_first_key() -> None:
    root = read("\ufeffa: 1").documents[0]

    assert isinstance(root, MappingNode)
    assert root.entries["a"].key_mark == Mark(1, 1)


def test_json_is_read_with_its_tabs_slashes_and_surrogates() -> None:
    text = '{\n\t"a": "b\\/c",\n\t"d": ["\\ud83d\\ude00", "\\\\ud83d\\\\ude00"],\n\t"e": null\n}'

    assert plain(text) == {"a": "b/c", "d": ["😀", "\\ud83d\\ude00"], "e": None}


def test_merge_keys_give_what_a_mapping_does_not_say_itself() -> None:
    text = "base: &base {x: 1, y: 2}\nmore: &more {y: 3, z: 4}\nboth: {<<: [*base, *more], x: 0}\n"

    assert plain(text)["both"] == {"x": 0, "y": 2, "z": 4}


def test_tags_that_say_what_a_value_is() -> None:
    assert plain(
        "a: !!str 5\nb: !!int 5\nc: !!float 5\nd: !!null\ne: !!bool true\nf: !!map {}\ng: !!seq []\nh: ! x"
    ) == {
        "a": "5",
        "b": 5,
        "c": 5,
        "d": None,
        "e": True,
        "f": {},
        "g": [],
        "h": "x",
    }


def test_tags_that_lie() -> None:
    faults = read("a: !!int x\nb: !!bool 5\nc: !!python/object:os.system x\nd: !!set {}").faults

    assert [tuple(fault.mark) for fault in faults] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert faults[2].message.endswith("is read as a tag, and this one is not supported; remove it, or put the value in quotes")


@pytest.mark.parametrize("value", ["*Hunter2x", "!Hunter2x", "!!Hunter2x", "!Hunter2x [1]", "!!int Hunter2x", "!Hunt!er2x"])
@pytest.mark.parametrize("dialect", Dialect)
def test_an_alias_or_a_tag_may_be_a_password_without_quotes(dialect: Dialect, value: str) -> None:
    (fault,) = read(f"password: {value}\n", dialect).faults

    assert tuple(fault.mark) == (1, 11)
    assert "unt" not in fault.message


def test_quoted_words_are_text_in_every_dialect() -> None:
    assert plain("a: 'yes'\nb: \"5\"\nc: |\n  5\n", Dialect.KUBERNETES) == {"a": "yes", "b": "5", "c": "5\n"}


def test_a_faulty_key_does_not_hide_the_faults_after_it() -> None:
    composed = read("a: 1\n? [x]\n: 2\n? {y: z}\n: 3\n<<: 5\na: 4\n'': 6\n")

    assert [fault.mark.line for fault in composed.faults] == [2, 4, 6, 7, 8]
    assert to_plain(composed.documents[0]) == {"a": 1}


def test_documents_before_a_syntax_error_are_kept() -> None:
    composed = read("a: 1\n---\nb: 2\n---\nc: [\n", Dialect.KUBERNETES, single=False)

    assert [to_plain(document) for document in composed.documents] == [{"a": 1}, {"b": 2}]
    assert len(composed.faults) == 1


def test_an_empty_second_document_is_no_second_document() -> None:
    assert plain("a: 1\n---\n# nothing\n") == {"a": 1}


def test_anchors_end_with_their_document() -> None:
    composed = read("a: &x 1\n---\nb: *x\n", Dialect.KUBERNETES, single=False)

    assert composed.faults[0].mark == Mark(3, 4)


def test_an_alias_bomb_is_refused_while_it_is_small() -> None:
    lines = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{name}: &{name} [{', '.join(['*' + before] * 10)}]"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    ]

    faults = read("\n".join(lines)).faults

    assert [fault.message for fault in faults] == [
        "more than 1,000 values up to here, with aliases expanded; make it smaller"
    ]


def test_a_bomb_of_merges_is_refused_too() -> None:
    lines = ["a: &a {" + ", ".join(f"k{number}: x" for number in range(50)) + "}"]
    lines += [f"m{number}: {{<<: *a}}" for number in range(50)]

    assert "aliases expanded" in read("\n".join(lines)).faults[0].message


@pytest.mark.parametrize("parser", ["CSafeLoader", "SafeLoader"])
def test_nesting_has_an_end(monkeypatch: pytest.MonkeyPatch, parser: str) -> None:
    """Whoever notices first: some versions of the C parser have a limit of their own, and read ahead of their events."""
    monkeypatch.setattr(yaml_document, "_PARSER", getattr(yaml, parser))
    for text in ("[" * 9_000, "{" * 2_000, "{a: " * 2_000, "a: " + "[" * 2_000, "- " * 4_000, "? " * 4_000):
        faults = read(text).faults
        assert [fault.message for fault in faults] == ["nested more than 100 levels deep; make it flatter"]


def test_a_text_that_is_too_long_is_not_parsed() -> None:
    assert read("a: " + "ü" * 6_000).faults[0].message == "the file is larger than 9 KiB; split it"


def test_the_byte_that_is_not_utf8_is_named() -> None:
    assert decode("é: 1".encode()) == ("é: 1", None)
    text, fault = decode(b"a: \xc3\xa9\nb: \xc3\xa9\xff")

    assert text == ""
    assert fault is not None
    assert fault.mark == Mark(2, 5)
    assert fault.message == "byte 12 (0xff) is not UTF-8; save the file as UTF-8"


@pytest.mark.parametrize(
    "text",
    [
        "a:\n\tb: 1",
        "a: 'x",
        "a: [1, 2",
        "a: @x",
        "a: b: c",
        "a: 1\n b: 2",
        "a: *x",
        "a: 1\na: 2",
        "\x07",
        "a: %x",
        "? {\n",
    ],
)
def test_the_slower_parser_finds_fault_with_the_same_texts(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML can be installed without libyaml; its own parser complains in other words, but at the same line."""
    expected = read(text).faults[0].mark.line
    monkeypatch.setattr(yaml_document, "_PARSER", yaml.SafeLoader)

    faults = read(text).faults

    assert [fault.mark.line for fault in faults] == [expected]
    assert "\n" not in faults[0].message


def test_literal_blocks_are_known_as_such() -> None:
    root = read("a: |\n  x\nb: >\n  x\n").documents[0]

    assert isinstance(root, MappingNode)
    found = {key: entry.node.literal for key, entry in root.entries.items() if isinstance(entry.node, ScalarNode)}
    assert found == {"a": True, "b": False}
