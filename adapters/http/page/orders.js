// The orders to a rollout (or to all of a release): a button for each that the API says is possible, and a form that asks
// for the reason. What was asked for is fixed when the form opens: an order that comes late is refused by the daemon and
// never meets another step.

import { Refused } from "./api.js";
import { element, setChildren, setNote, setText } from "./elements.js";

/** In the order of their buttons. `bound`: only for the step that was shown. */
const KINDS = {
  approve: { label: "Approve", tone: "primary", bound: true, asks: "The rollout goes on." },
  reject: { label: "Reject", tone: "danger", bound: true, asks: "The rollout is undone: all traffic goes back to the old version." },
  resume: { label: "Resume", tone: "primary", bound: true, asks: "The rollout goes on from where it is." },
  promote: { label: "Promote", tone: "", bound: true, asks: "It goes to the end without the pauses and weights on the way; conditions hold all the same." },
  skip: { label: "Skip", tone: "", bound: true, asks: "What is waited for now counts as passed." },
  retry: { label: "Retry", tone: "", bound: true, asks: "The targets that did not succeed are rolled out once more." },
  pause: { label: "Pause", tone: "", bound: false, asks: "The rollout stays where it is; traffic stays as it is." },
  rollback: { label: "Roll back", tone: "danger", bound: true, asks: "The version before serves again." },
  abort: { label: "Abort", tone: "danger", bound: false, asks: "All traffic goes back to the old version, and everything is put back as it was." },
};
/** What follows a release that has ended is a release of its own. */
const AFTERWARDS = ["rollback", "retry"];
const ANSWERS = ["approve", "reject", "skip"];

/** The name of all targets of a release together. */
export const EVERYBODY = "all targets";

function describe(kind) {
  return KINDS[kind] ?? { label: kind[0].toUpperCase() + kind.slice(1), tone: "", bound: true, asks: "" };
}

export class Orders {
  constructor(api, caller, name) {
    this.api = api;
    this.caller = caller;
    this.name = name;
    this.buttons = new Map();
    this.state = null;
    this.form = null;
    this.isUnderWay = false;
    this.row = element("div", "buttons");
    this.barred = element("p", "dim", { hidden: true });
    this.slot = element("div");
    this.said = element("p", "said", { role: "status", hidden: true });
    this.root = element("div", "orders", { tabindex: "-1", "aria-label": `Orders to ${name}`, role: "group", hidden: true });
    // One of several orders of the same name is told apart by whom it goes to.
    this.suffix = name === EVERYBODY ? " all" : "";
    this.root.append(this.row, this.barred, this.slot, this.said);
  }

  /** `state` is `{release, target, orders, step, what, awaitsAnswer, roles, gates}`; null when nothing can be ordered. */
  update(state) {
    this.state = state;
    const orders = state?.orders ?? [];
    const order = Object.keys(KINDS);
    const sorted = [...orders].sort((one, other) => order.indexOf(one) - order.indexOf(other));
    const hadFocus = this.row.contains(document.activeElement);
    const barred = this.#barred();
    setChildren(
      this.row,
      sorted.map((kind) => this.#button(kind)),
    );
    setNote(this.barred, barred);
    this.row.hidden = sorted.length === 0;
    // The focus of a button that went away stays here rather than at the beginning of the page.
    if (hadFocus && !this.row.contains(document.activeElement)) this.root.focus();
    this.form?.tellPlace(state);
    this.root.hidden = sorted.length === 0 && this.form === null && this.said.hidden && !barred;
  }

  /** Why there is no button to answer with, for one who gives orders otherwise. */
  #barred() {
    const { awaitsAnswer = false, orders = [], roles = [] } = this.state ?? {};
    if (!this.caller.mayOrder || !awaitsAnswer || ANSWERS.some((kind) => orders.includes(kind))) return "";
    return `${this.caller.name} may not answer here${roles.length > 0 ? `: it takes ${roles.join(" or ")}` : ""}.`;
  }

  #button(kind) {
    let button = this.buttons.get(kind);
    if (button === undefined) {
      const { label, tone } = describe(kind);
      button = element("button", tone, { type: "button", "data-order": kind }, `${label}${this.suffix}`);
      button.addEventListener("click", () => this.#ask(kind));
      this.buttons.set(kind, button);
    }
    // While something is being asked, something else may still be ordered: an abort must not wait for a form.
    button.disabled = this.isUnderWay;
    button.setAttribute("aria-expanded", String(this.form?.kind === kind));
    return button;
  }

  #ask(kind) {
    setNote(this.said, "");
    this.form = new OrderForm(kind, this.state, this.name, {
      send: (body) => this.#send(kind, body),
      close: () => this.#close(kind),
    });
    this.slot.replaceChildren(this.form.root);
    this.update(this.state);
    this.form.focus();
  }

  async #send(kind, body) {
    this.#setUnderWay(true);
    try {
      await this.#post(kind, body);
    } finally {
      this.#setUnderWay(false);
    }
    this.#close(kind);
  }

  #setUnderWay(isUnderWay) {
    this.isUnderWay = isUnderWay;
    this.update(this.state);
  }

  async #post(kind, body) {
    const { release, target, expectedStep, reason, gate } = body;
    const address = `v1/releases/${encodeURIComponent(release)}`;
    if (AFTERWARDS.includes(kind)) {
      const accepted = await this.api.post(`${address}/${kind}`, { reason });
      location.hash = `#/releases/${encodeURIComponent(accepted.release.id)}`;
      return;
    }
    const taken = await this.api.post(`${address}/commands`, { kind, target, expectedStep, reason, gate });
    setNote(this.said, `${describe(kind).label}: taken by ${taken.targets.join(", ")}.`);
  }

  #close(kind) {
    const hadFocus = this.slot.contains(document.activeElement) || document.activeElement === document.body;
    this.form = null;
    this.slot.replaceChildren();
    this.update(this.state);
    if (!hadFocus) return;
    const button = this.buttons.get(kind);
    if (button?.isConnected && !button.disabled && !this.row.hidden) button.focus();
    else this.root.focus();
  }
}

class OrderForm {
  constructor(kind, state, name, { send, close }) {
    const { label, tone, bound, asks } = describe(kind);
    const where = bound && state.what ? `, ${state.what}` : "";
    this.kind = kind;
    this.bound = bound;
    this.asked = { release: state.release, target: state.target, expectedStep: bound ? state.step : null };
    this.label = label;
    this.gate = element("select", "", {}, element("option", "", { value: "" }, "all that wait for an answer"));
    const questions = ANSWERS.includes(kind) ? (state.gates ?? []) : [];
    this.gate.append(...questions.map((gate) => element("option", "", { value: gate.id }, `${gate.kind} ${gate.text}`)));
    this.moved = element("p", "notice", { hidden: true });
    this.problem = element("p", "problem", { role: "alert", hidden: true });
    this.reason = element("input", "", { type: "text", maxlength: "1000", autocomplete: "off", "aria-label": "Reason" });
    this.submit = element("button", tone, { type: "submit" }, `${label} ${name}`);
    this.cancel = element("button", "quiet", { type: "button" }, "Cancel");
    const title = element("p", "", {}, element("strong", "", {}, `${label} ${name}${where}?`), ` ${asks}`);
    this.root = element(
      "form",
      "order",
      { "data-form": kind },
      title,
      questions.length > 1 ? element("label", "", {}, "Which one", this.gate) : null,
      element("label", "", {}, "Reason, for the journal (may be empty)", this.reason),
      this.moved,
      element("div", "buttons", {}, this.submit, this.cancel),
      this.problem,
    );
    this.root.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#order(send);
    });
    this.root.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && !this.submit.disabled) close();
    });
    this.cancel.addEventListener("click", close);
  }

  focus() {
    this.reason.focus();
  }

  /** Says when the rollout has left the step that this form is about. The daemon would refuse it in any case. */
  tellPlace(state) {
    const moved = this.bound && this.asked.expectedStep !== (state?.step ?? null);
    setNote(this.moved, moved ? "The rollout has left this step since you opened this." : "");
  }

  async #order(send) {
    if (this.submit.disabled) return;
    setNote(this.problem, "");
    const text = this.submit.textContent;
    this.#setUnderWay(true, `${this.label}…`);
    try {
      await send({ ...this.asked, gate: this.gate.value || null, reason: this.reason.value.trim() });
    } catch (error) {
      const sentence = error instanceof Refused ? error.message : `${error.message}; whether the order arrived is not known`;
      setNote(this.problem, sentence);
    } finally {
      this.#setUnderWay(false, text);
    }
  }

  #setUnderWay(underWay, text) {
    this.root.setAttribute("aria-busy", String(underWay));
    this.submit.disabled = underWay;
    this.cancel.disabled = underWay;
    this.reason.readOnly = underWay;
    setText(this.submit, text);
  }
}
