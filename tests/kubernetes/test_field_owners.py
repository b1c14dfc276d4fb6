"""Giving fields back: nobody loses what was theirs before us, nor what they have written since."""

from __future__ import annotations

from adapters.kubernetes.field_owners import owners_without_us
from adapters.kubernetes.templates import JsonObject


def entry(manager: str, *fields: str, operation: str = "Update", **more: str) -> JsonObject:
    body: JsonObject = {"f:spec": {f"f:{name}": {} for name in fields}}
    return {"manager": manager, "operation": operation, "apiVersion": "example.com/v1", "fieldsV1": body, **more}


def test_a_field_goes_back_to_its_manager_who_keeps_what_came_since() -> None:
    before = [entry("kubectl", "http", "hosts", time="1")]
    now = [entry("kubectl", "hosts", "gateways", time="2"), entry("headgate", "http")]
    assert owners_without_us(now, before) == [entry("kubectl", "hosts", "gateways", "http", time="2")]


def test_a_manager_that_has_written_nothing_since_is_as_it_was() -> None:
    before = [entry("kubectl", "http", "hosts", time="1")]
    assert owners_without_us([entry("kubectl", "hosts", time="1"), entry("headgate", "http")], before) == before


def test_a_manager_whose_only_field_was_taken_is_there_again() -> None:
    before = [entry("kubectl", "hosts"), entry("flux", "http", operation="Apply")]
    assert owners_without_us([entry("kubectl", "hosts"), entry("headgate", "http")], before) == before


def test_what_we_have_applied_stays_ours() -> None:
    before = [entry("headgate", "http", "hosts", operation="Apply")]
    now = [entry("headgate", "hosts", operation="Apply"), entry("headgate", "http")]
    assert owners_without_us(now, before) == before


def test_somebody_new_stays() -> None:
    assert owners_without_us([entry("somebody", "tls"), entry("headgate", "http")], []) == [entry("somebody", "tls")]
