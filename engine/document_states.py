"""Prints the first part of `docs/states.md`, from the table in `engine.machine`. The second one is what was found by going
through everything that small plans can come to; both are written by `python -m tests.engine.exploration_page`."""

from __future__ import annotations

import sys

from engine.machine import EDGES, draw_mermaid
from engine.model import FINAL_STATES, State

_MEANING = {
    State.WAITING: "accepted; waits for the targets that it depends on",
    State.PREPARING: "looks at everything first, then applies manifests, freezes the Deployment, makes the split at 100/0",
    State.SCALING: "the pods of the new version come up and become available",
    State.SHIFTING: "a `setWeight` step: the weight is written and read back",
    State.PAUSING: "a timed `pause` step",
    State.APPROVING: "a `pause` with `untilApproved`: waits for a person",
    State.ANALYSING: "an `analysis` step: measures, then judges",
    State.CALLING: "a `runWebhook` step: calls, and waits for the call back",
    State.EXPOSING: "an `exposeServices` step",
    State.GATING: "several conditions at the same time, as in blue/green; all must hold",
    State.PROMOTING: "all traffic on the new version, read back, settled; the tested pods become the Deployment's own",
    State.FINALISING: "auxiliary objects are removed; the rest of the declaration is applied",
    State.VERIFYING: "what is to be checked after the deployment",
    State.SUCCEEDED: "the new version is the only one, as declared",
    State.FAILED: "a condition before the deployment failed and nothing was deployed, or one after it and the new version serves",
    State.PARKED: "an error that nobody foresaw: traffic stays where it is; `headgate resume` or `headgate abort`",
    State.ABORTING: "traffic goes back to the stable version, whatever else fails",
    State.RESTORING: "the new version and everything that was made for it is removed; what was changed is put back",
    State.ROLLED_BACK: "everything is as it was found",
    State.CANCELLED: "ended before it began",
    State.REJECTED: "the first look showed that it cannot be done; nothing was changed",
}


def render() -> str:
    lines = [
        "# The states of a rollout",
        "",
        f"{len(State)} states ({len(FINAL_STATES)} of them final) and {len(EDGES)} ways between them. Generated from",
        "`engine/machine.py` by `python -m engine.document_states`; a test keeps it current.",
        "",
        "```mermaid",
        draw_mermaid().rstrip(),
        "```",
        "",
        "| state | what happens in it |",
        "|---|---|",
        *(f"| `{state}` | {_MEANING[state]} |" for state in State),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(render())
