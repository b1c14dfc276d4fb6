"""One cluster of a story: the application that is live there, who follows its traffic, who meddles with it, and what must be true
of it in the end."""

from __future__ import annotations

from adapters.embedded.json_objects import JsonObject
from engine.model import FINAL_STATES, RolloutSpec, Snapshot, State
from engine.traffic import FULL_WEIGHT
from tests.engine.troubled_world import Broken, Judge
from tests.simulation.cluster import Place, Routing, SimulatedCluster
from tests.simulation.dice import Dice, Trouble
from tests.simulation.meddling import Meddler
from tests.simulation.outside import image_planned
from tests.simulation.traffic import TrafficOracle

FIRST_VERSION = "web:1"
LAGGING = {Trouble.SLOW, Trouble.LOST, Trouble.WATCHES, Trouble.PARTITION, Trouble.MEDDLING, Trouble.KILLS}
"""With these, a daemon may know for minutes what is not so any more."""


class Scene:
    def __init__(self, place: Place, cluster: SimulatedCluster, judge: Judge, dice: Dice, *, settle_seconds: float) -> None:
        self.place = place
        self.cluster = cluster
        self.meddler = Meddler(cluster, dice)
        self._judge = judge
        lag = float("inf") if dice.troubles & LAGGING else 10.0
        self.oracle = TrafficOracle(cluster, self._allowed_share, settle_seconds=settle_seconds, lag_seconds=lag)
        self.oracle.pods_may_fail = bool(dice.troubles & {Trouble.PODS, Trouble.MEDDLING, Trouble.SCALING})
        self.oracle.counts_pods = not self.oracle.pods_may_fail
        self._before = cluster.picture()

    def become_calm(self) -> None:
        self.cluster.network.calm = self.cluster.pods.calm = True
        self.cluster.network.cut_until = 0.0

    def judge_the_end(self) -> None:
        self.oracle.pods_may_fail = False
        self.oracle.look("in the end")
        if self.oracle.violations:
            raise self._broken("; ".join(self.oracle.violations[:5]))
        serving, found = self._serving(), self.cluster.picture()
        if self.cluster.image() != serving:
            raise self._broken(f"{serving} ought to serve, and the Deployment has {self.cluster.image()}")
        if lost := self.meddler.lost():
            raise self._broken(f"what somebody else has written is gone: {lost}")
        if not self.meddler.has_meddled:
            self._compare(found, promoted=serving != FIRST_VERSION)
        kept = () if serving == FIRST_VERSION else ("Deployment/", "ReplicaSet/")
        left = [one for one in self.cluster.ours() if not one.startswith(kept)]
        if left:
            raise self._broken(f"of ours there is still {left}")

    def _compare(self, found: dict[str, JsonObject], *, promoted: bool) -> None:
        theirs = {name: body for name, body in self._before.items() if not (promoted and name.startswith("Deployment/"))}
        now = {name: body for name, body in found.items() if not (promoted and name.startswith("Deployment/"))}
        if now != theirs:
            names = sorted(name for name in theirs.keys() | now.keys() if theirs.get(name) != now.get(name))
            told = "; ".join(f"{name}: {theirs.get(name)} -> {now.get(name)}" for name in names[:2])
            raise self._broken(f"not as before: {told}")

    def _broken(self, text: str) -> Broken:
        return Broken(f"{self.place.target}: {text}")

    def _rollouts(self) -> list[tuple[RolloutSpec, Snapshot]]:
        """In the order in which their releases were accepted, which is the one in which they are carried out."""
        known = [(self._judge.specs[rollout], at) for rollout, at in self._judge.snapshots.items()]
        here = [(spec, at) for spec, at in known if spec.plan.account == self.place.account]
        return sorted(here, key=lambda one: int(one[0].release.removeprefix("r")))

    def _serving(self) -> str:
        """The version that the last rollout has left serving."""
        serving = FIRST_VERSION
        for spec, snapshot in self._rollouts():
            stays = snapshot.state is State.FAILED and snapshot.weight == FULL_WEIGHT
            if snapshot.state is State.SUCCEEDED or stays:
                serving = image_planned(spec)
        return serving

    def _allowed_share(self, image: str) -> float:
        if image == self._serving():
            return 1.0
        most = 0.0
        for spec, snapshot in self._rollouts():
            if image_planned(spec) == image and snapshot.state not in FINAL_STATES:
                has_routes = self.place.routing is not Routing.POD_RATIO
                most = max(most, max(snapshot.weight, snapshot.served) / FULL_WEIGHT if has_routes else 1.0)
        return most
