// Pages of runs, attempts and instances, and the comparison of two runs.

function interval(found) {
  if (!found) return "not scored";
  return [percent(found.value), el("span", { class: "interval" }, ` [${(100 * found.low).toFixed(1)}, ${(100 * found.high).toFixed(1)}]`)];
}

function runsPage() {
  const { runs } = state.about;
  const again = el("button", { type: "button" }, "Read again");
  again.addEventListener("click", async () => {
    again.disabled = true;
    await post("refresh", {});
    await route();
  });
  const rows = runs.map((run) => [
    el("a", { href: address("attempts", { run: run.run }) }, run.run), run.method, run.suite, run.model, interval(run.scores.pass_at_1),
    String(run.scores.instances ?? "–"), String(run.attempts), String(run.resolved ?? 0),
  ]);
  return [el("h1", {}, "Runs"), el("div", { class: "bar" }, counted(runs.length, "run"), again), table("Runs",
    [["run", "id"], ["method"], ["suite"], ["model"], ["pass@1, 95 % interval"], ["instances", "number"], ["attempts", "number"], ["resolved", "number"]], rows)];
}

const nameField = (given) => el("label", {}, "instance ", el("input", { name: "name", value: given.name ?? "", size: "18" }));
const known = (values) => values.filter(Boolean);

async function attemptsPage(given) {
  const offset = Number(given.offset ?? 0);
  const found = await get("attempts", { ...given, offset, limit: PAGE_ROWS });
  const { choices } = state.about;
  const form = filters("attempts", given, choice("run", choices.run, given.run, "run"), choice("status", choices.status, given.status, "verdict"),
    choice("repo", known(choices.repo), given.repo, "repository"), nameField(given),
    el("span", { class: "grow" }), el("span", { role: "status" }, counted(found.total, "attempt")));
  const columns = [["instance", "instance", "id"], ["run", "run", "id"], ["seed", "seed", "number"], ["status", "verdict"], ["stop", "stop reason"], ["turns", "turns", "number"],
    ["tokens", "tokens", "number"], ["seconds", "seconds", "number"], ["patch", "patch bytes", "number"]];
  const rows = found.rows.map((row) => columns.map(([key]) => {
    if (key === "instance") {
      return [el("a", { href: address("attempt", { run: row.run, instance: row.instance, seed: row.seed }) }, row.instance),
        row.found ? el("div", { class: "found" }, row.found.map(([text, hit]) => (hit ? el("mark", {}, text) : text))) : null].filter(Boolean);
    }
    if (key === "status") return chip(row.status);
    if (key === "stop") return row.stop.replaceAll("_", " ");
    return key === "seconds" ? row.seconds.toFixed(1) : String(row[key]);
  }));
  return [el("h1", {}, "Attempts"), form, table("Attempts", sortable("attempts", given, columns), rows), pages("attempts", given, offset, rows.length, found.total)];
}

/** One square for each run, as many of its attempts as resolved the instance. */
function strip(instance, of, runs) {
  return el("div", { class: "strip" }, runs.map((run) => {
    const one = of[run];
    if (!one) return el("span", { class: "none", title: `${run}: no attempt` });
    const kind = one.resolved === one.attempts ? "all" : one.resolved ? "some" : "zero";
    const text = `${run}: ${one.resolved} of ${one.attempts} resolved`;
    return el("a", { class: kind, tabindex: "-1", title: text, "aria-label": text, href: address("attempt", { run, instance, seed: one.seed }) });
  }));
}

async function instancesPage(given) {
  const offset = Number(given.offset ?? 0);
  const found = await get("instances", { ...given, offset, limit: PAGE_ROWS });
  const { choices } = state.about;
  const runs = choices.run.filter((run) => !given.run || run === given.run);
  const shown = runs.filter((run) => found.rows.some((row) => row.runs[run]));
  const form = filters("instances", given, choice("run", choices.run, given.run, "run"), choice("repo", known(choices.repo), given.repo, "repository"),
    choice("outcome", ["all", "some", "none"], given.outcome, "resolved by", "any"), nameField(given),
    el("span", { class: "grow" }), el("span", { role: "status" }, counted(found.total, "instance")));
  const columns = [["instance", "instance", "id"], ["repo", "repository", "id"], ["attempts", "attempts", "number"], ["share", "resolved", "number"],
    ["turns", "turns", "number"], ["tokens", "tokens", "number"], [null, counted(shown.length, "run"), "runs"]];
  const rows = found.rows.map((row) => [
    el("a", { href: address("attempts", { name: row.instance, run: given.run }) }, row.instance), row.repo || "unknown", String(row.attempts), percent(row.share),
    row.turns.toFixed(1), row.tokens.toFixed(0), strip(row.instance, row.runs, shown),
  ]);
  const legend = el("p", { class: "legend strip" }, "A square for each run, in the order of the runs:", ...[["all", "resolved by all its attempts"], ["some", "by some"], ["zero", "by none"], ["none", "no attempt"]]
    .flatMap(([kind, text]) => [el("span", { class: kind }), text]));
  return [el("h1", {}, "Instances"), form, legend, table("Instances", sortable("instances", given, columns), rows), pages("instances", given, offset, rows.length, found.total)];
}

async function comparePage(given) {
  const names = state.about.runs.map((run) => run.run);
  const form = filters("compare", {}, choice("a", names, given.a, "from", "choose"), choice("b", names, given.b, "to", "choose"));
  const head = [el("h1", {}, "Compare"), form];
  if (!given.a || !given.b) return [...head, empty("Choose two runs on the same instances.")];
  const found = await get("compare", { a: given.a, b: given.b });
  const list = (title, ids) => section(`${title}: ${ids.length}`, true, el("ul", { class: "ids" }, ids.map((id) => el("li", {}, el("a", { href: address("attempts", { name: id }) }, id)))));
  const { difference } = found;
  return [...head, facts([[found.a, percent(found.pass_at_1_a.value)], [found.b, percent(found.pass_at_1_b.value)],
    ["difference, points", `${points(difference.value)} [${points(difference.low)}, ${points(difference.high)}]`],
    ["instances in both", String(found.instances)], [`p, ${found.exact_test}`, found.p_exact.toPrecision(3)], ["p, bootstrap", found.p_bootstrap.toPrecision(3)]]),
  ...found.notes.map((note) => el("p", { class: "note" }, note)),
  el("h2", { class: "visually-hidden" }, "Instances"), el("div", { class: "sides" }, list(`Resolved more often in ${found.b}`, found.better_in_b), list(`Resolved more often in ${found.a}`, found.better_in_a))];
}
