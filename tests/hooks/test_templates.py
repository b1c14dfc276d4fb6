"""Templates of webhooks and queries: what their variables mean, and what is said of those that mean nothing."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from yarl import URL

from adapters.hooks.templates import (
    TemplateError,
    escape_json,
    render,
    render_address,
    render_query,
    rollout_variables,
    window_variables,
)
from engine.model import Analysis, Snapshot, State
from tests.builders import error_rate, rollout_spec, target_plan
from tests.clocks import START

STANDING = Snapshot(State.ANALYSING, START, facts={"web.canary_name": "web-7f9c"})


def test_what_is_known_of_a_rollout() -> None:
    plan = replace(target_plan(), context={"region": "eu", "owner": "ada"})
    variables = rollout_variables(rollout_spec(plan), STANDING, {"owner": "grace"})
    assert variables == {
        "armory.applicationName": "shop",
        "armory.deploymentId": "r1",
        "armory.environmentName": "production",
        "armory.accountName": "embedded",
        "armory.namespace": "shop",
        "armory.replicaSetName": "web-7f9c",
        "context.region": "eu",
        "context.owner": "grace",
    }


def test_what_is_known_of_a_window() -> None:
    start = datetime(2026, 1, 5, 4, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=1)))
    variables = window_variables(start, start + timedelta(seconds=90), 90)
    assert variables == {
        "armory.startTimeIso8601": "2026-01-05T03:00:00.250Z",
        "armory.startTimeEpochSeconds": "1767582000",
        "armory.startTimeEpochMillis": "1767582000250",
        "armory.endTimeIso8601": "2026-01-05T03:01:30.250Z",
        "armory.endTimeEpochSeconds": "1767582090",
        "armory.endTimeEpochMillis": "1767582090250",
        "armory.intervalSeconds": "90",
        "armory.intervalMillis": "90000",
        "armory.promQlStepInterval": "90s",
    }


@pytest.mark.parametrize(
    ("seconds", "written"), [(1.5, ("1.5", "1500", "1500ms")), (7_200_000, ("7200000", "7200000000", "7200000s"))]
)
def test_intervals_are_never_written_with_an_exponent(seconds: float, written: tuple[str, str, str]) -> None:
    variables = window_variables(START, START, seconds)
    names = ("intervalSeconds", "intervalMillis", "promQlStepInterval")
    assert tuple(variables[f"armory.{name}"] for name in names) == written


def test_a_query_is_rendered_with_its_window_and_its_own_context() -> None:
    step = error_rate()
    assert isinstance(step, Analysis)
    step = replace(step, interval_seconds=60, context={"job": "web"})
    template = 'rate(errors{job="{{context.job}}",rs="{{ armory.replicaSetName }}"}[{{armory.promQlStepInterval}}])'
    text = render_query(template, rollout_spec(target_plan()), STANDING, step, START, START)
    assert text == 'rate(errors{job="web",rs="web-7f9c"}[60s])'


def test_braces_around_anything_but_a_name_are_text() -> None:
    text = '{"a": {"b": 1}} {{}} {{ }} {{#if x}} {{a b}} {{.Values}} {{"x"}} {{armory.namespace}'
    assert render(text, {}) == text


def test_three_braces_insert_a_value_as_it_is() -> None:
    value = 'say "hi"\n'
    assert render('{"t": "{{context.t}}"}', {"context.t": value}, escape=escape_json) == '{"t": "say \\"hi\\"\\n"}'
    assert render("{{{context.t}}}", {"context.t": value}, escape=escape_json) == value


def test_braces_of_json_beside_braces_of_a_variable() -> None:
    assert render('{"a":{"n":{{context.n}}}}', {"context.n": "5"}) == '{"a":{"n":5}}'


def test_a_value_brings_in_no_variables_of_its_own() -> None:
    assert render("{{context.a}}", {"context.a": "{{context.b}}", "context.b": "x"}) == "{{context.b}}"


@pytest.mark.parametrize(
    ("template", "sentence"),
    [
        (
            "{{armory.applicationname}}",
            "{{armory.applicationname}} has no value here; did you mean {{armory.applicationName}}?",
        ),
        ("{{applicationName}}", "did you mean {{armory.applicationName}}?"),
        ("{{context.regoin}}", "did you mean {{context.region}}?"),
        ("{{context.zzzzzz}}", 'add "zzzzzz" to "context", or give it with --context'),
        ("{{secrets.hook}}", 'add "hook" to "secrets" in the daemon\'s settings'),
        ("{{armory.replicaSetName}}", "there is no ReplicaSet of the new version yet"),
        ("{{q}}", "known here: armory.accountName"),
    ],
)
def test_an_unknown_variable_is_an_error_that_names_the_nearest(template: str, sentence: str) -> None:
    plan = replace(target_plan(), context={"region": "eu"})
    variables = rollout_variables(rollout_spec(plan), replace(STANDING, facts={}), {})
    with pytest.raises(TemplateError) as caught:
        render(template, variables)
    assert sentence in str(caught.value)


@given(st.text())
def test_any_value_stays_within_its_quotes(value: str) -> None:
    body = render('{"t": "{{context.t}}"}', {"context.t": value}, escape=escape_json)
    assert json.loads(body.encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass")) == {"t": value}


# --- addresses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "value", "address"),
    [
        ("https://ci/{{context.a}}/run", "a b?c#d&e=%2e", "https://ci/a%20b%3Fc%23d%26e%3D%252e/run"),
        ("https://ci/{{context.a}}", "T0/B0/key", "https://ci/T0/B0/key"),
        ("https://ci/run?for={{context.a}}", "x&admin=1#/..", "https://ci/run?for=x%26admin%3D1%23%2F.."),
        ("https://{{context.a}}.svc:80/run", "west-1", "https://west-1.svc:80/run"),
        ("https://{{context.a}}/run", "[::1]:80", "https://[::1]:80/run"),
        ("{{context.a}}/run", "https://ci:8080/base?x=", "https://ci:8080/base?x=/run"),
        ("{{context.a}}", "https://ci/?a=b", "https://ci/?a=b"),
        ("https://ci/{{{context.a}}}", "a?b=c", "https://ci/a?b=c"),
        ("https://ci/{{context.a}}", "{{secrets.key}}", "https://ci/%7B%7Bsecrets.key%7D%7D"),
    ],
)
def test_what_stands_in_an_address_stays_in_its_part(template: str, value: str, address: str) -> None:
    """A name of a branch that a pipeline hands over is somebody else's text."""
    assert render_address(template, {"context.a": value, "secrets.key": "sesame"}) == address


@pytest.mark.parametrize(
    ("template", "value", "sentence"),
    [
        ("https://ci/hooks/{{context.a}}", "../admin", "has a segment that leads up"),
        ("https://ci/hooks/{{context.a}}/x", "..", "has a segment that leads up"),
        ("https://ci/hooks/{{context.a}}/x", "a/./b", "has a segment that leads up"),
        ("https://{{context.a}}.svc/", "evil.example/", "cannot be a part of one"),
        ("https://{{context.a}}.svc/", "user@evil.example#", "cannot be a part of one"),
        ("https://ci.{{context.a}}/", "a\r\nHost: evil", "cannot be a part of one"),
        ("https://ci/{{context.b}}", "", "{{context.b}} has no value here"),
    ],
)
def test_what_would_lead_elsewhere_is_refused_without_showing_it(template: str, value: str, sentence: str) -> None:
    with pytest.raises(TemplateError) as caught:
        render_address(template, {"context.a": value})
    assert sentence in str(caught.value)
    assert not value or value not in str(caught.value)


@given(st.text())
def test_no_value_leaves_its_place_in_a_path(value: str) -> None:
    try:
        url = URL(render_address("https://ci.example/hooks/{{context.a}}/run", {"context.a": value}))
    except TemplateError:
        return
    assert (url.host, url.query_string, url.fragment) == ("ci.example", "", "")
    assert url.path.startswith("/hooks/")
    assert url.path.endswith("/run")
