"""The environment of a test program: what it may know of the rollout, as variables. Pure.

It gets no variable of the daemon beside the few that any program needs: the daemon's environment holds its secrets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from adapters.hooks.templates import rollout_variables
from engine.model import RolloutSpec, RunCommand, Snapshot

PREFIX = "HEADGATE_"
_PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR")
_NAMES = {
    "armory.applicationName": "APPLICATION",
    "armory.deploymentId": "RELEASE",
    "armory.environmentName": "TARGET",
    "armory.accountName": "ACCOUNT",
    "armory.namespace": "NAMESPACE",
    "armory.replicaSetName": "REPLICA_SET",
}
_SCOPES = {"context.": "CONTEXT_", "armory.preview.": "PREVIEW_"}


def passed_on(daemon: Mapping[str, str]) -> dict[str, str]:
    """What a program has from the daemon's own environment."""
    return {name: daemon[name] for name in _PASSED_ON if name in daemon}


def told(spec: RolloutSpec, snapshot: Snapshot, step: RunCommand, gate: str) -> dict[str, str]:
    """What a program is told of the rollout. The idempotency key is the same when it has to be started again after a crash."""
    variables = {f"{PREFIX}IDEMPOTENCY_KEY": f"{quote(spec.id)}/{gate}", f"{PREFIX}ROLLOUT": spec.id}
    for name, value in rollout_variables(spec, snapshot, step.context).items():
        if (variable := _variable(name)) is not None:
            variables[PREFIX + variable] = value
    return variables


def _variable(name: str) -> str | None:
    for scope, prefix in _SCOPES.items():
        if name.startswith(scope):
            return prefix + re.sub(r"[^A-Za-z0-9]", "_", name.removeprefix(scope)).upper()
    return _NAMES.get(name)
