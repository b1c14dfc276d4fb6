// Instants as people read them: relative and ticking, the exact time in the tooltip. By the daemon's clock, because a
// countdown that a wrong clock of this machine makes would be a lie.

import { element, setText } from "./elements.js";

const TICK_MS = 1000;
const TRUSTED_SKEW_MS = 2000; // The daemon says its time in whole seconds.

let skewMs = 0;

/** Takes the time from the Date header of an answer that was asked for just now. */
export function learnTime(header) {
  const theirs = Date.parse(header ?? "");
  if (Number.isNaN(theirs)) return;
  const skew = theirs + 500 - Date.now();
  skewMs = Math.abs(skew) > TRUSTED_SKEW_MS ? skew : 0;
}

/** Two units at most: `18 s`, `2 min 5 s`, `3 h 20 min`, `4 d`. */
export function duration(ms) {
  const seconds = Math.max(Math.round(ms / 1000), 0);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return pair(minutes, "min", seconds % 60, "s");
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return pair(hours, "h", minutes % 60, "min");
  return pair(Math.floor(hours / 24), "d", hours % 24, "h");
}

function pair(much, unit, rest, smaller) {
  return rest ? `${much} ${unit} ${rest} ${smaller}` : `${much} ${unit}`;
}

const MODES = {
  ago: (ms) => `${duration(-ms)} ago`,
  since: (ms) => `for ${duration(-ms)}`,
  left: (ms) => (ms > 0 ? `${duration(ms)} left` : "due"),
};

/** An element for an instant, in one of the modes `ago`, `since` and `left`. It ticks for as long as it is shown. */
export function timeElement(mode, classes = "") {
  return element("time", classes, { "data-mode": mode });
}

export function setTime(target, instant, mode = target.dataset.mode) {
  if (target.dateTime === instant && target.dataset.mode === mode) return;
  target.dataset.mode = mode;
  target.dateTime = instant;
  target.title = exact(instant);
  tell(target);
}

export function exact(instant) {
  return `${new Date(instant).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" })}\n${instant}`;
}

/** The time of day here, to the second; with the day when it is another one than today. */
export function clockTime(instant) {
  const at = new Date(instant);
  const day = at.toLocaleDateString("sv-SE");
  const time = at.toLocaleTimeString("sv-SE");
  return day === new Date().toLocaleDateString("sv-SE") ? time : `${day} ${time}`;
}

function tell(target) {
  const ms = Date.parse(target.dateTime) - (Date.now() + skewMs);
  setText(target, MODES[target.dataset.mode](ms));
}

export function startTicking() {
  setInterval(() => document.querySelectorAll("time[data-mode]").forEach(tell), TICK_MS);
}
