"""Whether a caller may give an order to every target that it would reach; otherwise it is refused whole, and nothing begins.

The refusal names the right that is missing, and what the caller may do instead. Targets that the caller may not even see are
counted, not named.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from adapters.access import TargetKey, Verb
from adapters.http.bodies import ErrorCode
from adapters.http.failures import ApiFailure
from adapters.http.identity import Caller
from adapters.http.sight import key_of
from engine.errors import NotFound
from engine.events import CommandKind
from engine.model import FINAL_STATES, Release, ReleasePlan, State
from engine.ports import StoredRollout


def require_deploy(caller: Caller, plan: ReleasePlan) -> None:
    """Raises `ApiFailure`."""
    keys = [TargetKey(plan.application, target.target, target.account) for target in plan.targets]
    # Who sends a file knows what is in it, so that there is nothing to keep from them.
    _require(caller, Verb.DEPLOY, plan.application, keys, unseen=0)


def require_displacement(caller: Caller, displaced: Sequence[StoredRollout]) -> None:
    """Taking the place of releases puts them back, so it needs the right to. Raises `ApiFailure`."""
    missing = [stored for stored in displaced if not caller.may(Verb.ABORT, key_of(stored))]
    if not missing:
        return
    seen = [key_of(stored) for stored in missing if caller.may(Verb.READ, key_of(stored))]
    names = _named(seen, unseen=len(missing) - len(seen))
    message = (
        f"this release would take the place of another one, and the token {caller.name} may not {Verb.ABORT} that on {names}; "
        "wait for it, or ask somebody who may; nothing was changed"
    )
    raise ApiFailure(ErrorCode.FORBIDDEN, message)


def require_order(
    caller: Caller, kind: CommandKind, release: Release, rollouts: Sequence[StoredRollout], target: str | None
) -> None:
    """For one target, or for all that have not ended. Raises `ApiFailure`, and `NotFound` for a target that is not there."""
    under_way = [stored for stored in rollouts if stored.snapshot.state not in FINAL_STATES]
    _require_on(caller, Verb(kind.value), release, rollouts, under_way, [target] if target is not None else [])


def require_rollback(
    caller: Caller, release: Release, rollouts: Sequence[StoredRollout], targets: Collection[str]
) -> None:
    """For these targets, or for all that succeeded. Raises `ApiFailure`, and `NotFound` for a target that is not there."""
    completed = [stored for stored in rollouts if stored.snapshot.state is State.SUCCEEDED]
    _require_on(caller, Verb.ROLLBACK, release, rollouts, completed, targets)


def require_retry(caller: Caller, release: Release, rollouts: Sequence[StoredRollout], targets: Collection[str]) -> None:
    """For these targets, or for all that did not succeed. Raises `ApiFailure`, and `NotFound` for a target that is not there."""
    left = [stored for stored in rollouts if stored.snapshot.state is not State.SUCCEEDED]
    _require_on(caller, Verb.RETRY, release, rollouts, left, targets)


def _require_on(
    caller: Caller,
    verb: Verb,
    release: Release,
    rollouts: Sequence[StoredRollout],
    usual: Sequence[StoredRollout],
    named: Collection[str],
) -> None:
    """`usual` is what the order reaches when no targets are named; where that is nothing, the right to give it is needed
    all the same."""
    seen = [stored.spec.plan.target for stored in rollouts if caller.may(Verb.READ, key_of(stored))]
    for target in named:
        if target not in seen:
            raise NotFound(f"release {release.id} has no target {target[:80]}; it has {', '.join(seen)}")
    reached = [stored for stored in rollouts if stored.spec.plan.target in named] if named else usual or rollouts
    keys = [key_of(stored) for stored in reached if stored.spec.plan.target in seen]
    _require(caller, verb, release.application, keys, unseen=len(reached) - len(keys))


def _require(caller: Caller, verb: Verb, application: str, keys: Sequence[TargetKey], *, unseen: int) -> None:
    missing = [key for key in keys if not caller.may(verb, key)]
    if not missing and not unseen:
        return
    allowed = [key.target for key in keys if caller.may(verb, key)]
    what = f"the token {caller.name} may not {verb} {application} on {_named(missing, unseen=unseen)}"
    instead = f"; it may on {_joined(allowed)}: name only what it may, with --target" if allowed else ""
    raise ApiFailure(ErrorCode.FORBIDDEN, f"{what}{instead}; nothing was changed")


def _named(keys: Sequence[TargetKey], *, unseen: int) -> str:
    names = [f"{key.target} (account {key.account})" for key in keys]
    if unseen:
        names.append(f"{unseen} {'target' if unseen == 1 else 'targets'} that it may not see")
    return _joined(names)


def _joined(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
