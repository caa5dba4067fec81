// The parts of one attempt: figures, tests, trajectory, patches, findings, log.

const TEXT_OPEN = 1200; // longer events start folded

function section(title, open, ...content) {
  return el("details", { class: "part", open }, el("summary", {}, el("h3", {}, title)), ...content);
}

function facts(pairs) {
  return el("dl", { class: "facts" }, pairs.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

function testTable(caption, tests) {
  const body = tests.map(([name, status]) =>
    el("tr", {}, el("td", {}, el("span", { class: `test ${status.toLowerCase()}` }, status)), el("td", { class: "name" }, name)));
  return el("div", { class: "scroll" }, el("table", { class: "tests" },
    el("caption", {}, caption), el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Status"), el("th", { scope: "col" }, "Test"))),
    el("tbody", {}, body)));
}

/** Deciding tests: names from the instance; the attempt lists those that did not pass. */
function decidingTests(instance, tests) {
  if (!tests) return empty("There is no grade, so no test has a status.");
  const statuses = new Map(tests.not_passed);
  const all = (names) => names.map((name) => [name, statuses.get(name) ?? "PASSED"]);
  const kept = all(instance.pass_to_pass);
  const broken = kept.filter(([, status]) => status !== "PASSED");
  const passed = el("details", {}, el("summary", {}, `${kept.length - broken.length} passed`));
  passed.addEventListener("toggle", () => {
    passed.append(testTable("Tests that passed before and still pass", kept.filter(([, status]) => status === "PASSED")));
  }, { once: true });
  return el("div", {},
    el("p", { class: "note" }, tests.summary),
    testTable("Must pass now (FAIL_TO_PASS)", all(instance.fail_to_pass)),
    broken.length ? testTable("Must still pass (PASS_TO_PASS), but did not", broken) : null,
    kept.length > broken.length ? el("div", { class: "folded" }, "Must still pass (PASS_TO_PASS): ", passed) : null);
}

function eventNode(event) {
  const preview = event.text.head.trimStart().slice(0, 140).split("\n")[0];
  const size = event.text.head.length + (event.text.tail?.length ?? 0);
  const open = size <= TEXT_OPEN && event.kind !== "system";
  return el("details", { class: `event ${event.kind}`, "data-kind": event.kind, open },
    el("summary", {}, el("span", { class: "kind" }, event.kind), el("span", { class: "when" }, event.when),
      el("span", { class: "preview" }, preview)),
    clipped(`${event.kind} at step ${event.step}`, event.text),
    event.data ? el("details", { class: "data" }, el("summary", {}, "data"), clipped("event data", event.data)) : null);
}

function trajectory(attempt) {
  const { events, cut, note, file } = attempt.trajectory;
  if (!events.length) return section("Trajectory", false, empty(note || "No events were recorded."), source(file));
  const list = el("div", { class: "events" }, events.map(eventNode));
  if (cut) list.insertBefore(el("p", { class: "cut" }, `${cut.events} events cut here; all of them: ${file}`), list.children[cut.at]);
  const kinds = [...new Set(events.map((event) => event.kind))].map((kind) => {
    const box = el("input", { type: "checkbox", checked: true });
    box.addEventListener("change", () => {
      for (const node of list.querySelectorAll(`[data-kind="${kind}"]`)) node.hidden = !box.checked;
    });
    return el("label", {}, box, ` ${kind} (${events.filter((event) => event.kind === kind).length})`);
  });
  const fold = (text, open) => {
    const button = el("button", { type: "button" }, text);
    button.addEventListener("click", () => {
      for (const node of list.querySelectorAll(".event")) node.open = open;
    });
    return button;
  };
  const tools = el("div", { class: "tools", role: "group", "aria-label": "Events shown" }, kinds, fold("Unfold all", true), fold("Fold all", false));
  return section(`Trajectory: ${attempt.trajectory.total} event${attempt.trajectory.total === 1 ? "" : "s"}`, true, note ? el("p", { class: "note" }, note) : null, tools, list, source(file));
}

function patches(instance, attempt) {
  const side = (title, clip, file) => el("div", {}, el("h4", {}, title),
    clip?.head ? patch(title, clip, file) : empty("Empty."), source(file));
  return section("Patch", true, el("div", { class: "sides" },
    side("This attempt", attempt.patch, attempt.patch_file), side("Gold patch", instance.gold, instance.file)));
}

function findings(attempt) {
  if (!attempt.findings.length) return null;
  return section(`Findings: ${attempt.findings.length}`, true,
    el("ul", { class: "findings" }, attempt.findings.map(([code, text]) => el("li", {}, el("code", {}, code), ` ${text}`))),
    source(attempt.grade_file));
}

function testLog(attempt) {
  const { log, log_file: file } = attempt;
  return section("Test log", false, log ? clipped("Test log", log, file) : empty("No log was kept."), source(file));
}
