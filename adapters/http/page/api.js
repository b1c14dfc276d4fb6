// The daemon's API as the page uses it. The token is kept for this tab and this visit only, and goes nowhere but into the
// Authorization header of the page's own daemon.

import { learnTime } from "./times.js";

const KEY = "headgate-token";
const ANSWER_MS = 30_000;
// Where the daemon is, also behind a proxy that serves it under a path: this module is at ui/assets/ of it.
const DAEMON = new URL("../../", import.meta.url);

/** The daemon answered, and refused; the message is its sentence. */
export class Refused extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** No answer. Whether the question arrived is not known. */
export class Unreachable extends Error {}

export class Api {
  /** `onUnauthorized` is called with the daemon's sentence whenever the token is not (any more) a good one. */
  constructor(onUnauthorized) {
    this.onUnauthorized = onUnauthorized;
  }

  get hasToken() {
    return sessionStorage.getItem(KEY) !== null;
  }

  remember(token) {
    sessionStorage.setItem(KEY, token);
  }

  forget() {
    sessionStorage.removeItem(KEY);
  }

  async get(path, signal) {
    return (await this.#send(path, { signal: within(signal) })).json();
  }

  async post(path, body) {
    const answer = await this.#send(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal: within(),
    });
    return answer.json();
  }

  /** A stream of lines, as the answer whose body is still arriving. */
  async open(path, signal) {
    return this.#send(path, { signal });
  }

  async #send(path, { headers = {}, ...options }) {
    const token = sessionStorage.getItem(KEY) ?? "";
    let answer;
    try {
      answer = await fetch(new URL(path, DAEMON), {
        ...options,
        headers: { ...headers, Authorization: `Bearer ${token}` },
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Unreachable("the daemon does not answer");
    }
    learnTime(answer.headers.get("Date"));
    if (answer.ok) return answer;
    const refused = await readRefusal(answer);
    // Somebody may have signed in again since: that answer is about the token before.
    if (answer.status === 401 && token === (sessionStorage.getItem(KEY) ?? "")) this.onUnauthorized(refused.message);
    throw refused;
  }
}

function within(signal) {
  const late = AbortSignal.timeout(ANSWER_MS);
  return signal ? AbortSignal.any([signal, late]) : late;
}

async function readRefusal(answer) {
  try {
    const { error } = await answer.json();
    return new Refused(answer.status, error.code, error.message);
  } catch {
    return new Refused(answer.status, "", `something in between answered with ${answer.status} ${answer.statusText}`);
  }
}
