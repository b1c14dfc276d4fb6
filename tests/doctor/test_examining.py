"""What the doctor finds on a cluster, and that it changes nothing there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from random import Random

import pytest

from adapters.cli.connecting import routers
from adapters.doctor.examining import Examination
from adapters.doctor.findings import Level, Section
from adapters.embedded.cluster import EmbeddedCluster, run_embedded_cluster
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.linkerd_definitions import service_profile_definition
from adapters.embedded.resources import CUSTOM_RESOURCE_DEFINITIONS, DEPLOYMENTS, NAMESPACES, PODS, SERVICES
from adapters.kubernetes.cluster import Cluster, WatchScope, open_cluster
from adapters.kubernetes.credentials import load_kubeconfig_content
from adapters.kubernetes.permissions import Permission, Verb
from adapters.kubernetes.transport import open_transport
from engine.bus import Bus
from engine.clock import SystemClock
from engine.errors import ClusterUnreachable
from engine.model import TargetPlan
from engine.traffic import RoutePlan
from tests.builders import deployment, pod_ratio_route, service, smi_route, target_plan

PLAN = target_plan()
PROFILE = "web.shop.svc.cluster.local"


class Patient:
    """A cluster, and an examination of it."""

    def __init__(self, embedded: EmbeddedCluster) -> None:
        self.embedded = embedded
        self.storage = embedded.storage
        self.kubeconfig = embedded.kubeconfig()
        self.examination = Examination(self._open, routers(), SystemClock())

    @asynccontextmanager
    async def _open(self, account: str) -> AsyncIterator[Cluster]:
        if account != "embedded":
            raise ClusterUnreachable(f"account {account}: nobody answers")
        async with open_transport(await load_kubeconfig_content(self.kubeconfig)) as transport:
            clock, scope = SystemClock(), WatchScope.NAMESPACE
            async with open_cluster(account, transport, Bus(), clock=clock, random=Random(1), scope=scope) as cluster:
                yield cluster

    def install(self, *, proxy: str | None = "linkerd-proxy") -> None:
        self.storage.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
        self.storage.create(SERVICES, service())
        self.storage.create(DEPLOYMENTS, deployment(image="web:1"))
        self.add_pod("web-1", proxy=proxy)

    def add_pod(self, name: str, *, proxy: str | None, native: bool = False) -> None:
        app, sidecar = {"name": "app", "image": "web:1"}, {"name": proxy, "image": "proxy"}
        spec: JsonObject = {"containers": [app, *([sidecar] if proxy and not native else [])]}
        if proxy and native:
            spec["initContainers"] = [{**sidecar, "restartPolicy": "Always"}]
        metadata = {"name": name, "namespace": "shop", "labels": {"app": "web"}}
        self.storage.create(PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})

    def create(self, kind: str, body: JsonObject) -> None:
        resource = next(one for one in self.storage.registry if one.kind == kind)
        metadata = {"namespace": "shop", **body["metadata"]}
        self.storage.create(resource, {"apiVersion": resource.api_version, "kind": kind, **body, "metadata": metadata})

    async def examine(self, plan: TargetPlan = PLAN) -> list[Section]:
        return await self.examination.examine([plan.account], [plan])

    async def texts(self, level: Level, plan: TargetPlan = PLAN) -> list[str]:
        return [one.text for section in await self.examine(plan) for one in section.findings if one.level is level]


@asynccontextmanager
async def patient(*, versions: tuple[str, ...] = ("v1alpha1", "v1alpha2"), linkerd: bool = False) -> AsyncIterator[Patient]:
    numbers = count(1)
    async with run_embedded_cluster(SystemClock(), lambda: f"uid-{next(numbers)}", split_versions=versions) as embedded:
        if linkerd:
            embedded.storage.create(CUSTOM_RESOURCE_DEFINITIONS, service_profile_definition())
        yield Patient(embedded)


async def test_all_is_well_and_every_section_says_what_was_looked_at() -> None:
    async with patient() as one:
        one.install()
        sections = await one.examine()
        assert [section.subject for section in sections] == [
            "account embedded",
            "target production (account embedded, namespace shop)",
        ]
        assert not any(section.has_problems for section in sections)
        told = await one.texts(Level.OK)
        assert "the login is accepted: embedded-admin" in told
        assert "serves SMI TrafficSplit (v1alpha2, v1alpha1)" in told or "serves SMI TrafficSplit (v1alpha1, v1alpha2)" in told
        assert "Service web can be split" in told
        assert any(text.startswith("all ") and text.endswith(" rights that the file needs are there") for text in told)


async def test_looking_changes_nothing() -> None:
    async with patient(linkerd=True) as one:
        one.install()
        one.embedded.server.audit.clear()
        await one.examine()
        writes = [f"{seen.method} {seen.path}" for seen in one.embedded.server.audit.requests if seen.method != "GET"]
        assert writes and all(seen.endswith("reviews") for seen in writes)


async def test_an_account_that_does_not_answer_is_one_problem_and_the_others_are_looked_at() -> None:
    async with patient() as one:
        sections = await one.examination.examine(["elsewhere", "embedded"], [])
        assert [(section.subject, section.has_problems) for section in sections] == [
            ("account elsewhere", True),
            ("account embedded", False),
        ]


async def test_a_server_that_does_not_answer_is_a_problem_and_nothing_else_is_asked() -> None:
    async with patient() as one:
        one.install()
        one.kubeconfig["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:9"
        (section,) = await one.examine()
        assert section.has_problems
        assert "the cluster does not answer" in section.findings[0].text


async def test_missing_rights_are_named_one_by_one() -> None:
    async with patient() as one:
        one.install()
        (role,) = (await one.examination.roles([PLAN]))["embedded"]
        for rule in role["rules"]:
            rule["verbs"] = [verb for verb in rule["verbs"] if verb != "patch"]
        one.embedded.server.access.restrict([role])
        expected = [
            Permission("apps", "deployments", Verb.PATCH, "shop", "web"),
            Permission("apps", "replicasets", Verb.PATCH, "shop"),
            Permission("", "services", Verb.PATCH, "shop", "web-canary"),
            Permission("", "services", Verb.PATCH, "shop", "web-stable"),
            Permission("split.smi-spec.io", "trafficsplits", Verb.PATCH, "shop", "web"),
        ]
        assert sorted(await one.texts(Level.PROBLEM)) == sorted(f"the account may not {permission}" for permission in expected)


async def test_the_printed_role_is_enough() -> None:
    async with patient() as one:
        one.install()
        one.embedded.server.access.restrict((await one.examination.roles([PLAN]))["embedded"])
        assert await one.texts(Level.PROBLEM) == []


async def test_an_account_that_may_not_ask_is_noted_and_not_a_problem() -> None:
    async with patient() as one:
        one.install()
        one.embedded.server.access.answers_reviews = False
        assert await one.texts(Level.PROBLEM) == []
        assert any("its rights are not known" in text for text in await one.texts(Level.NOTE))


@pytest.mark.parametrize(
    ("route", "problem"),
    [
        (smi_route(), "there is no namespace shop; make it: kubectl create namespace shop"),
        (smi_route(), "there is no Service web, the root of the split; make it, or add it to the manifests"),
    ],
)
async def test_what_is_not_there_is_said(route: RoutePlan, problem: str) -> None:
    async with patient() as one:
        assert problem in await one.texts(Level.PROBLEM, target_plan(route=route))


async def test_a_headless_root_cannot_be_split() -> None:
    async with patient() as one:
        one.install()
        one.storage.discard(SERVICES, "shop", "web")
        body = service()
        body["spec"]["clusterIP"] = "None"  # type: ignore[index]
        one.storage.create(SERVICES, body)
        assert any("Service web is headless" in text for text in await one.texts(Level.PROBLEM))


async def test_a_namespace_without_any_mesh_proxy_is_a_problem_for_a_split_and_for_nothing_else() -> None:
    async with patient() as one:
        one.install(proxy=None)
        assert any("no pod in namespace shop carries a mesh proxy" in text for text in await one.texts(Level.PROBLEM))
        assert await one.texts(Level.PROBLEM, target_plan(route=pod_ratio_route())) == []


async def test_a_native_sidecar_is_a_proxy_too() -> None:
    async with patient() as one:
        one.install(proxy=None)
        one.storage.discard(PODS, "shop", "web-1")
        one.storage.discard(DEPLOYMENTS, "shop", "web")
        one.add_pod("web-2", proxy="linkerd-proxy", native=True)
        assert not any("mesh proxy" in text for text in await one.texts(Level.PROBLEM))


async def test_pods_that_were_forgotten_by_the_injection_are_counted() -> None:
    async with patient() as one:
        one.install()
        one.add_pod("bare", proxy=None)
        assert any("carry no mesh proxy: " in text and "bare" in text for text in await one.texts(Level.WARNING))


async def test_another_split_of_the_same_root_is_a_problem() -> None:
    async with patient() as one:
        one.install()
        backends = [{"service": "web", "weight": 1}]
        one.create("TrafficSplit", {"metadata": {"name": "theirs"}, "spec": {"service": "web", "backends": backends}})
        assert any(text.startswith("TrafficSplit theirs splits web already") for text in await one.texts(Level.PROBLEM))


# --- Linkerd -----------------------------------------------------------------------------------------------------------


async def test_the_extension_watches_the_first_version_only() -> None:
    async with patient(versions=("v1alpha2", "v1alpha4"), linkerd=True) as one:
        one.install()
        problems = await one.texts(Level.PROBLEM)
        assert any("watches TrafficSplit v1alpha1, and the cluster serves only" in text for text in problems)


async def test_a_missing_extension_is_a_warning() -> None:
    async with patient(linkerd=True) as one:
        one.install()
        assert any("SMI extension was not found" in text for text in await one.texts(Level.WARNING))


async def test_a_profile_that_is_to_be_skipped_makes_a_split_void() -> None:
    async with patient(linkerd=True) as one:
        one.install()
        one.create("ServiceProfile", {"metadata": {"name": PROFILE, "annotations": {"smi.linkerd.io/skip": "true"}}, "spec": {}})
        assert any(f"ServiceProfile {PROFILE} has the annotation" in text for text in await one.texts(Level.PROBLEM))


async def test_overrides_written_by_hand_stand_in_the_way() -> None:
    async with patient(linkerd=True) as one:
        one.install()
        overrides = [{"authority": PROFILE, "weight": 1}]
        one.create("ServiceProfile", {"metadata": {"name": PROFILE}, "spec": {"dstOverrides": overrides}})
        assert any("has dstOverrides" in text for text in await one.texts(Level.PROBLEM))


async def test_the_profile_of_another_service_is_none_of_our_business() -> None:
    async with patient(linkerd=True) as one:
        one.install()
        name = "web-api.shop.svc.cluster.local"
        one.create("ServiceProfile", {"metadata": {"name": name, "annotations": {"smi.linkerd.io/skip": "true"}}, "spec": {}})
        assert await one.texts(Level.PROBLEM) == []


async def test_an_empty_profile_is_told_of_because_it_outranks_routes() -> None:
    async with patient(linkerd=True) as one:
        one.install()
        one.create("ServiceProfile", {"metadata": {"name": PROFILE}, "spec": {}})
        assert any(f"ServiceProfile {PROFILE} says nothing" in text for text in await one.texts(Level.NOTE))


async def test_linkerd_knows_no_matches() -> None:
    async with patient(versions=("v1alpha1", "v1alpha4"), linkerd=True) as one:
        one.install()
        told = await one.texts(Level.PROBLEM, target_plan(route=smi_route(matches=["beta"])))
        assert any("knows no matches" in text for text in told)


@pytest.mark.parametrize(
    ("versions", "there", "level", "expected"),
    [
        (("v1alpha2",), False, Level.PROBLEM, "matches (beta) need TrafficSplit v1alpha3 or later, and the"),
        (("v1alpha4",), False, Level.PROBLEM, "there is no HTTPRouteGroup beta in namespace shop"),
        (("v1alpha4",), True, Level.NOTE, "requests that match none of beta go to Service web, which selects the pods of both"),
    ],
    ids=["a version without matches", "no such group", "all is there"],
)
async def test_what_limits_a_split_is_looked_for(versions: tuple[str, ...], there: bool, level: Level, expected: str) -> None:
    async with patient(versions=versions) as one:
        one.install()
        if there:
            one.create("HTTPRouteGroup", {"metadata": {"name": "beta"}, "spec": {"matches": []}})
        told = await one.texts(level, target_plan(route=smi_route(matches=["beta"])))
        assert any(expected in text for text in told), told


async def test_with_linkerd_the_role_holds_what_its_profiles_need() -> None:
    async with patient(linkerd=True) as one:
        (role,) = (await one.examination.roles([PLAN]))["embedded"]
        profiles = [rule["verbs"] for rule in role["rules"] if rule["resources"] == ["serviceprofiles"]]
        assert profiles == [["list", "watch", "patch", "delete"]]
    async with patient() as one:
        (role,) = (await one.examination.roles([PLAN]))["embedded"]
        assert "serviceprofiles" not in str(role)
