"""Small parts that much depends on: selectors inside of objects, ages, paths into objects, what a slow watch meets."""

from __future__ import annotations

from datetime import timedelta

import pytest

from adapters.embedded import watching
from adapters.embedded.errors import BadRequest
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.json_paths import find_by_path, set_by_path
from adapters.embedded.options import read_options
from adapters.embedded.representations import Form, Presenter
from adapters.embedded.resources import CONFIG_MAPS
from adapters.embedded.routes import Target, Verb
from adapters.embedded.selectors import label_selector_of, parse_label_selector, tell_label_selector
from adapters.embedded.table_columns import tell_duration
from adapters.embedded.watching import Watch, WatchHub
from tests.embedded.api_stand import config_map, new_storage


@pytest.mark.parametrize(
    ("selector", "labels", "matches"),
    [
        ({}, {"app": "web"}, True),
        (None, {"app": "web"}, False),
        ({"matchLabels": {"app": "web"}}, {"app": "web", "x": "y"}, True),
        ({"matchLabels": {"app": "web"}}, {"app": "shop"}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}]}, {"app": "b"}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["a"]}]}, {}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, {}, False),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, {}, True),
    ],
)
def test_a_selector_object_chooses(selector: JsonObject | None, labels: dict[str, str], matches: bool) -> None:
    assert label_selector_of(selector)(labels) is matches


def test_a_selector_object_with_an_unknown_operator_is_refused() -> None:
    with pytest.raises(BadRequest, match="is not a valid label selector operator"):
        label_selector_of({"matchExpressions": [{"key": "a", "operator": "Near"}]})


def test_a_selector_object_is_told_as_text_that_chooses_the_same() -> None:
    selector = {
        "matchLabels": {"app": "web"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["b", "a"]},
            {"key": "old", "operator": "DoesNotExist"},
            {"key": "zone", "operator": "Exists"},
        ],
    }
    told = tell_label_selector(selector)
    assert told == "app=web,tier in (a,b),!old,zone"
    for labels in ({"app": "web", "tier": "a", "zone": ""}, {"app": "web", "tier": "c", "zone": ""}, {"old": "1"}):
        assert parse_label_selector(told)(labels) is label_selector_of(selector)(labels)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (3600, "60m"),
        (3 * 3600 + 60, "3h1m"),
        (30 * 3600, "30h"),
        (3 * 86400, "3d"),
        (100 * 86400, "100d"),
        (800 * 86400, "2y70d"),
        (-5, "<invalid>"),
    ],
)
def test_an_age_is_told_as_kubectl_tells_it(seconds: int, told: str) -> None:
    assert tell_duration(timedelta(seconds=seconds)) == told


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.replicas", [3]),
        (".spec.missing", []),
        (".status.conditions[0].type", ["Ready"]),
        (".status.conditions[*].type", ["Ready", "Synced"]),
        ('.status.conditions[?(@.type=="Synced")].status', ["False"]),
        (r".metadata.annotations.shop\.example/note", []),
        (".metadata.annotations['note']", ["x"]),
        ("spec..replicas", []),
    ],
)
def test_a_path_leads_into_an_object(path: str, found: list[object]) -> None:
    obj = {
        "metadata": {"annotations": {"note": "x"}},
        "spec": {"replicas": 3},
        "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Synced", "status": "False"}]},
    }
    assert find_by_path(obj, path) == found


def test_a_path_is_made_where_there_is_none() -> None:
    obj: JsonObject = {"spec": None}
    set_by_path(obj, ".spec.template.replicas", 2)
    assert obj == {"spec": {"template": {"replicas": 2}}}


def test_a_watch_that_is_read_too_slowly_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "MOST_PENDING_LINES", 3)
    storage = new_storage()
    hub = WatchHub(storage)
    presenter = Presenter(CONFIG_MAPS, Form.PLAIN, tuple, lambda: storage.now)
    watch = Watch(Target(Verb.WATCH, CONFIG_MAPS, "default", "", ""), presenter, None, "slow/1")
    hub.open(watch, read_options({"resourceVersion": str(storage.resource_version)}, watch=True))
    for number in range(6):
        storage.create(CONFIG_MAPS, config_map(f"c{number}"))
    assert watch.ended
    assert watch.take().count(b"\n") == 4
