"""While a rollout is undone, what cannot be done for one workload gives way to what can be done for the others.

Pure. The procedure of an undo is one list, in the order that is right for each workload; between workloads there is no order.
So where a router refuses, or an old version does not come back, the rest of that workload's operations go behind those of the
others, up to the next operation that is about all of them. Nothing is left out, and the order within a workload stays, but for
weights that stand next to each other: of several routes to one workload, none waits for another one's router.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.model import Act, ActionKind, Await, Operation, TargetPlan

PATIENCE = 4
"""Failed attempts before an action gives way: for 2 to 4 seconds in all."""


def give_way(
    plan: TargetPlan, procedure: tuple[Operation, ...], cursor: int, is_ready: Callable[[Operation], bool]
) -> tuple[Operation, ...] | None:
    """The procedure in which another workload's operations come next, one whose first of them `is_ready`; None where there is
    none."""
    stuck = _workload_of(plan, procedure[cursor])
    if not stuck:
        return None
    end = cursor
    while end < len(procedure) and _workload_of(plan, procedure[end]):
        end += 1
    block = procedure[cursor:end]
    chosen = _first_ready(plan, block, stuck, is_ready)
    if not chosen:
        return _after_other_routes(procedure, cursor, is_ready)

    def rank(operation: Operation) -> int:
        return {chosen: 0, stuck: 2}.get(_workload_of(plan, operation), 1)

    return (*procedure[:cursor], *sorted(block, key=rank), *procedure[end:])


def _after_other_routes(
    procedure: tuple[Operation, ...], cursor: int, is_ready: Callable[[Operation], bool]
) -> tuple[Operation, ...] | None:
    """The write of a weight behind those that directly follow it, if the next of them can be made."""
    end = cursor
    while end < len(procedure) and _writes_weight(procedure[end]):
        end += 1
    if end - cursor < 2 or not is_ready(procedure[cursor + 1]):
        return None
    return (*procedure[:cursor], *procedure[cursor + 1 : end], procedure[cursor], *procedure[end:])


def _writes_weight(operation: Operation) -> bool:
    return isinstance(operation, Act) and operation.kind is ActionKind.SET_WEIGHT


def _first_ready(
    plan: TargetPlan, block: tuple[Operation, ...], stuck: str, is_ready: Callable[[Operation], bool]
) -> str:
    first = {_workload_of(plan, operation): operation for operation in reversed(block)}
    return next((name for name, operation in reversed(first.items()) if name != stuck and is_ready(operation)), "")


def _workload_of(plan: TargetPlan, operation: Operation) -> str:
    """The workload that an operation is about; empty for what is about all of them."""
    by_route = {route.name: route.workload for route in plan.routes}
    match operation:
        case Act():
            return str(operation.args.get("workload") or by_route.get(str(operation.args.get("route")), ""))
        case Await():
            names = {workload.name for workload in plan.workloads}
            return by_route.get(operation.subject) or (operation.subject if operation.subject in names else "")
        case _:
            return ""
