// One release, live: its targets in their order, what each is doing, and the journal of all of them.

import { element, setChildren, setClass, setNote, setText } from "./elements.js";
import { Journal } from "./journal.js";
import { EVERYBODY, Orders } from "./orders.js";
import { RolloutCard } from "./rollout_card.js";
import { setTime, timeElement } from "./times.js";
import { watch } from "./watch.js";
import { describeState, describeStatus, hasEnded, isOver } from "./words.js";

const ORDERS_TO_ALL = ["pause", "resume", "abort"];

/** Shows the release in `main` until the returned function is called. */
export function showRelease(main, context, wanted) {
  const { api, caller, tellLiveness } = context;
  const over = new AbortController();
  const cards = new Map();
  let release = null;
  let rollouts = [];
  let wasOffered = false;

  const name = element("span");
  const status = element("span", "pill");
  const description = element("p", "dim");
  const origin = element("p", "facts");
  const begun = timeElement("ago");
  const reason = element("p", "");
  const problem = element("p", "problem", { role: "alert", hidden: true });
  const stages = element("ol", "stages", { "aria-label": "Order of the targets" });
  const grid = element("div", "cards");
  const journal = new Journal();
  const afterwards = new Orders(api, caller, "release");
  const notOffered = element("p", "dim", { hidden: true });
  const toAll = new Orders(api, caller, EVERYBODY);
  main.append(
    element("nav", "", { "aria-label": "Way back" }, element("a", "", { href: "#/" }, "← Releases")),
    element("div", "heading", {}, element("h1", "", { tabindex: "-1" }, name), status),
    description,
    origin,
    reason,
    problem,
    stages,
    toAll.root,
    afterwards.root,
    notOffered,
    grid,
    journal.root,
  );

  function draw() {
    const [word, tone] = describeStatus(release.status);
    document.title = `${word} · ${release.application} · Headgate`;
    setText(name, release.application);
    setText(status, word);
    setClass(status, `pill ${tone}`);
    setNote(description, release.description);
    // A lone target says it itself.
    setNote(reason, rollouts.length > 1 ? release.reason : "");
    setClass(reason, `reason ${tone}`);
    if (!origin.hasChildNodes()) drawOrigin();
    const staged = inOrder(rollouts);
    setChildren(
      grid,
      staged.map(({ rollout }) => cardOf(rollout).root),
    );
    drawStages(staged);
    drawOrdersToAll();
    offerMore();
    journal.setTargets(rollouts.map((rollout) => rollout.target));
  }

  function drawOrigin() {
    setTime(begun, release.createdAt);
    origin.append(
      element("span", "mono", {}, release.id),
      element("span", "", {}, release.source),
      element("span", "", {}, `by ${release.createdBy}`),
      begun,
    );
    for (const [words, id] of [
      ["takes back", release.rollbackOf],
      ["tries again", release.retryOf],
    ]) {
      const link = id && element("a", "mono", { href: `#/releases/${encodeURIComponent(id)}` }, id);
      if (link) origin.append(element("span", "", {}, `${words} `, link));
    }
  }

  function cardOf(rollout) {
    let card = cards.get(rollout.id);
    if (card === undefined) {
      card = new RolloutCard(rollout, release, context);
      cards.set(rollout.id, card);
    }
    card.update(rollout);
    return card;
  }

  /** A row of stages, when there is an order to show: targets of one stage go at the same time. */
  function drawStages(staged) {
    stages.hidden = !rollouts.some((rollout) => rollout.dependsOn.length > 0);
    if (stages.hidden) return;
    const depths = [...new Set(staged.map(({ depth }) => depth))];
    stages.replaceChildren(
      ...depths.map((depth) =>
        element("li", "", {}, ...staged.filter((one) => one.depth === depth).map(({ rollout }) => chip(rollout))),
      ),
    );
  }

  function chip(rollout) {
    const [word, tone] = describeState(rollout);
    return element("span", `chip ${tone}`, { title: word }, rollout.target, element("span", "dim", {}, ` ${word}`));
  }

  /** One click for all of them, where there is more than one left. */
  function drawOrdersToAll() {
    const left = rollouts.filter((rollout) => !hasEnded(rollout));
    const possible = ORDERS_TO_ALL.filter((kind) => left.some((rollout) => rollout.orders.includes(kind)));
    toAll.update(left.length > 1 ? { release: release.id, target: null, orders: possible, step: null, what: "" } : null);
  }

  /** Once, when the release has ended: what succeeded may be taken back, and what did not may be tried again. */
  async function offerMore() {
    if (!isOver(release) || wasOffered) return;
    wasOffered = true;
    try {
      const offers = await api.get(`v1/releases/${encodeURIComponent(release.id)}/offers`, over.signal);
      const orders = Object.keys(offers).filter((kind) => offers[kind].possible);
      const refused = release.status === "SUCCEEDED" ? offers.rollback : offers.retry;
      setNote(notOffered, caller.mayOrder ? refused.message : "");
      afterwards.update({ release: release.id, target: null, orders, step: null, what: "" });
    } catch (error) {
      if (!over.signal.aborted) setNote(notOffered, `What could be done next is not known: ${error.message}`);
    }
  }

  async function readJournal() {
    try {
      journal.add((await api.get(`v1/releases/${encodeURIComponent(wanted)}/journal`, over.signal)).entries);
    } catch (error) {
      if (!over.signal.aborted) setNote(problem, `The journal could not be read: ${error.message}`);
    }
  }

  const stop = watch(api, `v1/releases/${encodeURIComponent(wanted)}/watch`, {
    onLine(line) {
      if (line.type === "snapshot") {
        release = line.detail.release;
        rollouts = line.detail.rollouts;
        setNote(problem, "");
        readJournal();
      } else if (line.type === "entry") {
        rollouts = rollouts.map((rollout) => (rollout.id === line.rollout.id ? line.rollout : rollout));
        journal.add([line.entry]);
      } else if (line.type === "release") {
        release = line.release;
      }
      draw();
    },
    onLiveness: (told) => tellLiveness(told.state === "ended" && !isOver(release) ? null : told),
    onRefused: (error) => setNote(problem, error.message),
  });
  return () => {
    over.abort();
    stop();
  };
}

/** The rollouts with how many others have to succeed before each, the first ones first. */
function inOrder(rollouts) {
  const byTarget = new Map(rollouts.map((rollout) => [rollout.target, rollout]));
  const depths = new Map();
  function depthOf(target) {
    if (!depths.has(target)) {
      const needed = byTarget.get(target)?.dependsOn ?? [];
      depths.set(target, 0);
      depths.set(target, needed.length ? 1 + Math.max(...needed.map(depthOf)) : 0);
    }
    return depths.get(target);
  }
  return rollouts.map((rollout) => ({ rollout, depth: depthOf(rollout.target) })).sort((one, other) => one.depth - other.depth);
}
