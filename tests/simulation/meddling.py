"""Somebody else who edits the cluster: with good reasons, or none."""

from __future__ import annotations

from adapters.embedded.autoscaler_controller import DESIRED
from adapters.embedded.errors import ApiError
from adapters.embedded.json_objects import JsonObject
from adapters.embedded.resources import DEPLOYMENTS, HORIZONTAL_POD_AUTOSCALERS, SERVICES
from tests.simulation.cluster import NAMESPACE, SimulatedCluster
from tests.simulation.dice import Dice, Trouble

_ROUTED = ("TrafficSplit", "VirtualService", "DestinationRule", "Ingress", "TraefikService", "WeightedRoute", "HTTPRoute")
MOST_RESTARTS = 4
"""Of one Deployment during its hand-overs: one that is held there for an hour is not restarted a hundred times."""


class Meddler:
    def __init__(self, cluster: SimulatedCluster, dice: Dice) -> None:
        self._cluster = cluster
        self._random = dice.of(Trouble.MEDDLING)
        self._scaling = dice.of(Trouble.SCALING)
        self.has_meddled = False
        self._restarts = 0
        self._labelled: set[tuple[str, str, str]] = set()

    def lost(self) -> list[str]:
        """Labels that were put on objects that are still there, and are not."""
        lost = []
        for kind, name, uid in sorted(self._labelled):
            body = self._cluster.storage.peek(self._cluster.kind(kind), NAMESPACE, name)
            if body is not None and body["metadata"]["uid"] == uid and "team" not in (body["metadata"].get("labels") or {}):
                lost.append(f"the label of {kind} {name}")
        return lost

    def scale(self) -> str:
        """Somebody sets another number of replicas, or an autoscaler does. Returns what was done."""
        self.has_meddled = True
        count = self._scaling.randint(1, 6)
        scaler = self._cluster.storage.find(HORIZONTAL_POD_AUTOSCALERS, NAMESPACE, "web")
        if scaler is not None:
            scaler["metadata"].setdefault("annotations", {})[DESIRED] = str(count)
            self._cluster.storage.update(HORIZONTAL_POD_AUTOSCALERS, scaler, manager="somebody")
            return f"the autoscaler of Deployment web wants {count} pods"
        body = self._cluster.storage.get(DEPLOYMENTS, NAMESPACE, "web")
        body["spec"]["replicas"] = count
        self._cluster.storage.update(DEPLOYMENTS, body, manager="somebody")
        return f"Deployment web is scaled to {body['spec']['replicas']}"

    def meddle(self) -> str:
        self.has_meddled = True
        do = self._random.choice(
            [self._put_label, self._edit_weights, self._remove_ours, self.restart, self._edit_selector]
        )
        try:
            return do()
        except ApiError as error:
            return f"refused: {error}"

    def _put_label(self) -> str:
        bodies = [one for kind in self._cluster.kinds for one in self._cluster.storage.list(kind, NAMESPACE)]
        body = self._random.choice(bodies)
        body["metadata"].setdefault("labels", {})["team"] = "shop"
        self._cluster.storage.update(self._cluster.kind(body["kind"]), body, manager="somebody")
        self._labelled.add((body["kind"], body["metadata"]["name"], body["metadata"]["uid"]))
        return f"a label on {body['kind']} {body['metadata']['name']}"

    def restart(self) -> str:
        if self._restarts == MOST_RESTARTS:
            return "nothing"
        self._restarts += 1
        self.has_meddled = True
        body = self._cluster.storage.get(DEPLOYMENTS, NAMESPACE, "web")
        annotations = body["spec"]["template"]["metadata"].setdefault("annotations", {})
        annotations["kubectl.kubernetes.io/restartedAt"] = str(self._random.random())
        self._cluster.storage.update(DEPLOYMENTS, body, manager="kubectl-rollout")
        return "kubectl rollout restart"

    def _edit_weights(self) -> str:
        edited = []
        for kind in self._cluster.kinds:
            if kind.kind not in _ROUTED:
                continue
            for body in self._cluster.storage.list(kind, NAMESPACE):
                if _set_weights(body, self._random.randint(1, 99)):
                    self._cluster.storage.update(kind, body, manager="somebody")
                    edited.append(kind.kind)
        return f"other weights in {edited}"

    def _remove_ours(self) -> str:
        ours = [
            (kind, body["metadata"]["name"])
            for kind in self._cluster.kinds
            for body in self._cluster.storage.list(kind, NAMESPACE)
            if "headgate.dev/rollout" in (body["metadata"].get("annotations") or {}) and kind != DEPLOYMENTS
        ]
        if not ours:
            return "nothing"
        kind, name = self._random.choice(ours)
        self._cluster.storage.delete(kind, NAMESPACE, name)
        return f"{kind.kind} {name} is deleted"

    def _edit_selector(self) -> str:
        body = self._random.choice(self._cluster.storage.list(SERVICES, NAMESPACE))
        body["spec"]["selector"].pop("pod-template-hash", None)
        self._cluster.storage.update(SERVICES, body, manager="somebody")
        return f"Service {body['metadata']['name']} selects by {body['spec']['selector']}"


def _set_weights(body: JsonObject, weight: int) -> bool:
    spec = body["spec"]
    match body["kind"]:
        case "TrafficSplit":
            entries = spec.get("backends") or []
        case "VirtualService":
            entries = spec["http"][-1]["route"]
        case "TraefikService":
            entries = spec["weighted"]["services"]
        case "HTTPRoute":
            entries = spec["rules"][0]["backendRefs"]
        case "WeightedRoute":
            entries = spec["backends"]
        case _:
            return False
    if len(entries) < 2:
        return False
    entries[0]["weight"], entries[1]["weight"] = 100 - weight, weight
    return True
