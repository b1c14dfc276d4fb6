// The page's beginning: who looks at it, which view the address asks for, and whether what is shown is live.

import { Api } from "./api.js";
import { element, setClass, setNote, setText } from "./elements.js";
import { showList } from "./release_list.js";
import { showRelease } from "./release_view.js";
import { showSignIn } from "./sign_in.js";
import { clockTime, startTicking } from "./times.js";

const main = document.getElementById("main");
const liveness = document.getElementById("liveness");
const callerName = document.getElementById("caller");
const signOut = document.getElementById("sign-out");

const api = new Api(leave);
let caller = null;
let stopView = () => {};
let shown = null;

/** The view of the address, or the sign-in form while nobody is known. */
async function show() {
  const route = location.hash;
  if (route === shown && caller !== null) return;
  const isFirst = shown === null;
  shown = route;
  stopView();
  stopView = () => {};
  tellLiveness(null);
  if (!api.hasToken) {
    leave("");
    return;
  }
  if (caller === null && !(await learnCaller())) return;
  if (shown !== route) return; // Somebody went on while the daemon was asked.
  const context = { api, caller, tellLiveness };
  const release = releaseOf(route);
  main.replaceChildren();
  stopView = release ? showRelease(main, context, release) : showList(main, context);
  // A person who followed a link is at the beginning of what it led to; one who has just opened the page is nowhere yet.
  if (!isFirst) main.querySelector("h1")?.focus();
}

/** The release that the address names; nothing for the list, which also stands for addresses that make no sense. */
function releaseOf(route) {
  try {
    return decodeURIComponent(/^#\/releases\/([^/]+)$/.exec(route)?.[1] ?? "");
  } catch {
    return "";
  }
}

/** Asks the daemon who holds the token. Until it answers there is nothing to show. */
async function learnCaller() {
  try {
    enter(await api.get("v1/caller"));
    return true;
  } catch (error) {
    if (error.status === 401) return false;
    const again = element("button", "", { type: "button" }, "Try again");
    again.addEventListener("click", reload);
    main.replaceChildren(
      element("section", "panel narrow", {}, element("h1", "", {}, "No answer"), element("p", "problem", {}, error.message), again),
    );
    return false;
  }
}

function enter(found) {
  caller = found;
  const roles = found.roles?.length ? ` (${found.roles.join(", ")})` : "";
  setText(callerName, `${found.name}${roles}${found.mayOrder ? "" : ", may only look"}`);
  signOut.hidden = false;
}

/** Back to the form: by a click, or because the daemon does not take the token any more. */
function leave(sentence) {
  api.forget();
  caller = null;
  stopView();
  stopView = () => {};
  tellLiveness(null);
  setText(callerName, "");
  signOut.hidden = true;
  document.title = "Headgate";
  showSignIn(main, api, sentence, (found) => {
    enter(found);
    reload();
  });
}

function reload() {
  shown = null;
  show();
}

/** What the head of the page says about the stream; a lost one is said in a way that cannot be overlooked. */
function tellLiveness(told) {
  document.body.classList.toggle("stale", told?.state === "lost");
  if (told?.state !== "lost") {
    setClass(liveness, `liveness ${told?.state ?? ""}`);
    setNote(liveness, { live: "live", ended: "ended" }[told?.state] ?? "");
    return;
  }
  const retry = element("button", "quiet", { type: "button" }, "Try now");
  retry.addEventListener("click", told.retry);
  setClass(liveness, "liveness lost");
  const text = `not live: ${told.why}; tries again at ${clockTime(told.retryAt.toISOString())}`;
  liveness.replaceChildren(element("span", "", {}, text), retry);
  liveness.hidden = false;
}

signOut.addEventListener("click", () => leave(""));
window.addEventListener("hashchange", show);
startTicking();
show();
