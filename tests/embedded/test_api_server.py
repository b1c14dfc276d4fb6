"""The API over HTTP: reading in pages and forms, writing and its refusals, scaling, deleting, discovery, access."""

from __future__ import annotations

import asyncio
import base64

import pytest

from adapters.embedded.resources import CONFIG_MAPS
from adapters.embedded.server import LARGEST_BODY
from tests.embedded.api_stand import (
    CONFIG_MAPS_PATH,
    DEPLOYMENTS_PATH,
    SERVICES_PATH,
    Api,
    config_map,
    deployment,
    new_storage,
    pod,
    serve,
    service,
)

PODS_PATH = "/api/v1/namespaces/default/pods"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


async def make_config_maps(api: Api, count: int) -> None:
    for number in range(count):
        body = config_map(f"c{number}")
        body["metadata"]["labels"] = {"parity": "even" if number % 2 == 0 else "odd", "number": str(number)}
        await api.post(CONFIG_MAPS_PATH, body)


async def names(api: Api, query: str) -> list[str]:
    reply = await api.get(f"{CONFIG_MAPS_PATH}?{query}")
    assert reply.status == 200, reply.json
    return [each["metadata"]["name"] for each in reply.json["items"]]


class TestLists:
    async def test_items_of_built_in_kinds_do_not_repeat_what_they_are(self) -> None:
        async with serve() as api:
            await make_config_maps(api, 1)
            reply = await api.get(CONFIG_MAPS_PATH)
            assert (reply.json["kind"], reply.json["apiVersion"]) == ("ConfigMapList", "v1")
            assert "kind" not in reply.json["items"][0]
            assert "kind" in (await api.get(f"{CONFIG_MAPS_PATH}/c0")).json

    @pytest.mark.parametrize(
        ("selector", "chosen"),
        [
            ("labelSelector=parity%3Deven", ["c0", "c2"]),
            ("labelSelector=parity!%3Deven", ["c1", "c3"]),
            ("labelSelector=number+in+(0,3),parity", ["c0", "c3"]),
            ("labelSelector=number+notin+(0,3)", ["c1", "c2"]),
            ("labelSelector=!parity", []),
            ("labelSelector=number>1", ["c2", "c3"]),
            ("fieldSelector=metadata.name%3Dc1", ["c1"]),
            ("fieldSelector=metadata.name!%3Dc1,metadata.namespace%3Ddefault", ["c0", "c2", "c3"]),
        ],
    )
    async def test_selectors_choose(self, selector: str, chosen: list[str]) -> None:
        async with serve() as api:
            await make_config_maps(api, 4)
            assert await names(api, selector) == chosen

    @pytest.mark.parametrize("query", ["labelSelector=a+b", "fieldSelector=spec.x%3D1", "limit=x", "resourceVersion=x"])
    async def test_what_cannot_be_understood_is_refused(self, query: str) -> None:
        async with serve() as api:
            reply = await api.get(f"{CONFIG_MAPS_PATH}?{query}")
            assert (reply.status, reply.json["reason"]) == (400, "BadRequest")

    async def test_pages_show_one_moment(self) -> None:
        async with serve() as api:
            await make_config_maps(api, 5)
            first = (await api.get(f"{CONFIG_MAPS_PATH}?limit=2")).json
            assert first["metadata"]["remainingItemCount"] == 3
            await api.delete(f"{CONFIG_MAPS_PATH}/c3")
            await api.post(CONFIG_MAPS_PATH, config_map("c9"))
            second = (await api.get(f"{CONFIG_MAPS_PATH}?limit=9&continue={first['metadata']['continue']}")).json
            assert [each["metadata"]["name"] for each in second["items"]] == ["c2", "c3", "c4"]
            assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
            assert "continue" not in second["metadata"]

    async def test_a_page_whose_moment_is_forgotten_has_expired_and_can_go_on_with_the_present(self) -> None:
        async with serve() as api:
            await make_config_maps(api, 4)
            first = (await api.get(f"{CONFIG_MAPS_PATH}?limit=2")).json
            await api.delete(f"{CONFIG_MAPS_PATH}/c2")
            api.server.faults.expire_history()
            expired = await api.get(f"{CONFIG_MAPS_PATH}?limit=2&continue={first['metadata']['continue']}")
            assert (expired.status, expired.json["reason"]) == (410, "Expired")
            assert await names(api, f"continue={expired.json['metadata']['continue']}") == ["c3"]

    async def test_a_broken_continue_token_is_refused(self) -> None:
        async with serve() as api:
            assert (await api.get(f"{CONFIG_MAPS_PATH}?limit=1&continue=rubbish")).status == 400

    async def test_an_exact_version_is_listed_while_it_is_known(self) -> None:
        async with serve() as api:
            await make_config_maps(api, 1)
            then = api.storage.resource_version
            await api.delete(f"{CONFIG_MAPS_PATH}/c0")
            exact = f"resourceVersion={then}&resourceVersionMatch=Exact"
            assert await names(api, exact) == ["c0"]
            api.server.faults.expire_history()
            assert (await api.get(f"{CONFIG_MAPS_PATH}?{exact}")).status == 410

    async def test_a_version_of_the_future_is_waited_for(self) -> None:
        async with serve() as api:
            next_version = api.storage.resource_version + 1
            async with asyncio.TaskGroup() as tasks:
                waiting = tasks.create_task(names(api, f"resourceVersion={next_version}"))
                await asyncio.sleep(0)
                api.storage.create(CONFIG_MAPS, config_map("late"))
            assert waiting.result() == ["late"]

    async def test_a_version_that_never_comes_times_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("adapters.embedded.reading.FUTURE_VERSION_SECONDS", 0.05)
        async with serve() as api:
            reply = await api.get(f"{CONFIG_MAPS_PATH}?resourceVersion=99999")
            assert (reply.status, reply.json["reason"]) == (504, "Timeout")
            assert reply.causes == [("", "ResourceVersionTooLarge")]


class TestForms:
    async def test_a_table_has_the_columns_of_the_kind(self) -> None:
        async with serve() as api:
            await api.post(DEPLOYMENTS_PATH, deployment())
            table = (await api.get(DEPLOYMENTS_PATH, Accept=TABLE)).json
            shown = [each["name"] for each in table["columnDefinitions"] if each["priority"] == 0]
            assert shown == ["Name", "Ready", "Up-to-date", "Available", "Age"]
            row = table["rows"][0]
            assert row["cells"] == ["web", "0/3", 0, 0, "0s", "app", "shop/web:1", "app=web"]
            assert row["object"]["kind"] == "PartialObjectMetadata"
            whole = (await api.get(f"{DEPLOYMENTS_PATH}?includeObject=Object", Accept=TABLE)).json
            assert whole["rows"][0]["object"]["spec"]["replicas"] == 3

    async def test_metadata_can_be_had_alone(self) -> None:
        async with serve() as api:
            await make_config_maps(api, 1)
            accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
            partial = (await api.get(CONFIG_MAPS_PATH, Accept=accept)).json
            assert partial["kind"] == "PartialObjectMetadataList"
            assert list(partial["items"][0]) == ["kind", "apiVersion", "metadata"]

    async def test_what_cannot_be_served_is_not_acceptable(self) -> None:
        async with serve() as api:
            assert (await api.get(CONFIG_MAPS_PATH, Accept="application/xml")).status == 406
            protobuf_or_json = "application/vnd.kubernetes.protobuf,application/json"
            assert (await api.get(CONFIG_MAPS_PATH, Accept=protobuf_or_json)).status == 200


class TestWrites:
    async def test_an_object_is_created_replaced_and_gone(self) -> None:
        async with serve() as api:
            made = await api.post(CONFIG_MAPS_PATH, config_map(a="1"))
            assert (made.status, made.json["kind"]) == (201, "ConfigMap")
            body = made.json
            body["data"] = {"a": "2"}
            replaced = await api.put(f"{CONFIG_MAPS_PATH}/settings", body)
            assert (replaced.status, replaced.json["data"]) == (200, {"a": "2"})
            assert (await api.put(f"{CONFIG_MAPS_PATH}/settings", body)).json["reason"] == "Conflict"
            gone = await api.delete(f"{CONFIG_MAPS_PATH}/settings")
            assert (gone.json["kind"], gone.json["status"]) == ("Status", "Success")
            assert gone.json["details"] == {
                "name": "settings",
                "kind": "configmaps",
                "uid": made.json["metadata"]["uid"],
            }
            missing = await api.get(f"{CONFIG_MAPS_PATH}/settings")
            assert (missing.status, missing.message) == (404, 'configmaps "settings" not found')
            assert missing.json["details"] == {"name": "settings", "kind": "configmaps"}

    @pytest.mark.parametrize(
        ("body", "status", "message"),
        [
            (b"{", 400, "json parse error"),
            (b"[]", 400, "json: cannot unmarshal array into Go value"),
            ({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "x"}}, 400, "cannot be handled as a ConfigMap"),
            ({"kind": "ConfigMap", "apiVersion": "v2", "metadata": {"name": "x"}}, 400, "no kind \"ConfigMap\" is registered"),
            ({"metadata": {"name": "x", "namespace": "other"}}, 400, "does not match the namespace sent on the request"),
            ({"metadata": {}}, 422, "metadata.name: Required value: name or generateName is required"),
            ({"metadata": {"name": "X"}}, 422, "a lowercase RFC 1123 subdomain must consist of"),
            ({"metadata": {"name": "x", "labels": {"a b": "c"}}}, 422, "name part must consist of alphanumeric characters"),
            ({"metadata": {"name": "x", "labels": {"a": "b c"}}}, 422, "a valid label must be an empty string or consist of"),
            ({"metadata": {"name": "x", "resourceVersion": "1"}}, 500, "resourceVersion should not be set on objects to be"),
            ({"metadata": {"name": "x"}, "data": {"a": 1}}, 400, "cannot unmarshal number into Go struct field ConfigMap.data"),
            ({"metadata": {"name": "x"}, "data": ["a"]}, 400, "cannot unmarshal array into Go struct field ConfigMap.data"),
        ],
    )
    async def test_a_wrong_body_is_refused_with_a_reason(self, body: object, status: int, message: str) -> None:
        async with serve() as api:
            reply = await api.post(CONFIG_MAPS_PATH, body)
            assert (reply.status, reply.json["kind"]) == (status, "Status")
            assert message in reply.message

    async def test_a_name_in_the_body_must_be_that_of_the_path(self) -> None:
        async with serve() as api:
            made = (await api.post(CONFIG_MAPS_PATH, config_map())).json
            made["metadata"]["name"] = "other"
            reply = await api.put(f"{CONFIG_MAPS_PATH}/settings", made)
            assert reply.message == "the name of the object (other) does not match the name on the URL (settings)"

    async def test_a_body_that_is_too_large_is_refused(self) -> None:
        async with serve() as api:
            reply = await api.post(CONFIG_MAPS_PATH, b" " * (LARGEST_BODY + 1))
            assert (reply.status, reply.json["reason"]) == (413, "RequestEntityTooLarge")

    async def test_a_dry_run_answers_as_if_and_changes_nothing(self) -> None:
        async with serve() as api:
            made = await api.post(f"{DEPLOYMENTS_PATH}?dryRun=All", deployment())
            assert (made.status, made.json["spec"]["strategy"]["type"]) == (201, "RollingUpdate")
            assert (await api.get(f"{DEPLOYMENTS_PATH}/web")).status == 404
            before = (await api.post(DEPLOYMENTS_PATH, deployment())).json
            changed = await api.patch(f"{DEPLOYMENTS_PATH}/web?dryRun=All", {"spec": {"replicas": 9}})
            assert (changed.json["spec"]["replicas"], changed.json["metadata"]["generation"]) == (9, 2)
            assert (await api.delete(f"{DEPLOYMENTS_PATH}/web?dryRun=All")).status == 200
            assert (await api.get(f"{DEPLOYMENTS_PATH}/web")).json == before
            assert (await api.post(f"{DEPLOYMENTS_PATH}?dryRun=Some", deployment("x"))).status == 422

    async def test_a_put_of_a_missing_object_creates_only_what_the_real_server_creates(self) -> None:
        async with serve() as api:
            assert (await api.put(f"{CONFIG_MAPS_PATH}/settings", config_map())).status == 404
            lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "leader"}}
            path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/leader"
            assert (await api.put(path, lease)).status == 201

    async def test_the_manager_is_named_by_the_client_or_its_user_agent(self) -> None:
        async with serve() as api:
            reply = await api.post(CONFIG_MAPS_PATH, config_map("a", x="1"), User_Agent="shop-tool/1.2 (linux)")
            assert reply.json["metadata"]["managedFields"][0]["manager"] == "shop-tool"
            reply = await api.post(f"{CONFIG_MAPS_PATH}?fieldManager=named", config_map("b", x="1"))
            assert reply.json["metadata"]["managedFields"][0]["manager"] == "named"

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/api/v1/nothing", 404),
            ("GET", "/apis/apps/v9/deployments", 404),
            ("GET", "/api/v1/configmaps/settings", 404),
            ("GET", f"{CONFIG_MAPS_PATH}/settings/status", 404),
            ("POST", "/api/v1/configmaps", 405),
            ("PUT", CONFIG_MAPS_PATH, 405),
            ("POST", f"{CONFIG_MAPS_PATH}/settings", 405),
            ("DELETE", f"{DEPLOYMENTS_PATH}/web/status", 405),
            ("POST", "/version", 405),
        ],
    )
    async def test_paths_that_are_not_served_say_so(self, method: str, path: str, status: int) -> None:
        async with serve() as api:
            reply = await api.request(method, path, {} if method in {"POST", "PUT"} else None)
            assert (reply.status, reply.json["kind"]) == (status, "Status")


class TestScale:
    async def test_a_workload_is_scaled_by_put_and_patch(self) -> None:
        async with serve() as api:
            await api.post(DEPLOYMENTS_PATH, deployment())
            scale = (await api.get(f"{DEPLOYMENTS_PATH}/web/scale")).json
            assert (scale["kind"], scale["spec"]) == ("Scale", {"replicas": 3})
            assert scale["status"] == {"replicas": 0, "selector": "app=web"}
            scale["spec"]["replicas"] = 5
            assert (await api.put(f"{DEPLOYMENTS_PATH}/web/scale", scale)).json["spec"] == {"replicas": 5}
            stale = await api.put(f"{DEPLOYMENTS_PATH}/web/scale", scale)
            assert stale.json["reason"] == "Conflict"
            await api.patch(f"{DEPLOYMENTS_PATH}/web/scale", {"spec": {"replicas": 0}})
            found = (await api.get(f"{DEPLOYMENTS_PATH}/web")).json
            assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (0, 3)
            refused = await api.patch(f"{DEPLOYMENTS_PATH}/web/scale", {"spec": {"replicas": -1}})
            assert refused.causes == [("spec.replicas", "FieldValueInvalid")]


class TestDeletes:
    async def test_a_pod_is_deleted_with_grace_and_then_for_good(self) -> None:
        async with serve() as api:
            await api.post(PODS_PATH, pod("p"))
            await api.post(f"{PODS_PATH}/p/binding", {"target": {"name": "node-1"}})
            left = await api.delete(f"{PODS_PATH}/p", {"gracePeriodSeconds": 7})
            assert (left.json["kind"], left.json["metadata"]["deletionGracePeriodSeconds"]) == ("Pod", 7)
            assert (await api.delete(f"{PODS_PATH}/p?gracePeriodSeconds=0")).json["kind"] == "Pod"
            assert (await api.get(f"{PODS_PATH}/p")).status == 404

    async def test_a_pod_can_be_evicted(self) -> None:
        async with serve() as api:
            await api.post(PODS_PATH, pod("p"))
            reply = await api.post(f"{PODS_PATH}/p/eviction", {"metadata": {"name": "p"}})
            assert (reply.status, reply.json["status"]) == (201, "Success")
            assert (await api.get(f"{PODS_PATH}/p")).status == 404

    async def test_a_selection_is_deleted_at_once(self) -> None:
        async with serve() as api:
            await make_config_maps(api, 4)
            reply = await api.delete(f"{CONFIG_MAPS_PATH}?labelSelector=parity%3Dodd")
            assert [each["metadata"]["name"] for each in reply.json["items"]] == ["c1", "c3"]
            assert await names(api, "") == ["c0", "c2"]

    async def test_preconditions_and_policies_are_checked(self) -> None:
        async with serve() as api:
            await api.post(DEPLOYMENTS_PATH, deployment())
            path = f"{DEPLOYMENTS_PATH}/web"
            assert (await api.delete(path, {"preconditions": {"uid": "another"}})).status == 409
            assert (await api.delete(path, {"propagationPolicy": "Sideways"})).status == 422
            left = await api.delete(path, {"propagationPolicy": "Foreground"})
            assert left.json["metadata"]["finalizers"] == ["foregroundDeletion"]


class TestDiscovery:
    async def test_groups_and_resources_are_told(self) -> None:
        async with serve() as api:
            assert (await api.get("/api")).json["versions"] == ["v1"]
            groups = {each["name"]: each for each in (await api.get("/apis")).json["groups"]}
            assert groups["apps"]["preferredVersion"]["groupVersion"] == "apps/v1"
            resources = {each["name"]: each for each in (await api.get("/apis/apps/v1")).json["resources"]}
            assert resources["deployments"]["shortNames"] == ["deploy"]
            assert resources["deployments/scale"]["kind"] == "Scale"
            assert (await api.get("/apis/nothing")).status == 404

    async def test_everything_is_told_at_once_to_those_who_can_read_it(self) -> None:
        async with serve() as api:
            accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
            reply = await api.get("/apis", Accept=accept)
            assert "as=APIGroupDiscoveryList" in reply.headers["Content-Type"]
            apps = next(each for each in reply.json["items"] if each["metadata"]["name"] == "apps")
            listed = {each["resource"] for each in apps["versions"][0]["resources"]}
            assert {"deployments", "replicasets"} <= listed

    async def test_schemas_say_how_lists_merge_and_what_a_patch_may_ask(self) -> None:
        async with serve() as api:
            root = (await api.get("/openapi/v3")).json["paths"]["apis/apps/v1"]["serverRelativeURL"]
            document = (await api.get(root)).json
            schema = document["components"]["schemas"]["apps.v1.Deployment"]["properties"]["spec"]["properties"]
            containers = schema["template"]["properties"]["spec"]["properties"]["containers"]
            assert containers["x-kubernetes-patch-merge-key"] == "name"
            patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
            assert "fieldValidation" in {each["name"] for each in patch["parameters"]}

    @pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/readyz/ping"])
    async def test_it_is_healthy(self, path: str) -> None:
        async with serve() as api:
            reply = await api.get(path)
            assert (reply.status, reply.json) == (200, b"ok")


class TestAccess:
    async def test_without_the_token_nothing_but_health_is_answered(self) -> None:
        async with serve(token="secret") as api:
            assert (await api.get("/api")).status == 200
            refused = await api.get(CONFIG_MAPS_PATH, Authorization="Bearer wrong")
            assert (refused.status, refused.json["reason"]) == (401, "Unauthorized")
            assert (await api.get("/healthz", Authorization="")).status == 200
            user = api.server.kubeconfig()["users"][0]["user"]
            assert user == {"token": "secret"}

    async def test_everybody_may_do_everything(self) -> None:
        async with serve() as api:
            path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
            question = {"spec": {"resourceAttributes": {"verb": "delete", "resource": "pods"}}}
            reply = await api.post(path, question)
            assert (reply.status, reply.json["status"]["allowed"]) == (201, True)
            rules = await api.post("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {"spec": {}})
            assert rules.json["status"]["resourceRules"][0]["verbs"] == ["*"]


class TestProtobuf:
    async def test_a_body_in_the_encoding_of_newer_clients_is_understood(self) -> None:
        async with serve() as api:
            # a ConfigMap "settings" with data {"a": "1"} and one label, as kubectl 1.37 sends it
            body = _message(
                _text(1, _text(1, b"v1") + _text(2, b"ConfigMap")),
                _text(2, _text(1, _text(1, b"settings") + _text(11, _text(1, b"k") + _text(2, b"v")))
                + _text(2, _text(1, b"a") + _text(2, b"1"))),
            )
            media_type = "application/vnd.kubernetes.protobuf"
            reply = await api.request("POST", CONFIG_MAPS_PATH, body, media_type=media_type)
            assert (reply.status, reply.json["data"]) == (201, {"a": "1"})
            assert reply.json["metadata"]["labels"] == {"k": "v"}

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"rubbish", 400),
            (b"k8s\x00\xff\xff", 400),
            (b"k8s\x00\x0a\x99", 400),
            (b"k8s\x00" + b"\x0a\x07\x12\x05Gizmo", 415),
        ],
    )
    async def test_rubbish_is_refused(self, body: bytes, status: int) -> None:
        async with serve() as api:
            media_type = "application/vnd.kubernetes.protobuf"
            assert (await api.request("POST", CONFIG_MAPS_PATH, body, media_type=media_type)).status == status


def _text(number: int, value: bytes) -> bytes:
    return bytes([number << 3 | 2, len(value)]) + value


def _message(*fields: bytes) -> bytes:
    return b"k8s\x00" + b"".join(fields)


async def test_secrets_take_plain_text_and_keep_it_encoded() -> None:
    async with serve(new_storage()) as api:
        body = {"metadata": {"name": "s"}, "stringData": {"password": "hush"}}
        reply = await api.post("/api/v1/namespaces/default/secrets", body)
        assert base64.b64decode(reply.json["data"]["password"]) == b"hush"
        assert "stringData" not in reply.json


async def test_many_requests_at_once_are_all_answered() -> None:
    async with serve() as api:
        await asyncio.gather(*(api.post(CONFIG_MAPS_PATH, config_map(f"c{number}")) for number in range(100)))
        await api.post(SERVICES_PATH, service())
        assert len(await names(api, "")) == 100


async def test_a_namespace_is_told_as_terminating_even_when_it_goes_at_once() -> None:
    async with serve() as api:
        await api.post("/api/v1/namespaces", {"metadata": {"name": "shop"}})
        reply = await api.delete("/api/v1/namespaces/shop")
        assert (reply.json["kind"], reply.json["status"]["phase"]) == ("Namespace", "Terminating")
        assert (await api.get("/api/v1/namespaces/shop")).status == 404


async def test_a_yaml_body_keeps_times_as_text() -> None:
    async with serve() as api:
        text = b"metadata:\n  name: x\n  annotations: {at: '2026-01-05'}\ndata: {at: '1', day: \"2026-01-05\"}\n"
        reply = await api.request("POST", CONFIG_MAPS_PATH, text, media_type="application/yaml")
        assert (reply.status, reply.json["data"]["day"]) == (201, "2026-01-05")
        bare = text.replace(b'"2026-01-05"', b"2026-01-05T00:00:00Z").replace(b"name: x", b"name: y")
        reply = await api.request("POST", CONFIG_MAPS_PATH, bare, media_type="application/yaml")
        assert (reply.status, reply.json["data"]["day"]) == (201, "2026-01-05T00:00:00Z")
