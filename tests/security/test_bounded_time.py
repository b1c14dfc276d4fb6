"""Texts that are made to take long. Whoever sends one must not hold up the rollouts of everybody else: a regular expression of
Python keeps the whole process from doing anything until it has its answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from adapters.hooks.templates import TemplateError, render, variables_in
from adapters.metrics.newrelic import has_range
from adapters.metrics.placeholders import TemplateInvalid, check_address, check_body
from adapters.routers.istio_matches import joined
from adapters.routers.request_values import Unjoinable, can_tell
from adapters.settings_reader import SettingsInvalid, parse_settings
from engine.traffic import MatchKind, NamedMatch, RequestMatch, ValueMatch
from strategies.deployfile import LoadedFile, Problems, SourceText, compile_release, parse_deploy_text
from strategies.manifest_objects import LIMITS as MANIFEST_LIMITS
from tests.http.stage import MANIFEST, deploy_text

LONG = 200_000
"""Long enough for the square of it to take minutes."""
MOST_SECONDS = 10.0


@contextmanager
def quickly() -> Iterator[None]:
    """Of the processor's time, so that a busy machine is no failure."""
    began = time.process_time()
    yield
    assert time.process_time() - began < MOST_SECONDS


def read(text: str, manifest: str = MANIFEST) -> LoadedFile:
    return parse_deploy_text(text, "deploy.yaml", lambda path: [SourceText(path, manifest)])


# --- templates and expressions -----------------------------------------------------------------------------------------

TEMPLATES = (
    "{{" + "a" * LONG,
    "{{a." + "a.-" * LONG,
    "{{" + " " * LONG,
    "{{ " * LONG,
    "{" * LONG,
    "{{{a" * LONG,
    "{{a }" * LONG,
)


@pytest.mark.parametrize("template", TEMPLATES, ids=range(len(TEMPLATES)))
def test_templates_that_never_end(template: str) -> None:
    file = deploy_text("runWebhook: {name: smoke}", url=f"'http://hook/{template}'")
    with quickly():
        compile_release(read(file))
    with quickly():
        variables_in(template)
    with quickly(), pytest.raises((TemplateInvalid, TemplateError)):
        render(template + "{{x}}", {})
        check_address(f"http://host/{template}{{{{x}}}}")
    with quickly(), pytest.raises(TemplateInvalid):
        check_body([template, "{{x}}"])


@pytest.mark.parametrize("begun", ("'\\", "/*a", "`", '"\\', "'", "--", "//", "/*"))
def test_queries_whose_quotes_are_never_closed(begun: str) -> None:
    with quickly():
        has_range("SELECT " + begun * LONG)


BACKTRACKING = ("(a+)+b", "(a|a)*b", "(a*)*b", "a*a*a*a*a*a*b", "(.*)(.*)(.*)(.*)(.*)b", "(a?)(a?)" * 20 + "b", ")(")


@pytest.mark.parametrize("pattern", BACKTRACKING)
def test_a_pattern_that_may_take_for_ever_is_not_tried(pattern: str) -> None:
    """The user's own route and the step's match are both read from files of the same person."""
    assert not can_tell(pattern, "a" * 60)
    theirs = [{"headers": {"x": {"regex": pattern}}}]
    ours = [RequestMatch(headers=(NamedMatch("x", ValueMatch(MatchKind.EXACT, "a" * 60)),))]
    with quickly(), pytest.raises(Unjoinable):
        joined(theirs, ours)


def test_patterns_that_people_write_are_tried() -> None:
    for pattern in ("v[0-9]+", "(eu|us)-.*", "/shop/.*\\.html?", ".*-canary-.*"):
        assert can_tell(pattern, "eu-canary-1")
    assert not can_tell("a.*", "a" * 300), "a longer text takes longer"


# --- YAML --------------------------------------------------------------------------------------------------------------


def laughter(levels: int) -> str:
    lines = ["a0: &a0 [lol]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, levels)]
    return "\n".join(lines) + "\n"


def merged(times: int) -> str:
    return "a: &a {" + ",".join(f"k{i}: 1" for i in range(1000)) + "}\n" + "".join(f"b{i}: {{<<: *a}}\n" for i in range(times))


BOMBS = {
    "aliases in aliases": laughter(12),
    "an alias many times": "a: &a {" + ",".join(f"k{i}: 1" for i in range(1000)) + "}\nb: [" + ",".join(["*a"] * 10_000) + "]\n",
    "merge keys": merged(10_000),
    "merge keys of merge keys": "a0: &a0 {k: 1}\n" + "".join(f"a{i}: &a{i} {{<<: *a{i - 1}, k{i}: 1}}\n" for i in range(1, 3000)),
    "an alias of itself": "a: &a [*a]\n",
    "brackets": "a: " + "[" * LONG,
    "braces": "a: " + "{a: " * LONG,
    "nested lists": "- " * LONG + "a\n",
    "nested mappings": "".join(f"{' ' * depth}a:\n" for depth in range(1_400)),
    "one key again and again": "a: 1\n" * LONG,
    "documents": "---\na\n" * LONG,
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_small_files_that_want_to_be_large(bomb: str) -> None:
    """Refused at a place in the file, quickly, wherever they come from."""
    with quickly():
        refused = read(bomb)
    assert refused.problems.errors
    assert all(problem.line >= 1 and problem.column >= 1 for problem in refused.problems.errors)
    with quickly(), pytest.raises(SettingsInvalid):
        parse_settings(bomb.encode(), "headgate.yaml")
    with quickly():
        refused = read(deploy_text("pause: {untilApproved: true}"), bomb)
    assert any(problem.path == "web.yaml" for problem in refused.problems.errors)


@pytest.mark.parametrize("huge", ("9" * LONG, "0x" + "f" * LONG, "1" * LONG + "." + "1" * LONG, "1e" + "9" * LONG, "1_" * LONG))
def test_numbers_that_take_long_to_read(huge: str) -> None:
    with quickly():
        read(deploy_text("pause: {untilApproved: true}") + f"context: {{a: {huge}}}\n")
    with quickly():
        read(deploy_text("pause: {untilApproved: true}"), MANIFEST.replace("replicas: 3", f"replicas: {huge}"))


@pytest.mark.parametrize("anchored", ["x" * 100_000, f"{{{'x' * 1_000}: y, {'z' * 1_000}: y}}"], ids=["text", "keys"])
def test_one_long_text_that_is_named_again_and_again(anchored: str) -> None:
    """Few values, and gigabytes as soon as they are written out."""
    named = "".join(f"  k{number}: *a\n" for number in range(10_000))
    settings = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata:\n  k: &a {anchored}\n{named}"
    with quickly():
        refused = read(deploy_text("pause: {untilApproved: true}"), MANIFEST + "---\n" + settings)
    [problem] = [one for one in refused.problems.errors if one.path == "web.yaml"]
    assert problem.message == "more than 16 MiB of text up to here, with aliases expanded; make it smaller"
    assert problem.line > 150


@pytest.mark.parametrize(("objects", "size"), [(2_000, 10), (1, 1_000_000)])
def test_many_targets_times_many_manifests(objects: int, size: int) -> None:
    """Each target holds its manifests whole, so that two short lists make a long one."""
    settings = f"kind: ConfigMap\napiVersion: v1\ndata: {{a: {'x' * size}}}\n"
    manifests = "".join(f"---\n{settings}metadata: {{name: c{number}}}\n" for number in range(objects))
    file = deploy_text("pause: {untilApproved: true}", targets=[f"t{number}" for number in range(200)])
    with quickly():
        refused = compile_release(read(file, MANIFEST + manifests))
    assert isinstance(refused, Problems)
    [problem] = refused.errors
    assert (problem.path, problem.line) == ("deploy.yaml", 5)
    assert "the objects of all targets together are more than 100,000, or than 128 MiB" in problem.message


def test_a_file_that_is_too_large_is_not_read_at_all() -> None:
    with quickly():
        refused = read(deploy_text("pause: {untilApproved: true}"), "#" * (MANIFEST_LIMITS.bytes + 1))
    assert any("larger than 4 MiB" in problem.message for problem in refused.problems.errors)
