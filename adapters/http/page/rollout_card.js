// One rollout as a card: where it stands, what it waits for, its steps and its share of the traffic.

import { element, setChildren, setClass, setNote, setText } from "./elements.js";
import { Orders } from "./orders.js";
import { setTime, timeElement } from "./times.js";
import { describeDeadline, describeState, describeStateName, describeTimer, hasEnded, percent } from "./words.js";

const MARKS = { done: "✓", current: "▶", stopped: "✕", ahead: "·", skipped: "–" };

export class RolloutCard {
  constructor(rollout, release, { api, caller }) {
    this.release = release;
    this.state = element("span", "pill");
    this.since = timeElement("since", "dim");
    this.doing = element("p", "doing");
    this.gates = element("ul", "gates", { "aria-label": "Conditions" });
    this.gateRows = new Map();
    this.timers = element("ul", "timers");
    this.timerRows = new Map();
    this.held = new Notice("Held");
    this.parked = new Notice("Parked");
    this.asks = new Notice("Who may answer");
    this.reason = new Notice("Why", "bad");
    this.weight = new WeightBar();
    this.beside = element("p", "doing");
    this.steps = rollout.steps.map(() => new StepRow());
    this.orders = new Orders(api, caller, rollout.target);
    const after = rollout.dependsOn.length ? `after ${rollout.dependsOn.join(", ")}` : "";
    this.root = element(
      "section",
      "panel card",
      { "aria-label": `Target ${rollout.target}` },
      element("div", "heading", {}, element("h2", "", {}, rollout.target), this.state, this.since),
      element(
        "p",
        "facts",
        {},
        element("span", "", {}, `${rollout.account} / ${rollout.namespace}`),
        after && element("span", "", {}, after),
        ...rollout.workloads.map((workload) => describeWorkload(workload)),
      ),
      element(
        "div",
        "halves",
        {},
        element(
          "div",
          "now",
          {},
          this.doing,
          this.gates,
          this.timers,
          this.parked.root,
          this.held.root,
          this.reason.root,
          this.asks.root,
          this.weight.root,
          this.beside,
          this.orders.root,
        ),
        this.steps.length > 0 ? element("ol", "steps", { "aria-label": "Steps" }, ...this.steps.map((row) => row.root)) : null,
      ),
    );
  }

  update(rollout) {
    const [word, tone] = describeState(rollout);
    setClass(this.root, `panel card ${tone}`);
    setText(this.state, word);
    setClass(this.state, `pill ${tone}`);
    setTime(this.since, rollout.since, hasEnded(rollout) ? "ago" : "since");
    setNote(this.doing, rollout.doing);
    this.#drawGates(rollout);
    this.#drawTimers(rollout);
    this.held.tell(hasEnded(rollout) ? "" : rollout.held);
    const parked = rollout.parked;
    this.parked.tell(parked ? `while ${describeStateName(parked.state)}: ${parked.error}` : "");
    this.reason.tell(rollout.reason);
    this.asks.tell(rollout.awaitsAnswer && isLoneStep(rollout.gates) ? rollout.roles.join(" or ") : "");
    this.weight.update(rollout.weight);
    setNote(this.beside, rollout.beside && `And to the new version whatever the weight: ${rollout.beside}`);
    rollout.steps.forEach((step, index) => this.steps[index].update(step));
    this.orders.update({
      release: this.release.id,
      target: rollout.target,
      orders: rollout.orders,
      step: rollout.step,
      what: describePlace(rollout),
      gates: rollout.gates.filter((gate) => gate.awaitsAnswer),
      awaitsAnswer: rollout.awaitsAnswer,
      roles: rollout.roles,
    });
  }

  /** Several conditions at once are shown each by itself; a lone step is in the list of steps. */
  #drawGates(rollout) {
    const gates = hasEnded(rollout) || isLoneStep(rollout.gates) ? [] : rollout.gates;
    const rows = gates.map((gate) => {
      if (!this.gateRows.has(gate.id)) this.gateRows.set(gate.id, new GateRow());
      const row = this.gateRows.get(gate.id);
      row.update(gate);
      return row.root;
    });
    setChildren(this.gates, rows);
    this.gates.hidden = rows.length === 0;
  }

  #drawTimers(rollout) {
    const due = hasEnded(rollout) ? [] : [...deadlinesOf(rollout)];
    const rows = due.map(({ name, label, at }) => {
      if (!this.timerRows.has(name)) this.timerRows.set(name, new TimerRow());
      const row = this.timerRows.get(name);
      row.update(label, at);
      return row.root;
    });
    setChildren(this.timers, rows);
    this.timers.hidden = rows.length === 0;
  }
}

function isLoneStep(gates) {
  return gates.length === 1 && /^step:\d+$/.test(gates[0].id);
}

/** The deadlines that are not with a condition of their own. */
function* deadlinesOf(rollout) {
  const [gate] = rollout.gates;
  if (isLoneStep(rollout.gates) && !gate.passed && deadlineOf(gate)) {
    yield { name: gate.id, label: describeDeadline(gate), at: deadlineOf(gate) };
  }
  const ids = rollout.gates.map(({ id }) => id);
  for (const [name, at] of Object.entries(rollout.timers)) {
    if (!ids.includes(name)) yield { name, label: describeTimer(name), at };
  }
}

function deadlineOf(gate) {
  return gate.awaitsAnswer ? gate.expires : gate.due;
}

class GateRow {
  constructor() {
    this.mark = element("span", "mark", { "aria-hidden": "true" });
    this.kind = element("span", "kind");
    this.text = element("span");
    this.note = element("span", "note");
    this.timer = new TimerRow("span");
    const texts = element("span", "", {}, this.kind, " ", this.text, " ", this.note, " ", this.timer.root);
    this.root = element("li", "", {}, this.mark, texts);
  }

  update(gate) {
    const at = gate.passed ? null : deadlineOf(gate);
    const place = /^(before|after|background)/.exec(gate.id)?.[0];
    setText(this.mark, gate.passed ? MARKS.done : gate.awaitsAnswer ? "?" : MARKS.current);
    setText(this.kind, place ? `${place}: ${gate.kind}` : gate.kind);
    setText(this.text, gate.text);
    setText(this.note, gate.note);
    setClass(this.root, gate.passed ? "done" : gate.awaitsAnswer ? "ask" : "");
    this.timer.root.hidden = !at;
    if (at) this.timer.update(describeDeadline(gate), at);
  }
}

class TimerRow {
  constructor(tag = "li") {
    this.label = element("span", "dim");
    this.time = timeElement("left");
    this.root = element(tag, "", {}, this.label, " ", this.time);
  }

  update(label, instant) {
    setText(this.label, label);
    setTime(this.time, instant);
  }
}

/** A labelled sentence that is only there when there is something to say. */
class Notice {
  constructor(label, tone = "") {
    this.text = element("span");
    this.root = element("p", `notice ${tone}`, { hidden: true }, element("strong", "", {}, label), " ", this.text);
  }

  tell(text) {
    setText(this.text, text);
    this.root.hidden = !text;
  }
}

class WeightBar {
  constructor() {
    this.served = element("div", "served");
    this.asked = element("div", "asked");
    this.text = element("p", "weights");
    this.bar = element("div", "bar", { "aria-hidden": "true" }, this.served, this.asked);
    this.root = element("div", "weight", {}, this.text, this.bar);
  }

  update({ asked, served }) {
    this.served.style.width = `${served}%`;
    this.asked.style.left = `${asked}%`;
    this.asked.hidden = asked === served;
    setText(this.text, `New version: ${percent(served)} served` + (asked === served ? "" : `, ${percent(asked)} asked`));
  }
}

class StepRow {
  constructor() {
    this.mark = element("span", "mark", { "aria-hidden": "true" });
    this.number = element("span", "number");
    this.kind = element("span", "kind");
    this.text = element("span");
    this.note = element("span", "note");
    this.standing = element("span", "unseen");
    this.root = element(
      "li",
      "",
      {},
      this.mark,
      this.number,
      element("span", "", {}, this.standing, this.kind, " ", this.text, " ", this.note),
    );
  }

  update(step) {
    setText(this.mark, MARKS[step.standing] ?? "");
    setText(this.standing, `${step.standing}: `);
    setText(this.number, String(step.number));
    setText(this.kind, step.kind);
    setText(this.text, step.text);
    setText(this.note, step.note);
    setClass(this.root, step.standing);
    if (step.standing === "current") this.root.setAttribute("aria-current", "step");
    else this.root.removeAttribute("aria-current");
  }
}

function describeWorkload({ name, images, imagesBefore }) {
  const before = new Map(imagesBefore.map((image) => [repositoryOf(image), image]));
  const changes = images.map((image) => {
    const repository = repositoryOf(image);
    const old = before.get(repository);
    return old && old !== image ? `${old} → ${image.slice(repository.length + 1)}` : image;
  });
  return element("span", "mono", { title: `Deployment ${name}` }, changes.join(", ") || name);
}

/** An image's name without its tag or digest; a colon before a slash is that of a port. */
function repositoryOf(image) {
  return image.replace(/(:[^/:@]+)?(@[^@]+)?$/, "");
}

/** The step as an order names it, such as `step 3 of 5, pause until approved`; where there is none, nothing. */
function describePlace(rollout) {
  const step = rollout.steps[rollout.step - 1];
  return step ? `step ${step.number} of ${rollout.steps.length}, ${step.kind} ${step.text}` : "";
}
