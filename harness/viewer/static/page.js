// What all pages of the viewer share: data, addresses, tables, forms.

const TOKEN = document.querySelector("meta[name=token]").content;
const PAGE_ROWS = 100;
const state = { about: null };

async function answer(response) {
  const text = await response.text();
  let data = null;
  try { data = JSON.parse(text); } catch { throw new Error(`${response.status}: ${text}`); }
  if (!response.ok) throw new Error(typeof data.detail === "string" ? data.detail : JSON.stringify(data.detail));
  return data;
}

function query(parameters) {
  return new URLSearchParams(Object.entries(parameters).filter(([, value]) => !["", undefined, null, false].includes(value)));
}

async function get(path, parameters = {}) {
  return answer(await fetch(`/api/${path}?${query(parameters)}`));
}

async function post(path, body) {
  return answer(await fetch(`/api/${path}`, {
    method: "POST", headers: { "Content-Type": "application/json", "X-Token": TOKEN }, body: JSON.stringify(body),
  }));
}

function address(page, parameters = {}) {
  const given = query(parameters);
  return `#/${page}${[...given].length ? `?${given}` : ""}`;
}

/** The same page under an address that also says `changes`, without a new entry in the history. */
function restate(page, given, changes) {
  Object.assign(given, changes);
  history.replaceState(null, "", address(page, given));
}

function chip(status) {
  return el("span", { class: `chip ${status}` }, status.replaceAll("_", " "));
}

const percent = (value) => `${(100 * value).toFixed(1)} %`;
const points = (value) => `${value >= 0 ? "+" : "−"}${Math.abs(100 * value).toFixed(1)}`;
const counted = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

function table(caption, columns, rows) {
  return el("div", { class: "scroll" }, el("table", { class: "list" }, el("caption", { class: "visually-hidden" }, caption),
    el("thead", {}, el("tr", {}, columns.map(([title, kind]) => el("th", { scope: "col", class: kind }, title)))),
    el("tbody", {}, rows.map((cells) => el("tr", {}, cells.map((cell, place) => el("td", { class: columns[place][1] }, cell)))))));
}

function choice(name, values, chosen, text, all = "all") {
  return el("label", {}, `${text} `, el("select", { name }, all === null ? null : el("option", { value: "" }, all),
    values.map((value) => el("option", { value, selected: value === chosen }, value))));
}

/** A form that goes to the same page with what it says. */
function filters(page, given, ...fields) {
  const form = el("form", { class: "bar" }, fields);
  const change = () => { location.hash = address(page, { ...given, offset: "", ...Object.fromEntries(new FormData(form)) }); };
  form.addEventListener("change", change);
  form.addEventListener("submit", (event) => { event.preventDefault(); change(); });
  return form;
}

/** Titles of columns that sort by them; `columns` are key, title, class. */
function sortable(page, given, columns) {
  return columns.map(([key, title, kind]) => {
    if (!key) return [title, kind];
    const active = (given.sort ?? "instance") === key;
    const button = el("button", { type: "button" }, title, active ? (given.down ? " ↓" : " ↑") : "");
    button.addEventListener("click", () => { location.hash = address(page, { ...given, offset: "", sort: key, down: active && !given.down ? "true" : "" }); });
    return [button, kind];
  });
}

function pages(page, given, offset, shown, total) {
  const step = (text, to, there) => (there ? el("a", { class: "button", href: address(page, { ...given, offset: to || "" }), rel: text.toLowerCase() }, text) : null);
  return el("nav", { class: "bar", "aria-label": "Rows" }, step("Previous", Math.max(0, offset - PAGE_ROWS), offset > 0),
    total ? `${(offset + 1).toLocaleString("en")} to ${(offset + shown).toLocaleString("en")}` : "Nothing matches.", step("Next", offset + PAGE_ROWS, offset + PAGE_ROWS < total));
}
