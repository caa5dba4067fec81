// Small helpers. Data reaches the page as text only: elements are made here, never parsed from it.

const PAGE = JSON.parse(document.getElementById("page-data").textContent);

/** An element with attributes and children; strings become text nodes. */
function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

/** The JSON in a `<script>` block of gzip in base64, or null when there is no such block. */
async function unpack(id) {
  const block = document.getElementById(id);
  if (!block) return null;
  const bytes = Uint8Array.from(atob(block.textContent.trim()), (char) => char.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

function chip(status) {
  return el("span", { class: `chip ${status}` }, PAGE.statuses[status]);
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
