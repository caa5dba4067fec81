// The page of one attempt.

function beside(pi) {
  if (!pi.length) return section("Privileged information", false, empty("None given: harness view --pi or --contexts."));
  return section("Privileged information", true, pi.map((one) => el("div", {}, el("h4", {}, [one.source, one.tier, one.turn === null ? "" : `turn ${one.turn}`].filter(Boolean).join(", ")),
    one.text ? clipped(one.source, { head: one.text }) : empty("Empty."))));
}

/** Links to where the actions of an attempt are labelled, with how many did. */
function labelLinks(given, attempt) {
  const turns = [...new Set(attempt.trajectory.events.filter((event) => event.step > 0 && event.kind !== "note").map((event) => event.step))];
  if (!turns.length) return null;
  return section("How critical is each action?", true, el("div", { class: "turns" }, turns.map((turn) => {
    const count = attempt.labels.filter((one) => one.turn === turn).length;
    return el("a", { href: address("label", { run: given.run, instance: given.instance, seed: given.seed, turn }) }, `turn ${turn}${count ? `, ${counted(count, "label")}` : ""}`);
  })));
}

/** The address follows the event that was opened or closed last, and leads there. */
function linkEvents(part, given) {
  const nodes = [...part.querySelectorAll(".event")];
  nodes.forEach((node, place) => node.querySelector("summary").addEventListener("click", () => restate("attempt", given, { event: place })));
  if (given.event === undefined || !nodes[given.event]) return part;
  nodes[given.event].open = true;
  nodes[given.event].classList.add("here");
  requestAnimationFrame(() => nodes[given.event].scrollIntoView({ block: "center" }));
  return part;
}

async function attemptPage(given) {
  const { colour, event, ...asked } = given;
  const attempt = await get("attempt", asked);
  const { instance } = attempt;
  const others = attempt.siblings.map((one) => el("a", {
    class: `chip ${one.status}`, href: address("attempt", { run: one.run, instance: given.instance, seed: one.seed, ledger: given.ledger, colour }),
    "aria-current": one.run === given.run && String(one.seed) === given.seed ? "true" : null,
  }, `${one.run} ${one.seed}`));
  const step = (text, one) => (one ? el("a", { class: "button", rel: text.toLowerCase(), href: address("attempt", { ...asked, ...one, colour }) }, text) : null);
  const ledger = attempt.ledgers.length > 1 ? filters("attempt", given, choice("ledger", attempt.ledgers, attempt.ledger, "decisions of", null)) : null;
  return [el("div", { class: "bar title" }, el("h1", {}, given.instance), el("span", { class: "grow" }), step("Previous", attempt.previous), step("Next", attempt.next)),
    el("p", { class: "verdict" }, chip(attempt.status), ` ${attempt.reason} `, el("span", { class: "source" }, given.run, ", seed ", given.seed)),
    attempt.problems.map((problem) => el("p", { class: "callout" }, problem)), facts(attempt.facts),
    el("nav", { class: "switcher", "aria-label": "Attempts on this instance" }, others),
    el("h2", { class: "visually-hidden" }, "Parts of the attempt"), el("div", { class: "columns" },
      el("div", {}, tokensPart(attempt.sequences, ledger, colour, (name) => restate("attempt", given, { colour: name })), linkEvents(trajectory(attempt), given),
        instance ? patches(instance, attempt) : null, findings(attempt),
        instance ? section("Deciding tests", attempt.status !== "resolved", decidingTests(instance, attempt.tests)) : null, testLog(attempt)),
      el("aside", { "aria-label": "Beside the attempt" }, instance ? section("Problem statement", true, clipped("Problem statement", instance.problem, instance.file)) : null,
        beside(attempt.pi), labelLinks(given, attempt), section("All figures", false, facts(attempt.more)))),
  ].flat();
}
