// The journal of a release, the newest entry first. Entries may come twice and out of order: their numbers sort them.

import { element, setNote, setText } from "./elements.js";
import { clockTime, setTime, timeElement } from "./times.js";
import { describeStateName, percent } from "./words.js";

const MACHINERY = ["next: ", "done: ", "waiting at most "]; // How the clauses about single actions begin.

export class Journal {
  constructor() {
    this.entries = new Map();
    this.list = element("ol", "journal");
    this.empty = element("p", "dim", {}, "Nothing has happened yet.");
    this.everything = element("input", "", { type: "checkbox", id: "everything" });
    this.everything.addEventListener("change", () => this.list.classList.toggle("everything", this.everything.checked));
    this.target = element("select", "", { id: "journal-target" });
    this.target.addEventListener("change", () => this.#filter());
    this.choice = element("label", "", { for: "journal-target", hidden: true }, "Target ", this.target);
    this.root = element(
      "section",
      "panel",
      { "aria-label": "Journal" },
      element(
        "div",
        "heading",
        {},
        element("h2", "", {}, "Journal"),
        this.choice,
        element("label", "", { for: "everything" }, this.everything, " every single action"),
      ),
      this.empty,
      this.list,
    );
  }

  setTargets(targets) {
    this.choice.hidden = targets.length < 2;
    this.list.classList.toggle("single", targets.length < 2);
    if (this.target.options.length === targets.length + 1) return;
    const chosen = this.target.value;
    this.target.replaceChildren(
      element("option", "", { value: "" }, "all"),
      ...targets.map((target) => element("option", "", { value: target }, target)),
    );
    this.target.value = chosen;
  }

  add(entries) {
    for (const entry of entries) {
      const key = `${entry.rollout} ${entry.seq}`;
      if (this.entries.has(key)) continue;
      const row = makeRow(entry);
      this.entries.set(key, { entry, row });
      row.hidden = this.target.value !== "" && this.target.value !== entry.target;
      this.list.insertBefore(row, this.#after(entry));
    }
    this.empty.hidden = this.entries.size > 0;
  }

  /** The row that the entry's row comes before: the first one that is older. */
  #after(entry) {
    for (const row of this.list.children) if (row.dataset.sort < sortKey(entry)) return row;
    return null;
  }

  #filter() {
    for (const { entry, row } of this.entries.values()) {
      row.hidden = this.target.value !== "" && this.target.value !== entry.target;
    }
  }
}

function sortKey(entry) {
  return `${new Date(entry.at).toISOString()} ${entry.at} ${String(entry.seq).padStart(9, "0")}`;
}

function makeRow(entry) {
  const ago = timeElement("ago", "dim");
  setTime(ago, entry.at);
  const at = element("span", "mono", { title: ago.title }, clockTime(entry.at));
  const moved = element("span", "moved");
  setNote(moved, entry.source === entry.destination ? "" : `→ ${describeStateName(entry.destination)}`);
  const share = element("span", "share mono dim");
  setText(share, entry.weight ? percent(entry.weight.served) : "");
  const brief = briefly(entry);
  const isWhole = brief === entry.text;
  const text = isWhole
    ? element("span", "text", {}, brief)
    : element("span", "text", {}, element("span", "brief", {}, brief), element("span", "full", {}, entry.text));
  if (entry.output) {
    text.append(element("details", "", {}, element("summary", "", {}, "output"), element("pre", "mono", {}, entry.output)));
  }
  const isMachinery = !brief && moved.hidden;
  const place = element("span", "place", {}, element("strong", "", {}, entry.target), moved);
  return element(
    "li",
    isMachinery ? "machinery" : isByPerson(entry) ? "person" : "",
    { "data-sort": sortKey(entry) },
    element("span", "when", {}, at, " ", ago),
    place,
    share,
    text,
  );
}

/** The text without the single actions. What people say is left whole, whatever it looks like. */
function briefly(entry) {
  if (isByPerson(entry)) return entry.text;
  const clauses = entry.text.split("; ");
  return clauses.filter((clause) => !MACHINERY.some((beginning) => clause.startsWith(beginning))).join("; ");
}

function isByPerson(entry) {
  return entry.event.startsWith("command") || entry.event === "callback" || entry.event === "started";
}
