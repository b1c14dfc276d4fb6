"""What random stories are made of: releases, their targets and conditions, rules, and orders, all drawn from a seed.

It draws and judges nothing. Each kind of trouble draws from a source of its own, so that one kind can be left out of a story
without changing the rest of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import time
from random import Random
from zoneinfo import ZoneInfo

from engine.admission import Limits, Window, Windows
from engine.daemon import AdmissionRules
from engine.events import Command, CommandKind
from engine.model import (
    Analysis,
    Approval,
    ConcurrencyPolicy,
    Expose,
    Freeze,
    GateStep,
    Lookback,
    Mode,
    NoDataPolicy,
    OnFailure,
    Parallel,
    Pause,
    Query,
    ReleasePlan,
    RunCommand,
    Step,
    TargetPlan,
    Webhook,
)
from engine.traffic import RoutePlan, SetHeaderRoute, SetMirror
from strategies.blue_green import compile_switch
from tests.builders import (
    header_match,
    istio_route,
    percent,
    pod_ratio_route,
    release_plan,
    service,
    service_route,
    smi_route,
    target_plan,
    together,
)

TROUBLES = ("faults", "pods", "drift", "measurements", "callbacks", "orders", "rules", "store", "kills", "crashes", "clock")
APPLICATIONS = ("shop", "mail")
TARGETS = ("staging", "production", "far")
ROLES = ("captain", "cook")


class Dice:
    """One source of randomness for each subject of a story; a trouble that is left out never happens."""

    def __init__(self, seed: int, without: Iterable[str] = ()) -> None:
        self._seed = seed
        self._without = frozenset(without)
        self._sources: dict[str, Random] = {}

    def of(self, subject: str) -> Random:
        if subject not in self._sources:
            self._sources[subject] = Random(f"{self._seed}/{subject}")
        return self._sources[subject]

    def has(self, trouble: str) -> bool:
        return trouble not in self._without

    def happens(self, trouble: str, chance: float) -> bool:
        return self.of(trouble).random() < chance and self.has(trouble)


# --- plans -------------------------------------------------------------------------------------------------------------


def draw_release(random: Random) -> ReleasePlan:
    application = random.choice(APPLICATIONS)
    names = TARGETS[: random.choice([1, 1, 1, 2, 3])]
    targets: list[TargetPlan] = []
    for name in names:
        depends_on = [one.target for one in targets if random.random() < 0.5]
        targets.append(_draw_target(random, application, name, depends_on))
    return release_plan(*targets, application=application, concurrency=random.choice(list(ConcurrencyPolicy)))


def _draw_target(random: Random, application: str, name: str, depends_on: list[str]) -> TargetPlan:
    kind = random.choice(["smi", "smi", "ratio", "istio", "switch", "mixed"])
    workloads = ["web", "api"] if kind == "mixed" or random.random() < 0.3 else ["web"]
    routes = [_draw_route(random, kind, workload) for workload in workloads]
    one, *others = (
        target_plan(
            _draw_steps(random, kind),
            target=name,
            account=random.choice(["east", "west"]),
            namespace=application,
            workload=workload,
            route=route,
            manifests=[service()] if random.random() < 0.2 else [],
            depends_on=depends_on,
            settle=random.choice([0.0, 1.0, 5.0]),
            freeze=random.choice(list(Freeze)),
            before=_draw_gates(random, 0.3),
            after=_draw_gates(random, 0.3),
            on_failure=random.choice(list(OnFailure)),
            background=[_draw_background(random)] if random.random() < 0.4 else [],
        )
        for workload, route in zip(workloads, routes, strict=True)
    )
    return together(one, *others) if others else one


def _draw_route(random: Random, kind: str, workload: str) -> RoutePlan:
    if kind == "mixed":
        kind = random.choice(["smi", "ratio", "istio"])
    match kind:
        case "ratio":
            return pod_ratio_route(workload)
        case "istio":
            return istio_route(workload, workload=workload, rule=workload)
        case "switch":
            return service_route(workload, random.choice(["", f"{workload}-next"]))
        case _:
            return smi_route(workload)


def _draw_steps(random: Random, kind: str) -> tuple[Step, ...]:
    if kind == "switch":
        return compile_switch(_draw_gates(random, 0.8), _draw_gates(random, 0.5))
    steps: list[Step] = []
    for _ in range(random.randint(0, 5)):
        if kind in ("smi", "istio") and random.random() < 0.25:
            steps.append(_draw_singling_out(random))
        elif random.random() < 0.45:
            steps.append(percent(random.choice([1, 10, 25, 50, 75, 100])))
        elif random.random() < 0.3:
            steps.append(Parallel(tuple(_draw_gate(random) for _ in range(random.randint(2, 3)))))
        else:
            steps.append(_draw_gate(random))
    return tuple(steps)


def _draw_singling_out(random: Random) -> Step:
    """The engine asks no router what it can do: that is asked before a file is accepted."""
    if random.random() < 0.3:
        return SetMirror(random.choice([0, 100, 10_000]))
    match = random.choice([header_match("x-user", "anna"), header_match("x-user", "ben")])
    return SetHeaderRoute(random.choice(["beta", "gamma"]), random.choice([(match,), (match,), ()]))


def _draw_gates(random: Random, chance: float) -> list[GateStep]:
    return [_draw_gate(random) for _ in range(random.randint(1, 3))] if random.random() < chance else []


def _draw_gate(random: Random) -> GateStep:
    match random.choice(["pause", "approval", "analysis", "webhook", "command", "expose"]):
        case "pause":
            return Pause(random.choice([1.0, 30.0, 120.0]))
        case "approval":
            expires = random.choice([None, 60.0, 900.0])
            remind = None if expires is None else random.choice([None, expires / 2])
            return Approval(random.choice([(), (ROLES[0],)]), expires, remind)
        case "analysis":
            return _draw_analysis(random)
        case "webhook":
            callback = random.random() < 0.7
            return Webhook("smoke", "POST", "https://ci.example.com", callback=callback, timeout_seconds=300.0)
        case "command":
            return RunCommand("smoke", timeout_seconds=random.choice([60.0, 600.0]))
        case _:
            return Expose(("web",))


def _draw_query(random: Random, name: str) -> Query:
    return Query(name, "metrics", name, upper=0.01, no_data=random.choice(list(NoDataPolicy)))


def _draw_analysis(random: Random) -> Analysis:
    names = ["errors", "latency"][: random.randint(1, 2)]
    return Analysis(
        tuple(_draw_query(random, name) for name in names),
        interval_seconds=random.choice([5.0, 20.0]),
        runs=random.randint(1, 4),
        lookback=random.choice(list(Lookback)),
        abort_on_failed=random.random() < 0.3,
        roll_back=random.choice(list(Mode)),
        roll_forward=random.choice([Mode.AUTOMATIC, Mode.AUTOMATIC, Mode.MANUAL]),
        patience_seconds=random.choice([20.0, 200.0]),
        failure_budget=random.choice([None, 0, 2]),
    )


def _draw_background(random: Random) -> Analysis:
    query = _draw_query(random, "errors")
    return Analysis((query,), interval_seconds=10.0, runs=0, patience_seconds=60.0, failure_budget=random.choice([0, 3, 10]))


# --- rules and orders --------------------------------------------------------------------------------------------------


def draw_rules(random: Random) -> AdmissionRules:
    limit = random.choice([None, 1, 2])
    accounts = {"east": 1} if random.random() < 0.3 else {}
    opens = time(random.choice([2, 3, 4]), random.choice([0, 10, 30]))
    windows = {"west": Windows((Window(opens, time(5), ZoneInfo("UTC")),))} if random.random() < 0.4 else {}
    return AdmissionRules(Limits(limit, accounts), windows)


def draw_order(random: Random, step: int, gate_ids: Iterable[str]) -> Command:
    """Any kind; mostly for what is waited for, sometimes for something else."""
    kinds = [*CommandKind, CommandKind.APPROVE, CommandKind.APPROVE, CommandKind.RESUME, CommandKind.RESUME, CommandKind.SKIP]
    expected = random.choice([None, None, step, step + random.randint(-1, 1)])
    gate = random.choice([None, None, *gate_ids])
    roles = random.choice([None, (), ROLES, (ROLES[1],)])
    return Command(random.choice(kinds), by="ada", expected_step=expected, gate=gate, roles=roles)
