// The list of releases, live: what goes on first, then the newest.

import { element, setChildren, setClass, setNote, setText } from "./elements.js";
import { setTime, timeElement } from "./times.js";
import { watch } from "./watch.js";
import { describeStatus, isOver, STATUS_NAMES } from "./words.js";

const FIRST_LIMIT = 100;
const MOST = 1000; // The daemon gives no more.
const UNFINISHED = "unfinished";

// Kept while the page lives: who comes back from a release finds the list as it was left.
const filter = { application: "", status: "" };

/** Shows the list in `main` until the returned function is called. */
export function showList(main, { api, tellLiveness }) {
  document.title = "Releases · Headgate";
  const releases = new Map();
  const rows = new Map();
  let limit = FIRST_LIMIT;
  let stop = () => {};

  const application = element("input", "", {
    type: "search",
    id: "application",
    placeholder: "all",
    autocomplete: "off",
    spellcheck: "false",
  });
  const status = element(
    "select",
    "",
    { id: "status" },
    element("option", "", { value: "" }, "all"),
    element("option", "", { value: UNFINISHED }, "not ended"),
    ...STATUS_NAMES.map((name) => element("option", "", { value: name }, describeStatus(name)[0])),
  );
  application.value = filter.application;
  status.value = filter.status;
  const body = element("tbody");
  const headings = ["Status", "Application", "Release", "Targets", "By", "Begun"];
  const table = element(
    "table",
    "releases",
    {},
    element("thead", "", {}, element("tr", "", {}, ...headings.map((name) => element("th", "", { scope: "col" }, name)))),
    body,
  );
  const count = element("p", "dim", { role: "status" });
  const problem = element("p", "problem", { role: "alert", hidden: true });
  const more = element("button", "quiet", { type: "button", hidden: true }, "Show older ones");
  main.append(
    element("h1", "", { tabindex: "-1" }, "Releases"),
    element(
      "div",
      "filters",
      {},
      element("label", "", { for: "application" }, "Application ", application),
      element("label", "", { for: "status" }, "Status ", status),
      count,
    ),
    problem,
    element("div", "scroll", {}, table),
    more,
  );

  function draw() {
    filter.application = application.value;
    filter.status = status.value;
    const all = [...releases.values()].sort(newestFirst);
    const wanted = all.filter(matches);
    setChildren(body, wanted.map(rowOf));
    table.hidden = wanted.length === 0;
    setText(count, describeCount(wanted.length, all.length));
    more.hidden = all.length < limit || limit >= MOST;
  }

  function rowOf(release) {
    let row = rows.get(release.id);
    if (row === undefined) {
      row = new Row(release);
      rows.set(release.id, row);
    }
    row.update(release);
    return row.root;
  }

  function read() {
    stop();
    stop = watch(api, `v1/watch?limit=${limit}`, {
      onLine(line) {
        if (line.type === "releases") {
          releases.clear();
          for (const release of line.releases) releases.set(release.id, release);
        } else if (line.type === "release") {
          releases.set(line.release.id, line.release);
        }
        draw();
      },
      onLiveness: tellLiveness,
      onRefused: (error) => setNote(problem, error.message),
    });
  }

  application.addEventListener("input", draw);
  status.addEventListener("change", draw);
  more.addEventListener("click", () => {
    limit = MOST;
    read();
  });
  setText(count, "Reading…");
  table.hidden = true;
  read();
  return () => stop();
}

class Row {
  constructor(release) {
    const address = `#/releases/${encodeURIComponent(release.id)}`;
    this.status = element("span", "pill");
    this.link = element("a", "", { href: address }, release.application);
    this.description = element("span", "dim");
    this.reason = element("span", "dim");
    this.begun = timeElement("ago");
    this.root = element(
      "tr",
      "",
      {},
      element("td", "", {}, this.status),
      element("td", "wide", {}, this.link, " ", this.description, this.reason),
      element("td", "mono nowrap", {}, release.id),
      element("td", "", {}, release.targets.join(", ")),
      element("td", "nowrap", {}, release.createdBy),
      element("td", "nowrap", {}, this.begun),
    );
    // The link is the way for keyboards and screen readers; for a pointer the whole row is one.
    this.root.addEventListener("click", (event) => {
      if (event.target.closest("a") === null && !getSelection().toString()) location.hash = address;
    });
    setTime(this.begun, release.createdAt);
  }

  update(release) {
    const [name, tone] = describeStatus(release.status);
    setText(this.status, name);
    setClass(this.status, `pill ${tone}`);
    setText(this.description, release.description);
    setNote(this.reason, release.reason);
    setClass(this.reason, `reason ${tone}`);
  }
}

function newestFirst(one, other) {
  return isOver(one) - isOver(other) || other.createdAt.localeCompare(one.createdAt);
}

function matches(release) {
  const named = release.application.toLowerCase().includes(filter.application.trim().toLowerCase());
  if (filter.status === UNFINISHED) return named && !isOver(release);
  return named && (filter.status === "" || release.status === filter.status);
}

function describeCount(shown, all) {
  if (all === 0) return "No releases yet. Begin one with: headgate deploy FILE";
  if (shown === all) return all === 1 ? "1 release" : `${all} releases`;
  return `${shown} of ${all} releases`;
}
