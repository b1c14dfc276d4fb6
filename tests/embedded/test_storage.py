"""The rules of writing: versions, conflicts, generations, finalizers, graceful deletion, namespaces, history."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.embedded.errors import AlreadyExists, BadRequest, Conflict, Expired, Forbidden, Invalid, NotFound
from adapters.embedded.history import EventType, StorageEvent
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import CONFIG_MAPS, DEPLOYMENTS, NAMESPACES, PODS
from adapters.embedded.storage import Storage
from tests.embedded.api_stand import HandClock, config_map, deployment, new_storage, pod


@pytest.fixture
def storage() -> Storage:
    return new_storage()


class TestCreating:
    def test_the_server_gives_identity_and_ignores_what_the_client_made_up(self, storage: Storage) -> None:
        wanted = deployment()
        wanted["metadata"] |= {"uid": "mine", "creationTimestamp": "1999-01-01T00:00:00Z", "generation": 7}
        wanted["status"] = {"replicas": 9}
        made = storage.create(DEPLOYMENTS, wanted)
        assert made["metadata"]["uid"].startswith("uid-")
        assert made["metadata"]["creationTimestamp"] == "2026-01-05T03:00:00Z"
        assert made["metadata"]["generation"] == 1
        assert made["metadata"]["resourceVersion"] == str(storage.resource_version)
        assert made["status"] == {}

    def test_a_name_can_be_taken_once(self, storage: Storage) -> None:
        storage.create(CONFIG_MAPS, config_map())
        with pytest.raises(AlreadyExists, match='configmaps "settings" already exists'):
            storage.create(CONFIG_MAPS, config_map())

    def test_a_name_can_be_generated(self, storage: Storage) -> None:
        body = config_map()
        body["metadata"] = {"namespace": "default", "generateName": "settings-"}
        first, second = storage.create(CONFIG_MAPS, body), storage.create(CONFIG_MAPS, body)
        assert first["metadata"]["name"] != second["metadata"]["name"]
        assert all(len(each["metadata"]["name"]) == len("settings-") + 5 for each in (first, second))

    def test_nothing_is_created_in_a_missing_namespace(self, storage: Storage) -> None:
        body = config_map()
        body["metadata"]["namespace"] = "nowhere"
        with pytest.raises(NotFound, match='namespaces "nowhere" not found'):
            storage.create(CONFIG_MAPS, body)

    def test_a_namespaced_object_needs_a_namespace(self, storage: Storage) -> None:
        with pytest.raises(BadRequest):
            storage.create(CONFIG_MAPS, {"metadata": {"name": "x"}})

    def test_a_dry_run_leaves_nothing_behind(self, storage: Storage) -> None:
        before = storage.resource_version
        assert storage.create(CONFIG_MAPS, config_map(), dry_run=True)["metadata"]["name"] == "settings"
        assert storage.find(CONFIG_MAPS, "default", "settings") is None
        assert storage.resource_version == before


class TestUpdating:
    def test_a_stale_update_conflicts(self, storage: Storage) -> None:
        mine = storage.create(CONFIG_MAPS, config_map())
        theirs = storage.get(CONFIG_MAPS, "default", "settings")
        theirs["data"] = {"a": "theirs"}
        storage.update(CONFIG_MAPS, theirs)
        mine["data"] = {"a": "mine"}
        with pytest.raises(Conflict, match="the object has been modified; please apply your changes to the latest"):
            storage.update(CONFIG_MAPS, mine)

    def test_an_update_of_another_incarnation_conflicts(self, storage: Storage) -> None:
        old = storage.create(CONFIG_MAPS, config_map())
        storage.delete(CONFIG_MAPS, "default", "settings")
        storage.create(CONFIG_MAPS, config_map())
        del old["metadata"]["resourceVersion"]
        with pytest.raises(Conflict, match="UID in precondition"):
            storage.update(CONFIG_MAPS, old)

    def test_an_update_that_changes_nothing_keeps_the_version_and_is_not_told(self, storage: Storage) -> None:
        made = storage.create(CONFIG_MAPS, config_map(a="1"))
        told: list[StorageEvent] = []
        storage.subscribe(told.append)
        assert storage.update(CONFIG_MAPS, made, manager="somebody-else") == made
        assert told == []
        made["data"]["a"] = "2"
        storage.update(CONFIG_MAPS, made)  # the no-op did not make this one stale
        assert len(told) == 1

    def test_the_generation_counts_changes_of_the_spec_only(self, storage: Storage) -> None:
        made = storage.create(DEPLOYMENTS, deployment())
        made["metadata"]["labels"]["tier"] = "front"
        made = storage.update(DEPLOYMENTS, made)
        assert made["metadata"]["generation"] == 1
        made["spec"]["replicas"] = 5
        made = storage.update(DEPLOYMENTS, made)
        assert made["metadata"]["generation"] == 2
        made["status"] = {"replicas": 5, "observedGeneration": 2}
        assert storage.update(DEPLOYMENTS, made, subresource="status")["metadata"]["generation"] == 2

    def test_annotating_a_deployment_counts_as_a_change_as_on_the_real_server(self, storage: Storage) -> None:
        made = storage.create(DEPLOYMENTS, deployment())
        made["metadata"]["annotations"] = {"note": "x"}
        assert storage.update(DEPLOYMENTS, made)["metadata"]["generation"] == 2

    def test_status_and_the_rest_are_written_apart(self, storage: Storage) -> None:
        made = storage.create(DEPLOYMENTS, deployment())
        made["spec"]["replicas"] = 9
        made["status"] = {"replicas": 3}
        made = storage.update(DEPLOYMENTS, made, subresource="status")
        assert (made["spec"]["replicas"], made["status"]) == (3, {"replicas": 3})
        made["spec"]["replicas"] = 9
        made["status"] = {"replicas": 77}
        made = storage.update(DEPLOYMENTS, made)
        assert (made["spec"]["replicas"], made["status"]) == (9, {"replicas": 3})

    def test_a_status_update_may_carry_a_deployments_annotations_but_not_its_labels(self, storage: Storage) -> None:
        made = storage.create(DEPLOYMENTS, deployment())
        made["metadata"]["annotations"] = {"deployment.kubernetes.io/revision": "1"}
        made["metadata"]["labels"] = {"other": "labels"}
        made = storage.update(DEPLOYMENTS, made, subresource="status")
        assert made["metadata"]["annotations"] == {"deployment.kubernetes.io/revision": "1"}
        assert made["metadata"]["labels"] == {"app": "web"}
        assert made["metadata"]["generation"] == 1

    def test_a_count_of_nothing_is_left_out_of_a_status_as_the_real_server_leaves_it_out(self, storage: Storage) -> None:
        made = storage.create(DEPLOYMENTS, deployment())
        made["status"] = {"replicas": 3, "readyReplicas": 0}
        assert storage.update(DEPLOYMENTS, made, subresource="status")["status"] == {"replicas": 3}

    def test_what_was_handed_out_belongs_to_the_caller(self, storage: Storage) -> None:
        made = storage.create(CONFIG_MAPS, config_map(a="1"))
        made["data"]["a"] = "changed by the caller"
        storage.list(CONFIG_MAPS, "default")[0]["data"]["a"] = "changed by another"
        assert storage.get(CONFIG_MAPS, "default", "settings")["data"] == {"a": "1"}


class TestDeleting:
    def test_what_nothing_holds_is_gone_at_once(self, storage: Storage) -> None:
        storage.create(CONFIG_MAPS, config_map())
        storage.delete(CONFIG_MAPS, "default", "settings")
        with pytest.raises(NotFound, match='configmaps "settings" not found'):
            storage.get(CONFIG_MAPS, "default", "settings")

    def test_a_finalizer_holds_an_object_until_it_is_taken_away(self, storage: Storage) -> None:
        body = config_map()
        body["metadata"]["finalizers"] = ["shop.example/clean"]
        storage.create(CONFIG_MAPS, body)
        left = storage.delete(CONFIG_MAPS, "default", "settings")
        assert left["metadata"]["deletionTimestamp"] == "2026-01-05T03:00:00Z"
        left["metadata"]["finalizers"] = ["shop.example/clean", "shop.example/late"]
        with pytest.raises(Invalid, match="no new finalizers can be added if the object is being deleted"):
            storage.update(CONFIG_MAPS, left)
        left["metadata"]["finalizers"] = []
        storage.update(CONFIG_MAPS, left)
        assert storage.find(CONFIG_MAPS, "default", "settings") is None

    @pytest.mark.parametrize(("policy", "finalizer"), [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")])
    def test_a_propagation_policy_leaves_the_rest_to_the_garbage_collector(
        self, storage: Storage, policy: str, finalizer: str
    ) -> None:
        storage.create(DEPLOYMENTS, deployment())
        left = storage.delete(DEPLOYMENTS, "default", "web", propagation=policy)
        assert left["metadata"]["finalizers"] == [finalizer]
        assert left["metadata"]["generation"] == 2
        left["metadata"]["finalizers"] = []
        storage.update(DEPLOYMENTS, left)
        assert storage.find(DEPLOYMENTS, "default", "web") is None

    def test_a_pod_on_a_node_gets_its_grace_and_one_without_a_node_does_not(self, storage: Storage) -> None:
        storage.create(PODS, pod("waiting"))
        storage.delete(PODS, "default", "waiting")
        assert storage.find(PODS, "default", "waiting") is None
        running = pod("running")
        running["spec"] |= {"nodeName": "node", "terminationGracePeriodSeconds": 20}
        storage.create(PODS, running)
        left = storage.delete(PODS, "default", "running")
        assert left["metadata"]["deletionTimestamp"] == "2026-01-05T03:00:20Z"
        assert left["metadata"]["deletionGracePeriodSeconds"] == 20
        assert storage.delete(PODS, "default", "running") == left  # once more changes nothing
        sooner = storage.delete(PODS, "default", "running", grace_period_seconds=5)
        assert sooner["metadata"]["deletionTimestamp"] == "2026-01-05T03:00:05Z"
        storage.delete(PODS, "default", "running", grace_period_seconds=0)
        assert storage.find(PODS, "default", "running") is None

    def test_preconditions_are_kept(self, storage: Storage) -> None:
        made = storage.create(CONFIG_MAPS, config_map())
        with pytest.raises(Conflict, match="does not match the UID in record"):
            storage.delete(CONFIG_MAPS, "default", "settings", uid="another")
        with pytest.raises(Conflict, match="does not match the ResourceVersion in record"):
            storage.delete(CONFIG_MAPS, "default", "settings", resource_version="1")
        metadata = made["metadata"]
        storage.delete(
            CONFIG_MAPS, "default", "settings", uid=metadata["uid"], resource_version=metadata["resourceVersion"]
        )
        assert storage.find(CONFIG_MAPS, "default", "settings") is None


class TestNamespaces:
    def test_a_namespace_takes_its_content_along(self, storage: Storage) -> None:
        storage.create(NAMESPACES, {"metadata": {"name": "shop"}})
        body = config_map()
        body["metadata"]["namespace"] = "shop"
        storage.create(CONFIG_MAPS, body)
        left = storage.delete(NAMESPACES, None, "shop")
        assert left["status"]["phase"] == "Terminating"
        assert storage.find(NAMESPACES, None, "shop") is None
        assert storage.list(CONFIG_MAPS, "shop") == []

    def test_a_namespace_waits_for_what_is_held_in_it_and_lets_nothing_new_in(self, storage: Storage) -> None:
        storage.create(NAMESPACES, {"metadata": {"name": "shop"}})
        body = config_map()
        body["metadata"] |= {"namespace": "shop", "finalizers": ["shop.example/clean"]}
        storage.create(CONFIG_MAPS, body)
        storage.delete(NAMESPACES, None, "shop")
        late = config_map("late")
        late["metadata"]["namespace"] = "shop"
        with pytest.raises(Forbidden, match="because it is being terminated"):
            storage.create(CONFIG_MAPS, late)
        held = storage.get(CONFIG_MAPS, "shop", "settings")
        held["metadata"]["finalizers"] = []
        storage.update(CONFIG_MAPS, held)
        assert storage.find(NAMESPACES, None, "shop") is None

    def test_the_usual_namespaces_are_there(self, storage: Storage) -> None:
        names = [each["metadata"]["name"] for each in storage.list(NAMESPACES)]
        assert names == ["default", "kube-node-lease", "kube-public", "kube-system"]


class TestTelling:
    def test_everybody_hears_changes_in_order_even_when_a_listener_writes(self, storage: Storage) -> None:
        def react(event: StorageEvent) -> None:
            if event.type is EventType.ADDED and event.resource == CONFIG_MAPS:
                changed = storage.get(CONFIG_MAPS, "default", event.object["metadata"]["name"])
                changed["data"] = {"seen": "yes"}
                storage.update(CONFIG_MAPS, changed)

        heard: list[tuple[str, int]] = []
        storage.subscribe(react)
        storage.subscribe(lambda event: heard.append((event.type.value, event.resource_version)))
        storage.create(CONFIG_MAPS, config_map())
        assert [kind for kind, _ in heard] == ["ADDED", "MODIFIED"]
        assert heard[1][1] == heard[0][1] + 1

    def test_a_failing_listener_does_not_hide_a_change_from_the_others(self, storage: Storage) -> None:
        def fail(event: StorageEvent) -> None:
            raise RuntimeError("a listener with a fault")

        heard: list[StorageEvent] = []
        storage.subscribe(fail)
        storage.subscribe(heard.append)
        with pytest.raises(ExceptionGroup):
            storage.create(CONFIG_MAPS, config_map())
        assert [event.object["metadata"]["name"] for event in heard] == ["settings"]
        assert storage.get(CONFIG_MAPS, "default", "settings")

    def test_who_has_unsubscribed_hears_nothing(self, storage: Storage) -> None:
        heard: list[StorageEvent] = []
        storage.subscribe(heard.append)()
        storage.create(CONFIG_MAPS, config_map())
        assert heard == []


class TestHistory:
    def test_the_past_can_be_listed_until_it_is_forgotten(self, storage: Storage) -> None:
        storage.create(CONFIG_MAPS, config_map("a"))
        then = storage.resource_version
        storage.create(CONFIG_MAPS, config_map("b"))
        storage.delete(CONFIG_MAPS, "default", "a")
        assert [key for key, _ in storage.list_stored(CONFIG_MAPS, "default", at=then)] == [("default", "a")]
        assert [key for key, _ in storage.list_stored(CONFIG_MAPS, "default")] == [("default", "b")]
        storage.forget_history()
        with pytest.raises(Expired):
            storage.list_stored(CONFIG_MAPS, "default", at=then)

    def test_only_so_many_changes_are_kept(self) -> None:
        storage = new_storage(history=3)
        start = storage.resource_version
        for number in range(4):
            storage.create(CONFIG_MAPS, config_map(f"c{number}"))
        assert len(storage.changes_since(start + 1)) == 3
        with pytest.raises(Expired, match="too old resource version"):
            storage.changes_since(start)


_NAMES = st.sampled_from(["a", "b", "c"])
_ACTIONS = st.lists(
    st.tuples(st.sampled_from(["create", "update", "delete", "hold", "release"]), _NAMES, st.integers(0, 3)),
    max_size=30,
)


@given(actions=_ACTIONS)
@settings(max_examples=150, deadline=None)
def test_whoever_follows_the_changes_knows_the_objects(actions: list[tuple[str, str, int]]) -> None:
    storage = new_storage(HandClock())
    followed: dict[str, JsonObject] = {}
    versions: list[int] = []

    def follow(event: StorageEvent) -> None:
        versions.append(event.resource_version)
        name = event.object["metadata"]["name"]
        if event.type is EventType.DELETED:
            del followed[name]
        else:
            assert (name in followed) is (event.type is EventType.MODIFIED)
            assert event.previous == followed.get(name)
            followed[name] = event.object

    storage.subscribe(follow)
    start = storage.resource_version
    for action, name, value in actions:
        _act(storage, action, name, value)
    assert sorted(followed.items()) == [(each["metadata"]["name"], each) for each in storage.list(CONFIG_MAPS)]
    assert versions == list(range(start + 1, storage.resource_version + 1))
    for at in range(start, storage.resource_version + 1):
        changes = [event for event in storage.changes_since(start) if event.resource_version <= at]
        replayed = {event.object["metadata"]["name"]: event for event in changes}
        alive = {name for name, event in replayed.items() if event.type is not EventType.DELETED}
        assert {key[1] for key, _ in storage.list_stored(CONFIG_MAPS, "default", at=at)} == alive


def _act(storage: Storage, action: str, name: str, value: int) -> None:
    found = storage.find(CONFIG_MAPS, "default", name)
    if found is None:
        if action == "create":
            storage.create(CONFIG_MAPS, config_map(name, value=str(value)))
        return
    if action == "delete":
        storage.delete(CONFIG_MAPS, "default", name)
        return
    if action == "update":
        found["data"] = {"value": str(value)}
    elif action == "hold" and "deletionTimestamp" not in found["metadata"]:
        found["metadata"]["finalizers"] = ["shop.example/hold"]
    elif action == "release":
        found["metadata"].pop("finalizers", None)
    storage.update(CONFIG_MAPS, found)
