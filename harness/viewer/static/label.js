// Labelling how critical actions are (CHOP App. L), one at a time, and how far annotators agree.
// Verdict, patch, colours, PI and the labels of others stay out of sight.

const annotator = () => localStorage.getItem("annotator") ?? "";

function whoPart(given) {
  const name = el("input", { name: "who", value: annotator(), maxlength: "60", size: "14", pattern: "[\\w .@\\-]+", required: true });
  const form = el("form", { class: "bar" }, el("label", {}, "annotator ", name), choice("only", state.about.choices.run, given.only, "run"), el("button", {}, "Start"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    localStorage.setItem("annotator", name.value);
    nextAction({ only: form.elements.only.value }, 0).catch(failed);
  });
  return form;
}

/** Go to the annotator's next action at or after a place in the order that all annotators have. */
async function nextAction(given, skip) {
  const found = await get("queue", { annotator: annotator(), run: given.only, skip });
  if (found.next) location.hash = address("label", { ...found.next, only: given.only, place: found.place });
  else location.hash = address("label", { only: given.only, over: `${found.labelled} of ${found.actions}` });
}

function rubricButtons(given, note, own) {
  const draw = (score) => buttons.forEach((button, place) => button.setAttribute("aria-pressed", score === place + 1 ? "true" : "false"));
  const able = (yes) => { for (const button of document.querySelectorAll("button[data-key]")) button.disabled = !yes; };
  const put = async (score) => {
    able(false);
    try {
      const { run, instance } = given;
      await post("labels", { annotator: annotator(), run, instance, seed: Number(given.seed), turn: Number(given.turn), score });
      draw(score);
      note.textContent = `Turn ${given.turn}: ${score}, kept.`;
      if (given.place === undefined) able(true);
      else await nextAction(given, Number(given.place) + 1);
    } catch (error) {
      able(true);
      note.textContent = `Not kept: ${error.message}`;
    }
  };
  const buttons = state.about.rubric.map((text, place) => {
    const button = el("button", { type: "button", "data-key": String(place + 1), disabled: !annotator() }, el("b", {}, String(place + 1)), ` ${text}`);
    button.addEventListener("click", () => put(place + 1));
    return button;
  });
  draw(own);
  return el("div", { class: "rubric", role: "group", "aria-label": "How critical is the action?" }, buttons);
}

async function labelPage(given) {
  const head = [el("h1", {}, "How critical is the action?"), whoPart(given)];
  if (!given.instance) {
    return [...head, given.over ? el("p", { role: "status" }, `Nothing is left from here on: ${given.over} actions labelled.`)
      : el("p", { class: "note" }, "One action of each attempt, in the same order for all annotators. Keys 1 to 5 label, s skips.")];
  }
  const { run, instance, seed } = given;
  const turn = Number(given.turn);
  const attempt = await get("attempt", { run, instance, seed });
  const { events } = attempt.trajectory;
  const before = events.filter((event) => event.step < turn);
  const action = events.filter((event) => event.step === turn && ["assistant", "action"].includes(event.kind));
  const own = attempt.labels.find((one) => one.turn === turn && one.annotator === annotator())?.score;
  const note = el("p", { role: "status", class: "note" });
  const skip = given.place === undefined ? null : el("button", { type: "button", "data-key": "s" }, "Skip (s)");
  skip?.addEventListener("click", () => {
    skip.disabled = true;
    nextAction(given, Number(given.place) + 1).catch(failed);
  });
  const past = el("div", { class: "past events", tabindex: "0", role: "group", "aria-label": "What came before" }, before.length ? before.map(eventNode) : empty("Nothing."));
  requestAnimationFrame(() => { past.scrollTop = past.scrollHeight; });
  return [...head, el("p", { class: "source" }, `${run}, ${instance}, seed ${seed}, turn ${turn}`), el("div", { class: "columns" },
    el("div", {}, el("h2", {}, "What came before"), past, el("h2", {}, "The action"),
      el("div", { class: "current" }, action.length ? action.map((event) => el("div", {}, el("h3", {}, event.kind), clipped(event.kind, event.text))) : empty("This turn has no action."))),
    el("aside", { "aria-label": "Rubric" }, el("h2", {}, "Rubric"), rubricButtons(given, note, own),
      el("p", { class: "note" }, "Label the action alone, not what comes of it."), skip, note,
      attempt.instance ? section("Problem statement", true, clipped("Problem statement", attempt.instance.problem, attempt.instance.file)) : null))];
}

async function agreementPage() {
  const found = await get("agreement");
  const shown = (value) => (value === null ? "not defined" : value.toFixed(3));
  const head = [el("h1", {}, "Labels"), el("p", {}, "How critical actions are, from 1 to 5 (CHOP App. L). ", el("a", { class: "button", href: address("label") }, "Label actions"))];
  const names = Object.entries(found.annotators);
  if (!names.length) return [...head, empty("There are no labels yet.")];
  return [...head, table("Annotators", [["annotator"], ["actions", "number"]], names.map(([name, count]) => [name, String(count)])),
    facts([["Fleiss' κ", shown(found.fleiss.kappa)], ["actions that all labelled", String(found.fleiss.actions)]]),
    table("Pairs", [["pair"], ["Cohen's κ, 95 % interval"], ["actions", "number"]],
      found.pairs.map((one) => [one.pair.join(" and "), one.kappa === null ? "not defined" : `${shown(one.kappa)} [${shown(one.low)}, ${shown(one.high)}]`, String(one.actions)]))]
    .map((node) => { if (node.matches(".scroll")) node.classList.add("narrow"); return node; });
}
