// Small helpers. Data reaches the page as text only: elements are made here, never parsed from it.

/** An element with attributes and children; strings become text nodes. */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** A scrollable block of text that can be reached and moved with the keyboard. */
function block(label, className, ...children) {
  return el("pre", { class: className, tabindex: "0", role: "group", "aria-label": label }, ...children);
}

function cutMark(clip, where) {
  return el("span", { class: "cut" }, `${clip.cut} cut here${where ? `; all of it: ${where}` : ""}`);
}

/** A clipped text (head, what was cut, tail). */
function clipped(label, clip, where) {
  const parts = clip.cut ? [clip.head, cutMark(clip, where), clip.tail] : [clip.head];
  return block(label, "text", ...parts);
}

function source(path) {
  return el("span", { class: "source" }, "from ", el("code", {}, path));
}

function empty(text) {
  return el("p", { class: "empty" }, text);
}
