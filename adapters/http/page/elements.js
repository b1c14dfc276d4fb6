// Making and changing elements. Text goes in as text only: names and reasons come from strangers.

/** An element with a class, attributes and children (elements, texts, or nothing). */
export function element(tag, classes = "", attributes = {}, ...children) {
  const made = document.createElement(tag);
  if (classes) made.className = classes;
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/** Written only when it changes, so that a selection and what a screen reader says survive updates. */
export function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

export function setClass(target, classes) {
  if (target.className !== classes) target.className = classes;
}

/** Shows the text, or hides the element when there is none. */
export function setNote(target, text) {
  setText(target, text);
  target.hidden = !text;
}

/** The children become these; those that stay are not touched, so they keep the focus. */
export function setChildren(target, wanted) {
  const kept = new Set(wanted);
  for (const child of [...target.children]) if (!kept.has(child)) child.remove();
  wanted.forEach((child, index) => {
    const there = target.children[index];
    if (there !== child) target.insertBefore(child, there ?? null);
  });
}
