// The viewer: pages by address (`#/attempts?run=…`), data from this machine's server.

const main = document.getElementById("main");
const search = document.querySelector("#search input");
const TOKEN = document.querySelector("meta[name=token]").content;
const PAGE_ROWS = 100;
let about = null;
let ticket = 0;

async function get(path, parameters = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== "" && value !== undefined));
  const response = await fetch(`/api/${path}?${query}`);
  const data = await response.json();
  if (!response.ok) throw new Error(typeof data.detail === "string" ? data.detail : JSON.stringify(data.detail));
  return data;
}

function address(page, parameters = {}) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== "" && value !== undefined && value !== false));
  return `#/${page}${[...query].length ? `?${query}` : ""}`;
}

function chip(status) {
  return el("span", { class: `chip ${status}` }, status.replaceAll("_", " "));
}

const percent = (value) => `${(100 * value).toFixed(1)} %`;
const points = (value) => `${value >= 0 ? "+" : "−"}${Math.abs(100 * value).toFixed(1)}`;

function interval(found) {
  if (!found) return "–";
  return [percent(found.value), el("span", { class: "interval" }, ` [${(100 * found.low).toFixed(1)}, ${(100 * found.high).toFixed(1)}]`)];
}

function table(caption, columns, rows) {
  return el("div", { class: "scroll" }, el("table", { class: "list" }, el("caption", { class: "visually-hidden" }, caption),
    el("thead", {}, el("tr", {}, columns.map(([title, kind]) => el("th", { scope: "col", class: kind }, title)))),
    el("tbody", {}, rows.map((cells) => el("tr", {}, cells.map((cell, place) => el("td", { class: columns[place][1] }, cell)))))));
}

function runsPage() {
  const rows = about.runs.map((run) => [
    el("a", { href: address("attempts", { run: run.run }) }, run.run), run.method, run.suite, run.model,
    run.scores.pass_at_1 ? interval(run.scores.pass_at_1.bootstrap) : "not scored",
    String(run.scores.instances ?? "–"), String(run.attempts), String(run.resolved ?? 0),
  ]);
  return [el("h1", {}, "Runs"), table("Runs",
    [["run", "id"], ["method"], ["suite"], ["model"], ["pass@1, 95 % interval"], ["instances", "number"], ["attempts", "number"], ["resolved", "number"]], rows)];
}

function choice(name, values, chosen, text) {
  return el("label", {}, `${text} `, el("select", { name }, el("option", { value: "" }, "all"),
    values.map((value) => el("option", { value, selected: value === chosen }, value || "unknown"))));
}

async function attemptsPage(given) {
  const offset = Number(given.offset ?? 0);
  const found = await get("attempts", { ...given, offset, limit: PAGE_ROWS });
  search.value = given.text ?? "";
  const form = el("form", { class: "bar" }, choice("run", about.choices.run, given.run, "run"), choice("status", about.choices.status, given.status, "verdict"),
    choice("repo", about.choices.repo, given.repo, "repository"),
    el("label", {}, "instance ", el("input", { name: "name", value: given.name ?? "", size: "18" })),
    el("span", { class: "grow" }), el("span", { role: "status" }, `${found.total.toLocaleString("en")} attempts`));
  const change = () => { location.hash = address("attempts", { ...given, offset: "", ...Object.fromEntries(new FormData(form)) }); };
  form.addEventListener("change", change);
  form.addEventListener("submit", (event) => { event.preventDefault(); change(); });
  const sorted = (key, title) => {
    const active = (given.sort ?? "instance") === key;
    const button = el("button", { type: "button" }, title, active ? (given.down ? " ↓" : " ↑") : "");
    button.addEventListener("click", () => { location.hash = address("attempts", { ...given, offset: "", sort: key, down: active && !given.down ? "true" : "" }); });
    return button;
  };
  const columns = [["instance", "instance", "id"], ["run", "run", "id"], ["seed", "seed", "number"], ["status", "verdict"], ["stop", "stop reason"], ["turns", "turns", "number"],
    ["tokens", "tokens", "number"], ["seconds", "seconds", "number"], ["patch", "patch bytes", "number"]];
  const rows = found.rows.map((row) => columns.map(([key]) => {
    if (key === "instance") return el("a", { href: address("attempt", { run: row.run, instance: row.instance, seed: row.seed }) }, row.instance);
    if (key === "status") return chip(row.status);
    return key === "seconds" ? row.seconds.toFixed(1) : String(row[key]).replaceAll("_", " ");
  }));
  const step = (text, to, there) => (there ? el("a", { class: "button", href: address("attempts", { ...given, offset: to || "" }), rel: text.toLowerCase() }, text) : null);
  return [el("h1", {}, "Attempts"), form, table("Attempts", columns.map(([key, title, kind]) => [sorted(key, title), kind]), rows),
    el("nav", { class: "bar", "aria-label": "Pages of attempts" }, step("Previous", offset - PAGE_ROWS, offset > 0),
      found.total ? `${offset + 1} to ${offset + found.rows.length}` : "Nothing matches.", step("Next", offset + PAGE_ROWS, offset + PAGE_ROWS < found.total))];
}

async function comparePage(given) {
  const names = about.runs.map((run) => run.run);
  const form = el("form", { class: "bar" }, choice("a", names, given.a, "from"), choice("b", names, given.b, "to"));
  form.addEventListener("change", () => { location.hash = address("compare", Object.fromEntries(new FormData(form))); });
  const head = [el("h1", {}, "Compare"), form];
  if (!given.a || !given.b) return [...head, empty("Choose two runs on the same instances.")];
  const found = await get("compare", { a: given.a, b: given.b });
  const list = (title, ids, run) => section(`${title}: ${ids.length}`, true, el("ul", {}, ids.map((id) => el("li", {}, el("a", { href: address("attempts", { name: id }) }, id)))));
  const { difference } = found;
  return [...head, facts([[found.a, percent(found.pass_at_1_a.value)], [found.b, percent(found.pass_at_1_b.value)],
    ["difference, points", `${points(difference.value)} [${points(difference.low)}, ${points(difference.high)}]`],
    ["instances in both", String(found.instances)], [`p, ${found.exact_test}`, found.p_exact.toPrecision(3)], ["p, bootstrap", found.p_bootstrap.toPrecision(3)]]),
  ...found.notes.map((note) => el("p", { class: "note" }, note)),
  el("h2", { class: "visually-hidden" }, "Instances"), el("div", { class: "sides" }, list(`Resolved more often in ${found.b}`, found.better_in_b), list(`Resolved more often in ${found.a}`, found.better_in_a))];
}

function labelling(given, attempt) {
  const name = el("input", { value: localStorage.getItem("annotator") ?? "", maxlength: "60", size: "14" });
  name.addEventListener("change", () => { localStorage.setItem("annotator", name.value); draw(attempt.labels); });
  const turns = [...new Set(attempt.sequences.flatMap((one) => one.tokens.map((token) => token.turn)).filter((turn) => turn !== null))];
  const rows = el("div", {});
  const note = el("p", { role: "status", class: "note" });
  async function put(turn, score) {
    if (!name.value) { note.textContent = "Say who you are first."; name.focus(); return; }
    const response = await fetch("/api/labels", {
      method: "POST", headers: { "Content-Type": "application/json", "X-Token": TOKEN },
      body: JSON.stringify({ annotator: name.value, run: given.run, instance: given.instance, seed: Number(given.seed), turn, score }),
    });
    if (!response.ok) { note.textContent = `Not kept: ${await response.text()}`; return; }
    attempt.labels = await response.json();
    note.textContent = `Turn ${turn}: ${score}, kept.`;
    draw(attempt.labels);
  }
  function draw(labels) {
    const own = new Map(labels.filter((one) => one.annotator === name.value).map((one) => [one.turn, one.score]));
    rows.replaceChildren(...turns.map((turn) => el("div", { class: "score", role: "group", "aria-label": `Turn ${turn}` }, el("span", { class: "turn" }, `turn ${turn}`),
      about.rubric.map((text, place) => {
        const button = el("button", { type: "button", title: text, "aria-pressed": own.get(turn) === place + 1 ? "true" : "false" }, String(place + 1));
        button.addEventListener("click", () => put(turn, place + 1));
        return button;
      }))));
  }
  draw(attempt.labels);
  return section("How critical is each action?", false, el("label", {}, "annotator ", name),
    el("ol", { class: "rubric" }, about.rubric.map((text) => el("li", {}, text))), rows, note);
}

function beside(pi) {
  if (!pi.length) return section("Privileged information", false, empty("None given: harness view --pi or --contexts."));
  return section("Privileged information", true, pi.map((one) => el("div", {}, el("h4", {}, [one.source, one.tier, one.turn === null ? "" : `turn ${one.turn}`].filter(Boolean).join(", ")),
    one.text ? clipped(one.source, { head: one.text }) : empty("Empty."))));
}

async function attemptPage(given) {
  const attempt = await get("attempt", given);
  const { instance } = attempt;
  const others = attempt.siblings.map((one) => el("a", {
    class: `chip ${one.status}`, href: address("attempt", { run: one.run, instance: given.instance, seed: one.seed }),
    "aria-current": one.run === given.run && String(one.seed) === given.seed ? "true" : null,
  }, `${one.run} ${one.seed}`));
  return [el("h1", {}, given.instance), el("p", { class: "verdict" }, chip(attempt.status), ` ${attempt.reason} `, el("span", { class: "source" }, given.run, ", seed ", given.seed)),
    attempt.problems.map((problem) => el("p", { class: "callout" }, problem)), facts(attempt.facts),
    el("nav", { class: "switcher", "aria-label": "Attempts on this instance" }, others),
    el("h2", { class: "visually-hidden" }, "Parts of the attempt"), el("div", { class: "columns" },
      el("div", {}, tokensPart(attempt.sequences), trajectory(attempt), instance ? patches(instance, attempt) : null, findings(attempt),
        instance ? section("Deciding tests", attempt.status !== "resolved", decidingTests(instance, attempt.tests)) : null, testLog(attempt)),
      el("aside", { "aria-label": "Beside the attempt" }, instance ? section("Problem statement", true, clipped("Problem statement", instance.problem, instance.file)) : null,
        beside(attempt.pi), labelling(given, attempt), section("All figures", false, facts(attempt.more)))),
  ].flat();
}

async function agreementPage() {
  const found = await get("agreement");
  const shown = (value) => (value === null ? "not defined" : value.toFixed(3));
  return [el("h1", {}, "Labels"), el("p", {}, "How critical an action is, from 1 to 5 (CHOP App. L). Open an attempt to label its actions."),
    table("Annotators", [["annotator"], ["actions", "number"]], Object.entries(found.annotators).map(([name, count]) => [name, String(count)])),
    facts([["Fleiss' κ", shown(found.fleiss.kappa)], ["actions that all labelled", String(found.fleiss.actions)]]),
    table("Pairs", [["pair"], ["Cohen's κ, 95 % interval"], ["actions", "number"]],
      found.pairs.map((one) => [one.pair.join(" and "), one.kappa === null ? "not defined" : `${shown(one.kappa)} [${shown(one.low)}, ${shown(one.high)}]`, String(one.actions)]))];
}

const PAGES = { runs: runsPage, attempts: attemptsPage, attempt: attemptPage, compare: comparePage, agreement: agreementPage };

async function route() {
  const own = ++ticket;
  const [, page = "runs", query = ""] = /^#\/([a-z]+)(?:\?(.*))?$/.exec(location.hash) ?? [];
  const given = Object.fromEntries(new URLSearchParams(query));
  for (const link of document.querySelectorAll(".top nav a")) {
    if (link.getAttribute("href") === `#/${page === "attempt" ? "attempts" : page}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  try {
    if (!about || page === "runs") about = await get("runs");
    const content = await (PAGES[page] ?? runsPage)(given);
    if (own !== ticket) return;
    main.replaceChildren(...content.filter(Boolean));
    document.title = main.querySelector("h1").textContent;
    window.scrollTo(0, 0);
  } catch (error) {
    if (own === ticket) main.replaceChildren(el("h1", {}, "This cannot be shown"), el("p", { class: "callout" }, error.message));
  }
}

document.getElementById("search").addEventListener("submit", (event) => {
  event.preventDefault();
  location.hash = address("attempts", { text: search.value });
});
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") { event.preventDefault(); search.focus(); }
  const step = { n: "next", p: "previous" }[event.key];
  if (step) document.querySelector(`a[rel="${step}"]`)?.click();
});
window.addEventListener("hashchange", route);
route();
