"""Whatever valid Rollout or Canary comes, what it becomes passes `headgate validate`, and no field is lost in silence;
whatever else comes is refused with places, and never ends in an exception."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from strategies.importing.go_durations import DurationError, read_seconds
from strategies.importing.importing import Imported, ImportOptions, import_text
from strategies.importing.origins import Origin
from strategies.importing.writing import write, write_documents
from strategies.yaml_document import Limits, compose, to_plain
from strategies.yaml_scalars import Dialect
from tests.strategies.importing_stage import (
    as_text,
    canary,
    deployment,
    import_whole,
    prometheus,
    rollout,
    service,
    template,
)

quick = settings(max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])

NAMES = st.sampled_from(["web", "web-canary", "web-stable", "a", "x" * 63, "web-stable-rollout"])
DURATIONS = st.one_of(
    st.integers(0, 10**9), st.sampled_from(["1s", "90s", "10m", "1h30m", "500ms", "100000h", "45", "1.5h", "0s"])
)
COUNTS = st.one_of(st.integers(1, 20_000), st.sampled_from(["3", "{{args.count}}"]))
CONDITIONS = st.sampled_from(
    ["result[0] >= 0.95", "result < 1", "result.x == 1", "all(result, # < 2)", "isNaN(result) || result > 2", "???"]
)
SMALL = st.recursive(
    st.one_of(st.booleans(), st.integers(-5, 5), st.text(string.ascii_letters + " :#'\"\n{}", max_size=12)),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, max_size=2),
    max_leaves=4,
)
QUERIES = st.text(string.printable, min_size=1, max_size=60).map(lambda text: text + "{{args.host}}").filter(str.strip)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any choice of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


METRICS = st.builds(
    lambda metric, provider, query: {**metric, "provider": {provider: {"query": query}}},
    st.fixed_dictionaries(
        {"name": st.sampled_from(["errors", "latency", "smoke"])},
        optional={
            "interval": DURATIONS,
            "initialDelay": DURATIONS,
            "count": COUNTS,
            "failureLimit": st.integers(-1, 5),
            "successCondition": CONDITIONS,
            "failureCondition": CONDITIONS,
            "inconclusiveLimit": st.integers(0, 3),
        },
    ),
    st.sampled_from(["prometheus", "datadog", "newRelic", "web", "job"]),
    QUERIES,
)
ARGUMENTS = st.lists(
    st.one_of(
        st.builds(lambda value: {"name": "host", "value": value}, st.sampled_from(["3", "a b", "{{x}}"])),
        st.just({"name": "count", "value": "3"}),
        st.just({"name": "host", "valueFrom": {"podTemplateHashValue": "Latest"}}),
        st.just({"name": "host", "valueFrom": {"fieldRef": {"fieldPath": "spec.none"}}}),
    ),
    max_size=2,
)
ANALYSES = st.builds(
    lambda names, arguments: {"templates": [{"templateName": name} for name in names], "args": arguments},
    st.lists(st.sampled_from(["checks", "more", "absent"]), max_size=3),
    ARGUMENTS,
)
NAMED = st.sampled_from(["x", "X", "cookie"])
ASKED: st.SearchStrategy[Any] = st.one_of(
    st.dictionaries(st.sampled_from(["exact", "prefix", "regex", "suffix"]), st.sampled_from(["a", "(?=x)", "", "a(", "/"])),
    st.just("text"),
)
HEADER_MATCHES = st.lists(
    st.builds(lambda name, value: {"headerName": name, "headerValue": value}, st.sampled_from(["x", "a b", "Cookie"]), ASKED),
    max_size=2,
)
MIRROR_MATCHES = st.lists(some(path=ASKED, method=ASKED, headers=st.dictionaries(st.just("x"), ASKED)), max_size=2)
SINGLING_OUT = st.one_of(
    st.builds(lambda route: {"setHeaderRoute": route}, some(name=st.sampled_from(["a", "b", ""]), match=HEADER_MATCHES)),
    st.builds(lambda mirror: {"setMirrorRoute": mirror}, some(name=NAMES, match=MIRROR_MATCHES, percentage=st.integers(-1, 101))),
    st.just({"setMirrorRoute": {"name": "m"}}),
)
STEPS = st.lists(
    st.one_of(
        st.builds(lambda weight: {"setWeight": weight}, st.integers(0, 100)),
        st.builds(lambda duration: {"pause": {"duration": duration}}, DURATIONS),
        st.just({"pause": {}}),
        st.builds(lambda analysis: {"analysis": analysis}, ANALYSES),
        st.just({"setCanaryScale": {"replicas": 3}}),
        SINGLING_OUT,
        st.builds(lambda body: {"plugin": body}, SMALL),
    ),
    max_size=6,
)
ROUTING = st.one_of(
    st.builds(lambda smi: {"smi": smi}, some(rootService=NAMES, trafficSplitName=st.sampled_from(["web", "a.b", "x" * 80]))),
    st.just({"istio": {"virtualService": {"name": "web", "routes": ["a", "b"]}, "destinationRule": {"name": "web"}}}),
    st.just({"istio": {"virtualService": {"name": "web.other"}, "destinationRule": {"name": "web"}}}),
    st.just({"istio": {"virtualService": {"name": "web"}}}),
    st.just({"nginx": {"stableIngress": "web"}, "maxTrafficWeight": 100}),
)
CANARIES_OF_ARGO = some(
    steps=STEPS,
    canaryService=NAMES,
    stableService=NAMES,
    trafficRouting=ROUTING,
    analysis=ANALYSES,
    maxSurge=st.sampled_from(["25%", 1]),
    scaleDownDelaySeconds=st.integers(0, 10**6),
    novelty=SMALL,
)
BLUE_GREENS = st.builds(
    lambda required, more: {**required, **more},
    st.fixed_dictionaries({"activeService": NAMES}),
    some(
        previewService=NAMES,
        autoPromotionEnabled=st.booleans(),
        autoPromotionSeconds=st.integers(0, 10**6),
        scaleDownDelaySeconds=st.integers(0, 10**6),
        prePromotionAnalysis=ANALYSES,
        postPromotionAnalysis=ANALYSES,
        previewReplicaCount=st.integers(1, 3),
    ),
)
STRATEGIES = st.one_of(
    st.builds(lambda body: {"canary": body}, CANARIES_OF_ARGO), st.builds(lambda body: {"blueGreen": body}, BLUE_GREENS)
)
SPECS = some(
    replicas=st.integers(0, 50),
    progressDeadlineSeconds=st.integers(1, 10**9),
    progressDeadlineAbort=st.booleans(),
    minReadySeconds=st.integers(0, 60),
    paused=st.booleans(),
    novelty=SMALL,
)
SERVICES = st.lists(
    st.builds(
        service,
        NAMES,
        ports=st.sampled_from([[{"port": 80}], [{"port": 8080}]]),
        selector=st.sampled_from([{"app": "web"}, {"app": "x"}]),
        clusterIP=st.sampled_from(["None", "10.0.0.7"]),
    ),
    max_size=3,
    unique_by=lambda one: one["metadata"]["name"],
)
FOLDERS = st.sampled_from([None, "beside", "../elsewhere"])


@quick
@given(STRATEGIES, SPECS, SERVICES, st.lists(METRICS, max_size=3), st.lists(METRICS, max_size=2), st.booleans())
def test_any_rollout_becomes_a_valid_file(
    strategy: dict[str, Any],
    spec: dict[str, Any],
    services: list[dict[str, Any]],
    metrics: list[dict[str, Any]],
    more: list[dict[str, Any]],
    refers: bool,
) -> None:
    subject = rollout(strategy, **spec)
    objects = [subject, template(*metrics, args=[{"name": "host"}]), template(*more, name="more"), *services]
    if refers:
        del subject["spec"]["selector"], subject["spec"]["template"]
        subject["spec"]["workloadRef"] = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        objects.append(deployment())
    text = as_text(*objects)
    made = made_or_not_redirected(Origin.ARGO, text)
    if made is None:
        return
    check_places(made, text)
    check_nothing_is_silent(made, subject)


HOOKS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["gate", "smoke", "load"]),
            "url": st.sampled_from(["https://ci.example.com/a", "http://tester.test/", "http://[", "https://a b"]),
            "type": st.sampled_from(
                ["pre-rollout", "rollout", "post-rollout", "confirm-rollout", "confirm-promotion", "event", "rollback", "x"]
            ),
        },
        optional={
            "timeout": DURATIONS,
            "retries": st.integers(0, 500),
            "metadata": st.dictionaries(st.text("abc", min_size=1), st.text(string.printable, max_size=20), max_size=2),
            "disableTLS": st.booleans(),
        },
    ),
    max_size=4,
)
METRICS_OF_FLAGGER = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["request-success-rate", "request-duration", "own"])},
        optional={
            "interval": st.sampled_from(["30s", "1m"]),
            "thresholdRange": st.sampled_from([{"min": 99}, {"max": 5}, {"min": 1, "max": 1}, {}]),
            "templateRef": st.sampled_from([{"name": "own"}, {"name": "absent", "namespace": "other"}]),
            "templateVariables": st.just({"a": "b"}),
        },
    ),
    max_size=3,
)
ANALYSES_OF_FLAGGER = some(
    interval=st.sampled_from(["5s", "1m", "90s", 30]),
    threshold=st.integers(0, 20),
    stepWeight=st.integers(0, 100),
    maxWeight=st.integers(0, 100),
    stepWeights=st.lists(st.integers(0, 100), max_size=4),
    iterations=st.integers(0, 30_000),
    match=st.one_of(
        st.just([{"headers": {"x": {"exact": "y"}}}]),
        st.lists(some(headers=st.dictionaries(NAMED, ASKED), uri=ASKED, method=ASKED, port=SMALL), max_size=2),
    ),
    metrics=METRICS_OF_FLAGGER,
    webhooks=HOOKS,
    mirror=st.booleans(),
    mirrorWeight=st.integers(-1, 101),
    sessionAffinity=some(cookieName=st.sampled_from(["version", "a b"]), maxAge=st.integers(-1, 10**9), secure=st.booleans()),
    novelty=SMALL,
)
SPECS_OF_FLAGGER = some(
    skipAnalysis=st.booleans(),
    progressDeadlineSeconds=st.integers(1, 10**9),
    metricsServer=st.just("http://prometheus:9090"),
    suspend=st.booleans(),
    revertOnDeletion=st.booleans(),
    novelty=SMALL,
)
SERVICES_OF_FLAGGER = some(
    name=NAMES,
    port=st.integers(1, 65535),
    targetPort=st.sampled_from(["http", 8080]),
    portDiscovery=st.booleans(),
    headless=st.booleans(),
    hosts=st.just(["a.example.com"]),
    apex=st.just({"labels": {"a": "b"}}),
)
PROVIDERS = st.sampled_from([None, "linkerd", "smi:v1alpha2", "istio", "kubernetes", "nginx", "gatewayapi:v1", "novelty"])


@quick
@given(ANALYSES_OF_FLAGGER, PROVIDERS, SPECS_OF_FLAGGER, SERVICES_OF_FLAGGER, SERVICES, st.booleans(), QUERIES)
def test_any_canary_becomes_a_valid_file(
    analysis: dict[str, Any],
    provider: str | None,
    spec: dict[str, Any],
    made_service: dict[str, Any],
    services: list[dict[str, Any]],
    ships: bool,
    query: str,
) -> None:
    own = {
        "apiVersion": "flagger.app/v1beta1",
        "kind": "MetricTemplate",
        "metadata": {"name": "own", "namespace": "shop"},
        "spec": {"provider": {"type": "prometheus", "address": "http://p:9090"}, "query": query + "{{ target }}{{ interval }}"},
    }
    subject = canary(analysis, provider, service=made_service, **spec)
    text = as_text(subject, own, *services, *([deployment()] if ships else []))
    made = made_or_not_redirected(Origin.FLAGGER, text)
    if made is None:
        return
    check_places(made, text)
    check_nothing_is_silent(made, subject)


def made_or_not_redirected(origin: Origin, text: str) -> Imported | None:
    """A Service that cannot be redirected makes no blue/green; that is the only input here that may be refused."""
    found = import_text(origin, text, "input.yaml", ImportOptions())
    if isinstance(found, Imported):
        return import_whole(origin, text)
    assert all("cannot be redirected" in problem.message for problem in found), found
    return None


def check_places(made: Imported, text: str) -> None:
    lines = text.splitlines()
    for remark in made.remarks:
        assert 1 <= remark.line <= len(lines)
        assert 1 <= remark.column <= len(lines[remark.line - 1]) + 1
        assert remark.meaning
        assert remark.instead or remark.kind.value in ("note", "changed")


def check_nothing_is_silent(made: Imported, subject: dict[str, Any]) -> None:
    """A field that no rule knows is always named."""
    fields = {remark.field for remark in made.remarks}
    for name, value in leaves(subject["spec"], "spec"):
        if "novelty" in name and value not in ({}, []):
            assert any(name == field or name.startswith((f"{field}.", f"{field}[")) for field in fields), name


def leaves(value: Any, name: str) -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        return [leaf for key, inner in value.items() for leaf in leaves(inner, f"{name}.{key}")]
    if isinstance(value, list) and value:
        return [leaf for index, inner in enumerate(value) for leaf in leaves(inner, f"{name}[{index}]")]
    return [(name, value)]


# --- anything else -------------------------------------------------------------------------------------------------------

ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 10**30), st.floats(), st.text(max_size=6)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [found for key, one in inner for found in paths(one, (*path, key))]


def whole(origin: Origin) -> list[dict[str, Any]]:
    if origin is Origin.FLAGGER:
        hook = {"name": "a", "type": "rollout", "url": "https://a.example.com", "metadata": {"a": "b"}}
        metric = {"name": "request-duration", "thresholdRange": {"max": 5}, "templateRef": {"name": "x"}}
        analysis = {"interval": "1m", "stepWeights": [5], "metrics": [metric], "webhooks": [hook], "match": []}
        return [canary(analysis, autoscalerRef={"name": "x"}), deployment(), service("web")]
    steps = [{"setWeight": 5}, {"pause": {"duration": 5}}, {"analysis": {"templates": [{"templateName": "checks"}]}}]
    strategy = {"steps": steps, "stableService": "web", "trafficRouting": {"smi": {"rootService": "web"}}}
    return [rollout({"canary": strategy}), template(prometheus(successCondition="result < 1")), service("web")]


@quick
@given(st.data(), st.sampled_from(list(Origin)))
def test_a_file_with_anything_in_it_is_imported_or_refused(data: st.DataObject, origin: Origin) -> None:
    objects = json.loads(json.dumps(whole(origin)))
    where = data.draw(st.sampled_from(paths(objects)))
    owner: Any = objects
    for key in where[:-1]:
        owner = owner[key]
    owner[where[-1]] = data.draw(ANYTHING)
    found = import_text(origin, as_text(*[one for one in objects if isinstance(one, dict)]), "input.yaml", ImportOptions())
    if not isinstance(found, Imported):
        assert found
        assert all(problem.line >= 1 and problem.message.strip() for problem in found)


@quick
@given(st.one_of(st.binary(max_size=60), st.text(max_size=80)), st.sampled_from(list(Origin)))
def test_any_text_is_refused_with_a_place(text: str | bytes, origin: Origin) -> None:
    found = import_text(origin, text, "input.yaml", ImportOptions())
    assert not isinstance(found, Imported)
    assert found


# --- what is written -----------------------------------------------------------------------------------------------------

TEXTS = st.one_of(
    st.text(max_size=30),
    st.text(" \n\t#:-{}[]'\"|>&*!%@`", max_size=12),
    st.sampled_from(
        ["yes", "0o17", "1e3", "0x1F", "~", "null", "12:30", "a: b", "a #b", "- a", "é", "\u2028", "\ud7ff", "😀", "x\n y\n"]
    ),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS.filter(bool), inner, max_size=3),
    max_leaves=8,
)


@quick
@given(st.dictionaries(st.sampled_from(["a", "b c", "d:e"]), VALUES, min_size=1), st.sampled_from(list(Dialect)))
def test_what_is_written_is_read_back_in_either_dialect(value: dict[str, Any], dialect: Dialect) -> None:
    assume("<<" not in json.dumps(value))
    limits = Limits(1 << 20, 10_000)
    composed = compose(write(value), dialect=dialect, limits=limits, single=True)
    assert composed.faults == ()
    assert to_plain(composed.documents[0]) == value
    several = compose(write_documents([value, value]), dialect=dialect, limits=limits, single=False)
    assert [to_plain(one) for one in several.documents] == [value, value]


@pytest.mark.parametrize(
    ("written", "seconds"),
    [(30, 30), ("30", 30), ("90s", 90), ("1h30m", 5400), ("500ms", 0.5), ("1.5h", 5400), ("2m0.5s", 120.5), ("+3s", 3)],
)
def test_durations_of_go(written: object, seconds: float) -> None:
    assert read_seconds(written) == pytest.approx(seconds)


@pytest.mark.parametrize("written", ["", "soon", "5 minutes", "-3s", -3, True, None, 1.5, "1d", "s"])
def test_durations_that_are_none(written: object) -> None:
    with pytest.raises(DurationError, match="expected a duration"):
        read_seconds(written)
