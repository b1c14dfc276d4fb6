"""An application behind Linkerd: its ServiceProfile, the extension that makes one of a split, and a stage with both."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from adapters.embedded.history import EventType, StorageEvent
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.linkerd_smi import LinkerdSmi
from adapters.embedded.resources import Resource
from engine.events import Command, CommandKind
from engine.model import Approval, Snapshot, State, Step
from engine.traffic import RoutePlan
from tests.builders import percent, release_plan, smi_route, target_plan
from tests.rollouts.stage import Stage, stage

PROFILE = "web.shop.svc.cluster.local"
LINKERD_VERSIONS = ("v1alpha1", "v1alpha2")
ROLLOUT = "r1.production"
ROUTES = {"routes": [{"name": "GET /", "condition": {"method": "GET", "pathRegex": "/"}}], "retryBudget": {"retryRatio": 0.2}}


def overrides(**weights: int) -> list[JsonObject]:
    """By the last part of the Services' names: `stable=90, canary=10`."""
    return [{"authority": f"web-{side}.shop.svc.cluster.local", "weight": weight} for side, weight in weights.items()]


class Linkerd:
    """A stage with Linkerd on it. Every share that the profile ever gave to the canary is kept."""

    def __init__(self, told: Stage) -> None:
        assert told.embedded.linkerd is not None
        self.told = told
        self.extension: LinkerdSmi = told.embedded.linkerd
        self.history: list[tuple[int, ...] | None] = []
        """The weights of the overrides, each time they changed; None while there are none."""
        told.storage.subscribe(self._notice)

    def _notice(self, event: StorageEvent) -> None:
        if event.resource.kind != "ServiceProfile" or event.object["metadata"]["name"] != PROFILE:
            return
        found = (event.object.get("spec") or {}).get("dstOverrides") if event.type is not EventType.DELETED else None
        weights = tuple(int(one["weight"]) for one in found) if found else None
        if self.history[-1:] != [weights]:
            self.history.append(weights)

    @property
    def kind(self) -> Resource:
        return self.told.profiles[0]

    def add(self, spec: JsonObject, *, name: str = PROFILE, annotations: dict[str, str] | None = None) -> None:
        metadata = {"name": name, "namespace": "shop"} | ({"annotations": annotations} if annotations else {})
        body = {"apiVersion": self.kind.api_version, "kind": "ServiceProfile", "metadata": metadata, "spec": spec}
        self.told.storage.create(self.kind, body, manager="kubectl")

    def find(self) -> JsonObject | None:
        return self.told.storage.find(self.kind, "shop", PROFILE)

    def get(self) -> JsonObject:
        return self.told.storage.get(self.kind, "shop", PROFILE)

    def edit(self, overridden: list[JsonObject] | None) -> None:
        found = self.get()
        spec = {key: value for key, value in found["spec"].items() if key != "dstOverrides"}
        found["spec"] = {**spec, **({"dstOverrides": overridden} if overridden is not None else {})}
        self.told.storage.update(self.kind, found, manager="somebody")

    def letters(self) -> str:
        """The profile as it is to the letter, but for what every write counts and who wrote when."""
        found = self.get()
        metadata = {k: v for k, v in found["metadata"].items() if k not in ("resourceVersion", "generation", "managedFields")}
        return json.dumps({**found, "metadata": metadata}, sort_keys=True)

    @property
    def at(self) -> Snapshot:
        return self.told.journal.snapshots[ROLLOUT]

    def story(self) -> str:
        return "\n".join(entry.text for entry in self.told.journal.entries[ROLLOUT])

    def managers(self) -> set[str]:
        return {one["manager"] for one in self.get()["metadata"]["managedFields"]}

    async def begin(self, steps: Sequence[Step] = (), *, route: RoutePlan | None = None, **more: object) -> None:
        plan = target_plan(steps or [percent(25), Approval()], route=route or smi_route(), settle=0.05, **more)  # type: ignore[arg-type]
        await self.told.submit(release_plan(plan))

    async def order(self, kind: CommandKind) -> None:
        await self.told.engine.command("r1", Command(kind, by="ada"))

    async def until_asked(self) -> None:
        await self.told.until_state(State.APPROVING)


@asynccontextmanager
async def linkerd(path: Path, *, versions: Sequence[str] = LINKERD_VERSIONS) -> AsyncIterator[Linkerd]:
    async with stage(path, split_versions=versions, linkerd=True) as told:
        await told.live()
        yield Linkerd(told)
