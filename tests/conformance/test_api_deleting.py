"""Deleting: at once or when nothing holds an object any more, what goes along, preconditions, collections and namespaces."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from adapters.embedded.json_objects import JsonObject
from tests.conformance.asking import (
    DISRUPTION_BUDGETS,
    SPLITS,
    STATEFUL_SETS,
    Answer,
    Api,
    Patch,
    about,
    any_uid,
    config_map,
    disruption_budget,
    not_found,
    plain,
    refusal,
    stateful_set,
    traffic_split,
)
from tests.conformance.conftest import Plane
from tests.conformance.stand import CONFIG_MAPS, SERVICES, Stand, replace, service

MAPS = "configmaps"


def done(qualified: str, name: str) -> JsonObject:
    """The answer to a deletion that is over, without the uid that it tells."""
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": about(qualified, name)}


def deleting(**options: Any) -> JsonObject:
    return {"apiVersion": "v1", "kind": "DeleteOptions", **options}


async def test_what_nothing_holds_is_gone_at_once(api: Api) -> None:
    made = (await api.create(CONFIG_MAPS, config_map())).object
    answer = await api.delete(CONFIG_MAPS, "colour", deleting(propagationPolicy="Background"))
    assert (answer.status, plain(answer.body)) == (200, done(MAPS, "colour"))
    assert answer.body["details"]["uid"] == made["metadata"]["uid"]
    assert (await api.get(CONFIG_MAPS, "colour")).body == not_found(MAPS, "colour")
    assert (await api.delete(CONFIG_MAPS, "colour")).body == not_found(MAPS, "colour")


async def test_a_deleted_split_is_told_with_its_group(api: Api) -> None:
    await api.offer_splits()
    await api.create(SPLITS, traffic_split())
    assert plain((await api.delete(SPLITS, "web")).body) == done("trafficsplits.split.smi-spec.io", "web")


async def test_a_deleted_service_comes_back_as_it_was(api: Api) -> None:
    made = (await api.create(SERVICES, service())).object
    answer = await api.delete(SERVICES, "web")
    assert (answer.status, plain(answer.body)) == (200, plain(made))


# --- preconditions -----------------------------------------------------------------------------------------------------------


def unmet(kind: str, name: str, what: str, wanted: str, found: str, more: str, **details: str) -> JsonObject:
    why = f"the {what} in the precondition ({wanted}) does not match the {what} in record ({found}). {more}"
    message = f'Operation cannot be fulfilled on {kind} "{name}": {why}'
    return refusal(409, "Conflict", message, **{"name": name, "kind": kind.partition(".")[0], **details})


async def test_only_the_object_that_was_found_is_deleted(api: Api) -> None:
    """The precondition of every deletion of Headgate's."""
    found = (await api.create(CONFIG_MAPS, config_map())).object["metadata"]["uid"]
    other = any_uid()
    answer = await api.delete(CONFIG_MAPS, "colour", deleting(preconditions={"uid": other}))
    more = "The object might have been deleted and then recreated"
    assert answer.body == unmet("ConfigMap", "colour", "UID", other, found, more)
    assert (await api.delete(CONFIG_MAPS, "colour", deleting(preconditions={"uid": found}))).status == 200


async def test_only_the_version_that_was_seen_is_deleted(api: Api) -> None:
    budgets = DISRUPTION_BUDGETS
    first = (await api.create(budgets, disruption_budget())).object["metadata"]["resourceVersion"]
    second = (await api.merge(budgets, "web", {"spec": {"minAvailable": 2}})).object["metadata"]["resourceVersion"]
    answer = await api.delete(budgets, "web", deleting(preconditions={"resourceVersion": first}))
    more = "The object might have been modified"
    kind = "PodDisruptionBudget.policy"
    assert answer.body == unmet(kind, "web", "ResourceVersion", first, second, more, group="policy")
    assert (await api.delete(budgets, "web", deleting(preconditions={"resourceVersion": second}))).status == 200


@pytest.mark.parametrize(
    ("options", "field", "reason", "told"),
    [
        (
            {"propagationPolicy": "Sideways"},
            "propagationPolicy",
            "FieldValueNotSupported",
            'Unsupported value: "Sideways": supported values: "Foreground", "Background", "Orphan", "nil"',
        ),
        (
            {"propagationPolicy": "Orphan", "orphanDependents": True},
            "propagationPolicy",
            "FieldValueInvalid",
            'Invalid value: "Orphan": orphanDependents and deletionPropagation cannot be both set',
        ),
        ({"dryRun": ["Some"]}, "dryRun", "FieldValueNotSupported", 'Unsupported value: ["Some"]: supported values: "All"'),
    ],
    ids=str,
)
async def test_options_that_make_no_sense_are_refused(
    api: Api, options: JsonObject, field: str, reason: str, told: str
) -> None:
    await api.create(CONFIG_MAPS, config_map())
    answer = await api.delete(CONFIG_MAPS, "colour", deleting(**options))
    causes = [{"reason": reason, "message": told, "field": field}]
    message = f'DeleteOptions.meta.k8s.io "" is invalid: {field}: {told}'
    assert answer.body == refusal(422, "Invalid", message, group="meta.k8s.io", kind="DeleteOptions", causes=causes)


async def test_options_of_another_kind_are_refused(api: Api) -> None:
    await api.create(CONFIG_MAPS, config_map())
    answer = await api.delete(CONFIG_MAPS, "colour", {"apiVersion": "v1", "kind": "ConfigMap"})
    told = 'no kind "ConfigMap" is registered for version "v1" in scheme "pkg/runtime/scheme.go:111"'
    assert answer.body == refusal(400, "BadRequest", told)


# --- finalizers --------------------------------------------------------------------------------------------------------------


async def test_a_finalizer_holds_what_is_deleted_until_it_is_taken_away(api: Api) -> None:
    made = (await api.create(DISRUPTION_BUDGETS, disruption_budget(finalizers=["a/b", "c/d"]))).object
    held = (await api.delete(DISRUPTION_BUDGETS, "web")).object
    assert held["metadata"]["deletionGracePeriodSeconds"] == 0
    assert held["metadata"]["generation"] == made["metadata"]["generation"] + 1
    expected = plain(made)
    expected["metadata"] |= {"deletionGracePeriodSeconds": 0, "generation": 2}
    assert plain(held) == expected
    assert (await api.delete(DISRUPTION_BUDGETS, "web")).object == held, "deleted once, whoever deletes again"
    rest = (await api.merge(DISRUPTION_BUDGETS, "web", {"metadata": {"finalizers": ["a/b"]}})).object
    assert rest["metadata"]["finalizers"] == ["a/b"]
    last = await api.operate(DISRUPTION_BUDGETS, "web", {"op": "remove", "path": "/metadata/finalizers"})
    assert (last.status, "finalizers" in last.object["metadata"]) == (200, False)
    assert (await api.get(DISRUPTION_BUDGETS, "web")).body == not_found("poddisruptionbudgets.policy", "web")


async def test_what_is_being_deleted_can_be_changed_but_not_brought_back(api: Api) -> None:
    await api.create(CONFIG_MAPS, config_map(finalizers=["a/b"]))
    held = (await api.delete(CONFIG_MAPS, "colour")).object
    changed = (await api.merge(CONFIG_MAPS, "colour", {"data": {"is": "blue"}})).object
    assert changed["data"] == {"is": "blue"}
    kept = (await api.merge(CONFIG_MAPS, "colour", {"metadata": {"deletionTimestamp": None}})).object
    assert kept["metadata"]["deletionTimestamp"] == held["metadata"]["deletionTimestamp"]
    again = await api.create(CONFIG_MAPS, config_map())
    message = 'object is being deleted: configmaps "colour" already exists'
    assert again.body == refusal(409, "AlreadyExists", message, name="colour", kind=MAPS)
    more = await api.patch(Patch.MERGE, CONFIG_MAPS, "colour", {"metadata": {"finalizers": ["a/b", "e/f", "c/d"]}})
    found = 'found new finalizers []string{"c/d", "e/f"}'
    told = f"Forbidden: no new finalizers can be added if the object is being deleted, {found}"
    assert more.causes == [("metadata.finalizers", "FieldValueForbidden", told)]


async def test_only_a_deletion_sets_the_time_of_deletion(api: Api) -> None:
    await api.create(CONFIG_MAPS, config_map())
    moment = "2030-01-01T00:00:00Z"
    answer = await api.merge(CONFIG_MAPS, "colour", {"metadata": {"deletionTimestamp": moment}})
    told = f'Invalid value: "{moment}": field is immutable'
    assert answer.causes == [("metadata.deletionTimestamp", "FieldValueInvalid", told)]


async def test_a_finalizer_has_a_prefix_unless_it_is_a_standard_one(api: Api) -> None:
    answer = await api.create(CONFIG_MAPS, config_map(finalizers=["a/b", "mine"]))
    told = 'Invalid value: "mine": name is neither a standard finalizer name nor is it fully qualified'
    assert answer.causes == [("metadata.finalizers[1]", "FieldValueInvalid", told)]


@pytest.mark.parametrize(
    ("policy", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan"), ("Background", "")]
)
async def test_the_propagation_is_a_finalizer_too(api: Api, policy: str, finalizer: str) -> None:
    await api.create(CONFIG_MAPS, config_map(finalizers=["a/b"]))
    held = (await api.delete(CONFIG_MAPS, "colour", deleting(propagationPolicy=policy))).object
    assert held["metadata"]["finalizers"] == ["a/b", *([finalizer] if finalizer else [])]


# --- what belongs to what is deleted -----------------------------------------------------------------------------------------


def belonging(owner: JsonObject, name: str, *, blocks: bool = False, **metadata: Any) -> JsonObject:
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "colour", "uid": owner["metadata"]["uid"]}
    return config_map(name, ownerReferences=[{**reference, **({"blockOwnerDeletion": True} if blocks else {})}], **metadata)


async def test_in_the_background_the_owner_goes_first(api: Api, stand: Stand) -> None:
    owner = (await api.create(CONFIG_MAPS, config_map())).object
    await api.create(CONFIG_MAPS, belonging(owner, "part"))
    await api.delete(CONFIG_MAPS, "colour", deleting(propagationPolicy="Background"))
    assert (await api.get(CONFIG_MAPS, "colour")).status == 404
    await stand.gone(CONFIG_MAPS, "part")


async def test_in_the_foreground_the_owner_waits_for_those_that_block_it(api: Api, stand: Stand) -> None:
    owner = (await api.create(CONFIG_MAPS, config_map())).object
    await api.create(CONFIG_MAPS, belonging(owner, "part", blocks=True, finalizers=["a/b"]))
    answer = await api.delete(CONFIG_MAPS, "colour", deleting(propagationPolicy="Foreground"))
    assert (answer.status, answer.object["metadata"]["finalizers"]) == (200, ["foregroundDeletion"])

    async def part_is_going() -> bool:
        return "deletionTimestamp" in (await api.get(CONFIG_MAPS, "part")).object["metadata"]

    await stand.until(part_is_going, "what belongs to it is deleted first")
    assert (await api.get(CONFIG_MAPS, "colour")).status == 200
    await api.merge(CONFIG_MAPS, "part", {"metadata": {"finalizers": None}})
    await stand.gone(CONFIG_MAPS, "colour")


async def test_orphans_stay_and_belong_to_nobody(api: Api, stand: Stand) -> None:
    owner = (await api.create(CONFIG_MAPS, config_map())).object
    await api.create(CONFIG_MAPS, belonging(owner, "part"))
    answer = await api.delete(CONFIG_MAPS, "colour", deleting(propagationPolicy="Orphan"))
    assert answer.object["metadata"]["finalizers"] == ["orphan"]
    await stand.gone(CONFIG_MAPS, "colour")
    assert "ownerReferences" not in (await api.get(CONFIG_MAPS, "part")).object["metadata"]


async def test_what_belongs_to_nothing_that_is_there_is_removed(api: Api, stand: Stand) -> None:
    await api.create(CONFIG_MAPS, belonging({"metadata": {"uid": any_uid()}}, "part"))
    await stand.gone(CONFIG_MAPS, "part")


# --- collections -------------------------------------------------------------------------------------------------------------


async def test_a_collection_is_deleted_as_far_as_it_is_selected(api: Api) -> None:
    for name, labels in (("a", {"n": "1"}), ("b", {"n": "1"}), ("c", {"n": "2"})):
        await api.create(CONFIG_MAPS, config_map(name, labels=labels))
    answer = await api.send("DELETE", api.path(CONFIG_MAPS, labelSelector="n=1"))
    assert (answer.status, answer.object["kind"]) == (200, "ConfigMapList")
    assert [one["metadata"]["name"] for one in answer.object["items"]] == ["a", "b"]
    left = (await api.list(CONFIG_MAPS, labelSelector="n")).object["items"]
    assert [one["metadata"]["name"] for one in left] == ["c"]


async def test_neither_all_namespaces_nor_a_kind_in_all_of_them_is_deleted(api: Api) -> None:
    told = "the server does not allow this method on the requested resource"
    for path in ("/api/v1/namespaces", "/api/v1/configmaps"):
        answer = await api.send("DELETE", path)
        assert (answer.status, answer.body) == (405, {**refusal(405, "MethodNotAllowed", told), "details": {}})


# --- namespaces --------------------------------------------------------------------------------------------------------------


async def terminating(api: Api, stand: Stand) -> str:
    """A namespace that is deleted and held by an object in it."""
    name = f"ending-{uuid4().hex[:8]}"
    made = await api.send("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    assert (made.object["status"], made.object["spec"]) == ({"phase": "Active"}, {"finalizers": ["kubernetes"]})
    api.namespace = name
    for held in (config_map("held", finalizers=["a/b"]), config_map("loose")):
        await api.create(CONFIG_MAPS, held)
    answer = await api.send("DELETE", f"/api/v1/namespaces/{name}")
    assert answer.object["status"]["phase"] == "Terminating"
    assert answer.object["metadata"]["deletionTimestamp"]
    stand.namespace = name
    await stand.gone(CONFIG_MAPS, "loose")
    return name


async def test_nothing_is_created_in_a_namespace_that_ends(api: Api, stand: Stand) -> None:
    name = await terminating(api, stand)
    answers: list[tuple[str, Answer]] = [
        ("configmaps", await api.create(CONFIG_MAPS, config_map("late"))),
        ("configmaps", await api.apply(CONFIG_MAPS, config_map("late"))),
        ("statefulsets.apps", await api.create(STATEFUL_SETS, stateful_set("late"))),
    ]
    why = f"unable to create new content in namespace {name} because it is being terminated"
    told = f"namespace {name} is being terminated"
    causes = [{"reason": "NamespaceTerminating", "message": told, "field": "metadata.namespace"}]
    for qualified, answer in answers:
        message = f'{qualified} "late" is forbidden: {why}'
        assert answer.body == refusal(403, "Forbidden", message, **about(qualified, "late"), causes=causes)
    changed = await api.operate(CONFIG_MAPS, "held", replace("/data/is", "blue"))
    assert changed.object["data"] == {"is": "blue"}, "what is there can still be changed"
    await api.merge(CONFIG_MAPS, "held", {"metadata": {"finalizers": None}})

    async def is_gone() -> bool:
        return bool((await api.send("GET", f"/api/v1/namespaces/{name}")).body == not_found("namespaces", name))

    await stand.until(is_gone, "the namespace goes with the last thing in it")


async def test_a_namespace_goes_with_everything_in_it(api: Api, plane: Plane, stand: Stand) -> None:
    name = f"ending-{uuid4().hex[:8]}"
    await api.send("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    api.namespace = name
    await api.create(CONFIG_MAPS, config_map())
    await api.create(STATEFUL_SETS, stateful_set())
    await api.send("DELETE", f"/api/v1/namespaces/{name}")

    async def is_gone() -> bool:
        return (await api.send("GET", f"/api/v1/namespaces/{name}")).status == 404

    await stand.until(is_gone, "the namespace is gone")
    assert (await api.create(CONFIG_MAPS, config_map())).body == not_found("namespaces", name)
