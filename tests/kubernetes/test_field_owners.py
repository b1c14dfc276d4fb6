"""Giving fields back: nobody loses what was theirs before us, nor what they have written since."""

from __future__ import annotations

from adapters.kubernetes.field_owners import owners_without_us
from adapters.kubernetes.templates import JsonObject, returned_fields


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


# --- of an object that is put back whole ------------------------------------------------------------------------------


def body(*entries: JsonObject) -> JsonObject:
    return {"metadata": {"managedFields": list(entries)}}


def test_what_a_release_before_has_applied_is_its_own_again() -> None:
    ours = entry("headgate", "http", "hosts", operation="Apply", time="1")
    live = body(entry("headgate", "hosts", operation="Apply", time="2"), entry("headgate", "http"))
    assert returned_fields(live, body(ours)) == [ours]
    assert returned_fields(body(entry("headgate", "http", "hosts")), body(ours)) == [ours]


def test_what_only_this_rollout_has_applied_is_nobodys() -> None:
    live = body(entry("headgate", "http", operation="Apply"), entry("kubectl", "hosts"))
    assert returned_fields(live, body(entry("kubectl", "http", "hosts"))) == [entry("kubectl", "http", "hosts")]
    assert returned_fields(body(entry("headgate", "http", operation="Apply")), body()) == []


def test_an_edit_of_a_rollout_before_is_as_it_was() -> None:
    live = body(entry("headgate", "http", "hosts", time="2"))
    assert returned_fields(live, body(entry("headgate", "http", time="1"))) == [entry("headgate", "http", time="1")]


def test_what_others_have_written_since_stays_theirs() -> None:
    before = body(entry("headgate", "replicas", operation="Apply"), entry("kubectl", "http"))
    live = body(entry("headgate", "replicas"), entry("kubectl", "hosts"), entry("scaler", "replicas", subresource="scale"))
    owners = [entry("kubectl", "hosts", "http"), entry("scaler", "replicas", subresource="scale")]
    assert returned_fields(live, before) == [*owners, entry("headgate", "replicas", operation="Apply")]


def test_what_controllers_report_goes_on_and_does_not_come_back() -> None:
    before = body(entry("controller", "http", subresource="status"), entry("another", "http", subresource="status"))
    live = body(entry("controller", "hosts", subresource="status"))
    assert returned_fields(live, before) == [entry("controller", "hosts", subresource="status")]
