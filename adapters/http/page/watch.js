// Reads a stream of lines for as long as somebody looks, and connects again when it breaks: a daemon that is restarted
// comes back by itself. Only the reading is here; what the lines mean is their taker's business.

import { Refused } from "./api.js";

const SILENCE_MS = 45_000; // The daemon says something at least every 15 seconds.
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;

/**
 * Calls `onLine` with every line, until the returned function is called or the stream has its last line.
 *
 * `onLiveness` is told `{state: "live"}`, `{state: "lost", why, retryAt, retry}` or `{state: "ended"}`; `onRefused` when there
 * is nothing to watch. A hidden tab lets go of its connection, because a browser has six for one daemon.
 */
export function watch(api, path, { onLine, onLiveness, onRefused }) {
  const over = new AbortController();

  async function run() {
    let failures = 0;
    while (!over.signal.aborted) {
      if (document.hidden) {
        await visible(over.signal);
        continue;
      }
      let why = "the connection broke off";
      try {
        const end = await read(() => {
          failures = 0;
          onLiveness({ state: "live" });
        });
        if (end?.final) {
          onLiveness({ state: "ended" });
          return;
        }
        why = end?.message ?? why;
      } catch (error) {
        if (over.signal.aborted || (error instanceof Refused && error.status === 401)) return;
        if (error instanceof Refused && error.status < 500 && error.status !== 408 && error.status !== 429) {
          onRefused(error);
          return;
        }
        why = error.name === "AbortError" ? why : error.message;
      }
      if (over.signal.aborted) return;
      if (document.hidden) continue;
      const wait = Math.min(FIRST_WAIT_MS * 2 ** failures, LONGEST_WAIT_MS) * (0.75 + Math.random() / 2);
      failures += 1;
      await pause(why, wait);
    }
  }

  /** One connection, to its end. Returns the end line, if there was one. */
  async function read(onFirst) {
    const broken = new AbortController();
    const onHide = () => document.hidden && broken.abort();
    document.addEventListener("visibilitychange", onHide);
    let silence = setTimeout(() => broken.abort(), SILENCE_MS);
    try {
      const answer = await api.open(path, AbortSignal.any([over.signal, broken.signal]));
      let end = null;
      let first = true;
      for await (const line of lines(answer.body)) {
        clearTimeout(silence);
        silence = setTimeout(() => broken.abort(), SILENCE_MS);
        if (first) onFirst();
        first = false;
        if (line.type === "end") end = line;
        else if (line.type !== "alive") onLine(line);
      }
      return end;
    } finally {
      clearTimeout(silence);
      document.removeEventListener("visibilitychange", onHide);
      broken.abort();
    }
  }

  function pause(why, ms) {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        over.signal.removeEventListener("abort", done);
        window.removeEventListener("online", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      over.signal.addEventListener("abort", done);
      window.addEventListener("online", done);
      onLiveness({ state: "lost", why, retryAt: new Date(Date.now() + ms), retry: done });
    });
  }

  run();
  return () => over.abort();
}

function visible(signal) {
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", look);
      signal.removeEventListener("abort", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", look);
  });
}

async function* lines(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  while (true) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) if (part) yield JSON.parse(part);
  }
}
