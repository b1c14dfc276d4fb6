"""What a story is about: an application behind some router, its releases, and who has what to say about them. All from a seed."""

from __future__ import annotations

from random import Random

from msgspec.structs import replace

from engine.model import (
    Analysis,
    Approval,
    ConcurrencyPolicy,
    Freeze,
    GateStep,
    OnDrift,
    OnFailure,
    Parallel,
    Pause,
    ReleasePlan,
    Step,
    TargetPlan,
    Webhook,
)
from engine.traffic import FULL_WEIGHT, SetHeaderRoute, SetMirror
from strategies.blue_green import compile_switch
from tests.builders import error_rate, header_route, percent, release_plan, target_plan, watched
from tests.simulation.cluster import MIRRORED, NAMESPACE, ROUTES, SINGLED_OUT, SWITCHES, Place, Routing
from tests.simulation.dice import Dice, Trouble
from tests.simulation.pods import BROKEN

_WEIGHTS = (1, 5, 10, 25, 33, 50, 75, 99, 100)


class Plot:
    def __init__(self, dice: Dice, routing: Routing | None = None) -> None:
        random = dice.of("plot")
        self.places = [_draw_place(random, "embedded", "production", routing)]
        if random.random() < 0.2:
            self.places.append(_draw_place(random, "abroad", "elsewhere", routing))
        self._depends = random.random() < 0.5
        most = 3 if dice.has(Trouble.RELEASES) else 1
        self.versions = [_draw_version(random, number) for number in range(2, 2 + random.randint(1, most))]
        self.plans = [self._draw_plan(random, image) for image, _ in self.versions]

    def error_rate(self, image: str) -> float:
        return dict(self.versions).get(image, 0.0)

    def _draw_plan(self, random: Random, image: str) -> ReleasePlan:
        targets = [self._draw_target(random, place, image) for place in self.places]
        return release_plan(*targets, concurrency=random.choice(list(ConcurrencyPolicy)))

    def _draw_target(self, random: Random, place: Place, image: str) -> TargetPlan:
        steps = draw_switch(random) if place.routing in SWITCHES else draw_steps(random, place.routing)
        plan = target_plan(
            steps,
            target=place.target,
            account=place.account,
            namespace=NAMESPACE,
            image=image,
            replicas=place.replicas,
            routes=ROUTES[place.routing],
            depends_on=[self.places[0].target] if self._depends and place is not self.places[0] else [],
            ready_timeout=random.choice([60.0, 300.0]),
            settle=random.choice([0.0, 1.0, 5.0]),
            freeze=random.choice(list(Freeze)),
            before=draw_gates(random) if random.random() < 0.2 else [],
            after=draw_gates(random) if random.random() < 0.2 else [],
            on_failure=random.choice(list(OnFailure)),
            background=[watched(0.01)] if random.random() < 0.3 else [],
        )
        return replace(plan, on_drift=random.choice(list(OnDrift)))


def _draw_place(random: Random, account: str, target: str, routing: Routing | None) -> Place:
    drawn = random.choice(list(Routing))
    return Place(account, target, routing or drawn, random.choice([1, 2, 3, 3, 5]), autoscaled=random.random() < 0.3)


def _draw_version(random: Random, number: int) -> tuple[str, float]:
    """Its image, and its share of errors."""
    kind = random.choice(["good", "good", "good", "bad", "broken"])
    return (f"web{number}:{BROKEN}" if kind == "broken" else f"web:{number}", 0.5 if kind == "bad" else 0.0)


def draw_steps(random: Random, routing: Routing) -> list[Step]:
    steps: list[Step] = []
    weights = sorted(random.sample(_WEIGHTS, random.randint(0, 4)))
    if random.random() < 0.1:
        random.shuffle(weights)
    singled, mirrored = random.random() < 0.3 and routing in SINGLED_OUT, random.random() < 0.3 and routing in MIRRORED
    if singled:
        steps += [header_route(), _draw_step(random)]
    if mirrored:
        steps += [SetMirror(random.choice([100, 2_500, FULL_WEIGHT])), _draw_step(random)]
    for weight in weights:
        steps.append(percent(weight))
        if singled and random.random() < 0.3:
            steps.append(SetHeaderRoute("beta"))
            singled = False
        if mirrored and random.random() < 0.3:
            steps.append(SetMirror(0))
            mirrored = False
        if random.random() < 0.7:
            steps.append(_draw_step(random))
    return steps


def draw_switch(random: Random) -> tuple[Step, ...]:
    return compile_switch(draw_gates(random), draw_gates(random))


def draw_gates(random: Random) -> list[GateStep]:
    return [_draw_gate(random) for _ in range(random.randint(1, 2))]


def _draw_step(random: Random) -> Step:
    if random.random() < 0.15:
        return Parallel((_draw_gate(random), _draw_gate(random)))
    return _draw_gate(random)


def _draw_gate(random: Random) -> GateStep:
    match random.choice(["pause", "approval", "analysis", "analysis", "webhook"]):
        case "pause":
            return Pause(random.choice([1.0, 20.0, 120.0]))
        case "approval":
            return Approval(expires_seconds=random.choice([None, 900.0]))
        case "webhook":
            return Webhook("smoke", "POST", "https://ci.example.com", callback=random.random() < 0.7, timeout_seconds=600.0)
    return _draw_analysis(random)


def _draw_analysis(random: Random) -> Analysis:
    return error_rate(runs=random.randint(1, 3), interval=random.choice([5.0, 20.0]))

