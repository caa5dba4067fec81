// The attempt viewer: a dialog over the page, addressed by `#attempt/<run>/<instance>/<seed>`.

const dialog = document.getElementById("attempt");
let opened = 0;

function switcher(id, run, seed) {
  const methods = PAGE.runs.map(({ name }, index) => {
    const links = (PAGE.attempts[id]?.[index] ?? []).map(([other, status]) =>
      el("a", {
        class: `chip ${status}`, href: `#attempt/${index}/${id}/${other}`,
        "aria-label": `${name}, seed ${other}: ${PAGE.statuses[status]}`,
        "aria-current": index === run && other === seed ? "true" : null,
      }, PAGE.runs[index].seeds > 1 ? `${other} ${PAGE.symbols[status]}` : PAGE.statuses[status]));
    return links.length ? el("span", { class: "method" }, name, links) : null;
  });
  return el("nav", { class: "switcher", "aria-label": "Attempts on this instance" }, methods);
}

/** A link to the attempt of the same method and seed, or the nearest, on the next instance shown. */
function neighbour(text, id, run, seed, step) {
  const order = shownInstances();
  const next = order.includes(id) ? order[order.indexOf(id) + step] : order[0];
  if (!next || next === id) return el("span", { class: "button", "aria-disabled": "true" }, text);
  const byRun = PAGE.attempts[next];
  const other = byRun[run]?.length ? run : byRun.findIndex((attempts) => attempts.length);
  const seeds = byRun[other].map(([one]) => one);
  return el("a", { class: "button", href: `#attempt/${other}/${next}/${seeds.includes(seed) ? seed : seeds[0]}` }, text);
}

function fill(id, run, seed, instance, attempt) {
  const heading = el("h2", { id: "attempt-title", tabindex: "-1" }, id);
  const close = el("button", { type: "button", class: "close" }, "Close");
  close.addEventListener("click", () => dialog.close());
  const head = el("header", {}, el("div", { class: "bar" }, heading,
    neighbour("Previous", id, run, seed, -1), neighbour("Next", id, run, seed, 1), close), switcher(id, run, seed));
  const body = el("div", { class: "body" });
  if (!attempt) body.append(empty("There is nothing on this attempt in this report."));
  else {
    body.append(el("p", { class: "verdict" }, chip(attempt.status), ` ${attempt.reason}`),
      ...attempt.problems.map((problem) => el("p", { class: "callout" }, problem)), facts(attempt.facts),
      el("details", { class: "more" }, el("summary", {}, "All figures"), facts(attempt.more),
        source(attempt.attempt_file), ", ", source(attempt.grade_file)));
    body.append(...[findings(attempt), instance ? patches(instance, attempt) : null,
      instance ? section("Deciding tests", attempt.status !== "resolved", decidingTests(instance, attempt.tests)) : null,
      trajectory(attempt),
      instance ? section("Problem statement", false, clipped("Problem statement", instance.problem, instance.file)) : empty("This instance is not in instances.jsonl."),
      testLog(attempt)].filter(Boolean));
  }
  dialog.replaceChildren(head, body);
  heading.focus();
}

async function openAttempt(run, id, seed) {
  const ticket = ++opened;
  const [instance, attempt] = await Promise.all([unpack(`instance/${id}`), unpack(`attempt/${run}/${id}/${seed}`)]);
  if (ticket !== opened) return;
  if (!dialog.open) dialog.showModal();
  fill(id, run, seed, instance, attempt);
  dialog.scrollTop = 0;
}

/** For browsers that cannot unpack gzip (DecompressionStream came in 2020 to 2023). */
function refuse(error) {
  const close = el("button", { type: "button" }, "Close");
  close.addEventListener("click", () => dialog.close());
  dialog.replaceChildren(el("div", { class: "body" },
    el("h2", { id: "attempt-title" }, "This attempt cannot be shown"), el("p", {}, `The browser reports: ${error.message}`), close));
  if (!dialog.open) dialog.showModal();
}

function route() {
  const address = /^#attempt\/(\d+)\/([A-Za-z0-9_.-]+)\/(\d+)$/.exec(location.hash);
  if (address) openAttempt(Number(address[1]), address[2], Number(address[3])).catch(refuse);
  else if (dialog.open) dialog.close();
}

dialog.addEventListener("close", () => {
  opened++;
  if (location.hash.startsWith("#attempt/")) history.replaceState(null, "", location.pathname + location.search);
});
/* A fragment link takes the focus away before the dialog can note whom to give it back to. */
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#attempt/"]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  history.pushState(null, "", link.hash);
  route();
});
window.addEventListener("hashchange", route);
route();
