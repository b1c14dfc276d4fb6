// The API's words as people read them, and the tone in which they are shown. An unknown word is shown as it is: a newer
// daemon may have states that this page has never heard of.

/** Tones: `calm` (nothing to do), `busy` (at work), `ask` (a person is needed), `good`, `bad`. */
const STATUSES = {
  QUEUED: ["queued", "calm"],
  RUNNING: ["running", "busy"],
  PAUSED: ["held", "ask"],
  AWAITING_APPROVAL: ["awaits an answer", "ask"],
  SUCCEEDED: ["succeeded", "good"],
  FAILED: ["failed", "bad"],
  REJECTED: ["rejected", "bad"],
  CANCELLED: ["cancelled", "calm"],
};

const STATES = {
  waiting: ["waiting", "calm"],
  preparing: ["preparing", "busy"],
  scaling: ["scaling", "busy"],
  shifting: ["shifting traffic", "busy"],
  pausing: ["pausing", "busy"],
  approving: ["awaits an answer", "ask"],
  analysing: ["analysing", "busy"],
  calling: ["calling a webhook", "busy"],
  exposing: ["exposing", "busy"],
  gating: ["awaits conditions", "busy"],
  promoting: ["promoting", "busy"],
  finalising: ["finalising", "busy"],
  verifying: ["verifying", "busy"],
  succeeded: ["succeeded", "good"],
  failed: ["failed", "bad"],
  parked: ["parked", "bad"],
  aborting: ["aborting", "bad"],
  restoring: ["restoring", "bad"],
  rolled_back: ["rolled back", "bad"],
  cancelled: ["cancelled", "calm"],
  rejected: ["rejected", "bad"],
};

const FINAL_STATUSES = ["SUCCEEDED", "FAILED", "REJECTED", "CANCELLED"];
const FINAL_STATES = ["succeeded", "failed", "rolled_back", "cancelled", "rejected"];

export const STATUS_NAMES = Object.keys(STATUSES);

export function describeStatus(status) {
  return STATUSES[status] ?? [plain(status), "calm"];
}

/** Of a rollout: a hold, and a verdict that a person has to judge, say more than the state. */
export function describeState(rollout) {
  if (hasEnded(rollout) || rollout.state === "parked") return STATES[rollout.state];
  if (rollout.held) return ["held", "ask"];
  if (rollout.awaitsAnswer) return ["awaits an answer", "ask"];
  return STATES[rollout.state] ?? [plain(rollout.state), "busy"];
}

export function describeStateName(state) {
  return (STATES[state] ?? [plain(state)])[0];
}

export function isOver(release) {
  return FINAL_STATUSES.includes(release.status);
}

export function hasEnded(rollout) {
  return FINAL_STATES.includes(rollout.state);
}

export function percent(weight) {
  return `${Number(weight.toFixed(2))} %`;
}

/** What the deadline of a condition means. */
export function describeDeadline(gate) {
  if (gate.awaitsAnswer) return "the question expires";
  return { pause: "the pause ends", analysis: "next measurement" }[gate.kind] ?? "has to end by then";
}

/** What a running timer of the rollout's own work means. */
export function describeTimer(name) {
  switch (name) {
    case "wait":
      return "waits at most";
    case "retry":
      return "tried again";
    case "health":
      return "undone if it stays unhealthy";
    case "rest":
      return "rests, as the API server was away";
    default:
      return plain(name);
  }
}

function plain(word) {
  return word.toLowerCase().replaceAll("_", " ");
}
