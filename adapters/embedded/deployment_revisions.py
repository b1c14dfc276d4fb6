"""The notes that the Deployment controller keeps in annotations: revisions, their history, and the sizes asked for. Pure.

A Deployment's own annotations are copied to its newest ReplicaSet, so that `kubectl rollout undo` can bring them back.
"""

from __future__ import annotations

from collections.abc import Iterable

from adapters.embedded.json_objects import JsonObject, metadata_of

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MOST = "deployment.kubernetes.io/max-replicas"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
ROLLBACK_TO = "deprecated.deployment.rollback.to"

LONGEST_HISTORY = 2000
"""Characters; the oldest revisions are forgotten first."""

_OWN = frozenset({LAST_APPLIED, REVISION, REVISION_HISTORY, DESIRED, MOST, ROLLBACK_TO})
_MOST_PODS = 2**31 - 1


def annotations_of(obj: JsonObject) -> dict[str, str]:
    return metadata_of(obj).get("annotations") or {}


def count_in(replica_set: JsonObject, name: str) -> int | None:
    """The number of pods that an annotation says; None where it says none."""
    text = annotations_of(replica_set).get(name, "")
    if not (text.isascii() and text.isdigit()) or int(text) > _MOST_PODS:
        return None
    return int(text)


def revision_of(replica_set: JsonObject) -> int | None:
    """0 where there is none, None where it is no number."""
    text = annotations_of(replica_set).get(REVISION, "")
    if not text:
        return 0
    try:
        return int(text)
    except ValueError:
        return None


def next_revision(old: Iterable[JsonObject]) -> int:
    return max((revision_of(one) or 0 for one in old), default=0) + 1


def size_notes(replicas: int, surge: int) -> dict[str, str]:
    return {DESIRED: str(replicas), MOST: str(replicas + surge)}


def copied_from(deployment: JsonObject) -> dict[str, str]:
    return {name: value for name, value in annotations_of(deployment).items() if name not in _OWN}


def noted(deployment: JsonObject, new: JsonObject, revision: int) -> dict[str, str]:
    """The annotations of the newest ReplicaSet: the Deployment's own, and the revision, which never falls."""
    before = revision_of(new)
    if before is None:
        return annotations_of(new)
    notes = annotations_of(new) | copied_from(deployment)
    if before >= revision:
        return notes
    if REVISION in notes:
        notes[REVISION_HISTORY] = _history(notes.get(REVISION_HISTORY, ""), notes[REVISION])
    return notes | {REVISION: str(revision)}


def _history(before: str, revision: str) -> str:
    kept = [one for one in before.split(",") if one]
    while kept and len(",".join([*kept, revision])) > LONGEST_HISTORY:
        kept.pop(0)
    return ",".join([*kept, revision])
