"""The logs of pods: what a simulated container has printed is written in an annotation of its pod. Pure.

    embedded.headgate.dev/log   the text; without it, one line that says which container of which pod it is
"""

from __future__ import annotations

from collections.abc import Mapping

from adapters.embedded.errors import BadRequest
from adapters.embedded.json_objects import JsonObject, name_of
from adapters.embedded.pods import setting


def log_of(pod: JsonObject, query: Mapping[str, str]) -> bytes:
    """Raises `BadRequest` where no container is meant, or the one that is has not been started."""
    container = _container(pod, query.get("container", ""))
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    state = next((one["state"] for one in statuses if one["name"] == container), {"waiting": {"reason": "ContainerCreating"}})
    if waiting := state.get("waiting"):
        why = waiting.get("reason", "ContainerCreating")
        raise BadRequest(f'container "{container}" in pod "{name_of(pod)}" is waiting to start: {why}')
    text = setting(pod, "log") or f"{container} of {name_of(pod)}"
    lines = text.rstrip("\n").split("\n")
    wanted = query.get("tailLines", "")
    if wanted.isdecimal():
        lines = lines[-int(wanted) :] if int(wanted) else []
    return "".join(f"{line}\n" for line in lines).encode()


def _container(pod: JsonObject, wanted: str) -> str:
    names = [one["name"] for one in pod["spec"]["containers"]]
    if wanted:
        if wanted not in names:
            raise BadRequest(f"container {wanted} is not valid for pod {name_of(pod)}")
        return wanted
    if len(names) > 1:
        raise BadRequest(f"a container name must be specified for pod {name_of(pod)}, choose one of: [{' '.join(names)}]")
    return str(names[0])
