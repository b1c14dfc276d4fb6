"""Whatever a deploy file holds, reading it ends in a plan or in problems that a person can find, never in an
exception."""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.model import ReleasePlan
from strategies.deployfile import LoadedFile, Problems, SourceText, compile_release, parse_deploy_text

HERE = Path(__file__).parent
SOURCES = [
    path.read_text()
    for path in sorted((HERE / "published").glob("*.*"))
    + sorted((HERE.parent.parent / "config" / "examples").glob("*.yaml"))
]
MANIFEST = (HERE / "published" / "manifests" / "fleet.yaml").read_text()
MANIFESTS = MANIFEST + "---\n" + (HERE / "published" / "manifests" / "fleet-services.yml").read_text()
WORDS = st.sampled_from(
    [
        "",
        " ",
        ":",
        "- ",
        "[",
        "{",
        "}",
        "]",
        "&a ",
        "*a",
        "!x ",
        "'",
        '"',
        "|",
        "\t",
        "#",
        "---\n",
        "<<: ",
        "\n",
        "\0",
        "é",
        "{{",
        "%",
        "1e999",
    ]
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(string.printable, max_size=8),
    st.sampled_from(["seconds", "prod", "gentle", "10%", "web", "\0", "{{armory.x}}", 10**30, -1, 0.001]),
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
FOREIGN = ("input should", "field required", "extra inputs", "validation error", "pydantic", "errors.pydantic")
quick = settings(max_examples=150, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])


def check(text: str | bytes, manifests: str = MANIFESTS) -> LoadedFile:
    loaded = parse_deploy_text(text, "deploy.yaml", lambda path: [SourceText(path, manifests)])
    lines = {"deploy.yaml": loaded.text.count("\n") + loaded.text.count("\r") + 10}
    for problem in (*loaded.problems.errors, *loaded.problems.warnings):
        assert 1 <= problem.line <= lines.get(problem.path, manifests.count("\n") + manifests.count("\r") + 10)
        assert problem.column >= 1
        assert problem.message.strip()
        assert problem.message.isprintable(), problem.message
        assert not any(words in problem.message.lower() for words in FOREIGN), problem.message
    plan = compile_release(loaded, context={"a": "b"})
    assert isinstance(plan, ReleasePlan | Problems)
    assert not (loaded.problems.refused and isinstance(plan, ReleasePlan))
    return loaded


def places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found.extend(places(inner, (*path, key)))
    return found


@quick
@given(data=st.data())
def test_a_value_somewhere_is_another_one(data: st.DataObject) -> None:
    document = yaml.safe_load(data.draw(st.sampled_from(SOURCES)))
    for _ in range(data.draw(st.integers(1, 4))):
        *way, last = data.draw(st.sampled_from(places(document)))
        owner: Any = document
        for part in way:
            owner = owner[part]
        match data.draw(st.sampled_from(["replace", "remove", "rename", "copy"])):
            case "replace":
                owner[last] = data.draw(VALUES)
            case "remove":
                del owner[last]
            case "rename" if isinstance(owner, dict):
                owner[str(last)[:-1] or "x"] = owner.pop(last)
            case "copy" if isinstance(owner, list):
                owner.append(owner[int(last)])
            case _:
                pass
        if not places(document):
            break
    check(json.dumps(document, allow_nan=True).replace("NaN", ".nan").replace("Infinity", ".inf"))


@quick
@given(data=st.data())
def test_a_text_is_torn_and_mended_badly(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(SOURCES))
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 30)))
        text = text[:start] + data.draw(WORDS) + text[end:]
    check(text)


@quick
@given(data=st.data())
def test_manifests_are_torn_and_mended_badly(data: st.DataObject) -> None:
    manifests = MANIFESTS
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(manifests)))
        end = min(len(manifests), start + data.draw(st.integers(0, 30)))
        manifests = manifests[:start] + data.draw(WORDS) + manifests[end:]
    check(data.draw(st.sampled_from(SOURCES)), manifests)


@quick
@given(st.binary(max_size=200))
def test_bytes_at_random(content: bytes) -> None:
    assert check(content).problems.refused


@quick
@given(st.text(max_size=200), st.text(max_size=200))
def test_text_at_random(text: str, manifest: str) -> None:
    assert check(text).problems.refused
    check(SOURCES[0], manifest)


@quick
@given(VALUES, VALUES)
def test_values_at_random(value: Any, manifest: Any) -> None:
    text = json.dumps(value).replace("NaN", ".nan").replace("Infinity", ".inf")
    assert check(text).problems.refused
    check(SOURCES[-1], json.dumps(manifest))
