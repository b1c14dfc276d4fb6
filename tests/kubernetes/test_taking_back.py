"""What was changed by us is taken back out of an object that somebody else has changed since."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.kubernetes.taking_back import Entangled, take_back


def template(image: str = "web:1", **annotations: str) -> dict[str, Any]:
    containers = [{"name": "proxy", "image": "proxy:1"}, {"name": "app", "image": image}]
    metadata: dict[str, Any] = {"labels": {"app": "web"}} | ({"annotations": annotations} if annotations else {})
    return {"metadata": metadata, "spec": {"containers": containers}}


def test_a_restart_by_somebody_else_stays_and_the_new_version_goes() -> None:
    assert take_back(template(), template("web:2"), template("web:2", restarted="now")) == template(restarted="now")


def test_the_second_restart_of_two_stays() -> None:
    """The new version has taken the first one's annotation out of the template."""
    found, live = template(restarted="yesterday"), template("web:2", restarted="now")
    assert take_back(found, template("web:2"), live) == template(restarted="now")


def test_what_is_taken_back_already_stays_so() -> None:
    assert take_back(template(), template("web:2"), template(restarted="now")) == template(restarted="now")


def test_what_we_have_added_goes_and_what_we_have_removed_comes_back() -> None:
    found, made = {"a": 1, "b": {"x": 1}}, {"b": {"x": 1, "y": 2}, "c": 3}
    assert take_back(found, made, {**made, "theirs": 4}) == {**found, "theirs": 4}


def test_another_sidecar_by_somebody_else_changes_a_list_that_we_have_changed() -> None:
    live = template("web:2")
    live["spec"]["containers"].append({"name": "agent", "image": "agent:1"})
    with pytest.raises(Entangled, match=r"spec\.containers"):
        take_back(template(), template("web:2"), live)


def test_an_image_of_somebody_elses_is_not_ours_to_take_back() -> None:
    with pytest.raises(Entangled, match=r"spec.containers\[1\].image"):
        take_back(template(), template("web:2"), template("web:9"))


VALUES = st.recursive(st.integers(0, 3), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=6)
OBJECTS = st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3)


@given(OBJECTS, OBJECTS)
def test_without_anybody_else_all_is_as_it_was_found(found: dict[str, Any], made: dict[str, Any]) -> None:
    assert take_back(found, made, made) == found


@given(OBJECTS, OBJECTS)
def test_without_a_change_of_ours_all_stays(found: dict[str, Any], live: dict[str, Any]) -> None:
    assert take_back(found, found, live) == live
