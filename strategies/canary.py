"""Canaries and blue/green as what the engine asks of a strategy. Pure; it orders, it does not act.

Both are the same procedures: what differs is what a weight can be (`engine.traffic.RouterKind`) and which steps there are between
the first and the last. `strategies.forward` and `strategies.back` tell what each state does, `strategies.keeping` what is kept up
meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from engine.model import Act, Operation, RolloutSpec, Snapshot, State
from engine.observation import Observation
from strategies import keeping
from strategies.back import abort, restore
from strategies.forward import finalise, prepare, promote, scale, shift
from strategies.stand import Stand

_EXPANSIONS: dict[State, Callable[[Stand], Iterator[Operation]]] = {
    State.PREPARING: prepare,
    State.SCALING: scale,
    State.SHIFTING: shift,
    State.PROMOTING: promote,
    State.FINALISING: finalise,
    State.ABORTING: abort,
    State.RESTORING: restore,
}


class CanaryStrategy:
    """Implements `engine.ports.Strategy`."""

    def expand(self, spec: RolloutSpec, snapshot: Snapshot, state: State) -> tuple[Operation, ...]:
        expansion = _EXPANSIONS.get(state)
        return tuple(expansion(Stand(spec, snapshot))) if expansion is not None else ()

    def follow(self, spec: RolloutSpec, snapshot: Snapshot, observation: Observation) -> Act | None:
        return keeping.follow(Stand(spec, snapshot), observation)

    def mend(self, spec: RolloutSpec, snapshot: Snapshot, observation: Observation) -> Act | None:
        return keeping.mend(Stand(spec, snapshot), observation)

    def reassert(self, spec: RolloutSpec, snapshot: Snapshot, observation: Observation) -> Act | None:
        return keeping.reassert(Stand(spec, snapshot), observation)

    def drift(self, spec: RolloutSpec, snapshot: Snapshot, observation: Observation) -> str:
        return keeping.drift(Stand(spec, snapshot), observation)

    def skips_steps(self, spec: RolloutSpec, snapshot: Snapshot) -> bool:
        return not any(True for _ in Stand(spec, snapshot).canaried())
