// Tokens of model calls, coloured by what is known of each.

const MEASURES = {
  "log-probability": { of: (t) => (t.log_prob === null ? null : Math.exp(t.log_prob)), low: "surely sampled", high: "unlikely", flip: true, text: "probability when sampled" },
  "ρ": { of: (t) => t.rho, low: "reliable teacher", high: "unreliable", flip: true, text: "ρ" },
  "κ": { of: (t) => t.kappa, low: "PI changes nothing", high: "PI changes all", text: "κ̂" },
  "entropy": { of: (t) => (t.teacher_entropy === undefined ? null : Math.min(1, t.teacher_entropy / 3)), low: "0", high: "3 nats or more", text: "teacher's entropy" },
};
const CELLS = { A: "A token", B: "B token with PI", C: "C segment", D: "D segment with PI" };
const DECIMALS = { log_prob: 3, rho: 3, kappa: 3, teacher_entropy: 3, tv: 3, kl: 3 };

/** The class of a token's colour: a tenth of the measure, or the cell. */
function heat(token, measure) {
  if (measure === "cell") return token.cell ? `cell-${token.cell}` : "unknown";
  const value = MEASURES[measure].of(token);
  if (value === null || value === undefined) return "unknown";
  const share = MEASURES[measure].flip ? 1 - value : value;
  return `s${Math.round(10 * Math.min(1, Math.max(0, share)))}`;
}

function readout(token) {
  const parts = Object.entries(token).filter(([name, value]) => value !== null && value !== undefined && name !== "text")
    .map(([name, value]) => `${name.replace("_", " ")} ${name in DECIMALS ? Number(value).toFixed(DECIMALS[name]) : value}`);
  return `${JSON.stringify(token.text)}  ${parts.join("  ")}`;
}

function legend(measure) {
  const swatch = (name) => el("span", { class: `swatch ${name}` });
  if (measure === "cell") return el("div", { class: "legend" }, Object.entries(CELLS).flatMap(([cell, text]) => [swatch(`cell-${cell}`), text]));
  const { low, high } = MEASURES[measure];
  return el("div", { class: "legend" }, low, [0, 2, 4, 6, 8, 10].map((n) => swatch(`s${n}`)), high);
}

/** Pointer, click or arrow keys choose the token whose figures are shown. */
function reading(box, tokens, line) {
  let here = null;
  const read = (node) => {
    if (!node || node.dataset.place === undefined) return;
    here?.classList.remove("here");
    here = node;
    here.classList.add("here");
    line.textContent = readout(tokens[here.dataset.place]);
  };
  box.addEventListener("pointerover", (event) => read(event.target));
  box.addEventListener("click", (event) => read(event.target));
  box.addEventListener("keydown", (event) => {
    const by = { ArrowRight: "nextElementSibling", ArrowLeft: "previousElementSibling" }[event.key];
    if (!by) return;
    event.preventDefault();
    read(here ? here[by] : box.querySelector(".t"));
    here?.scrollIntoView({ block: "nearest" });
  });
}

/** All sequences with a choice of the colour, which `chosen` is told. */
function tokensPart(sequences, ledger, colour, chosen) {
  if (!sequences.length) return section("Tokens", false, empty("No model calls with token ids were recorded."));
  const all = sequences.flatMap((one) => one.tokens);
  const names = Object.keys(MEASURES).filter((name) => all.some((token) => heat(token, name) !== "unknown"));
  if (all.some((token) => token.cell)) names.push("cell");
  const line = el("div", { class: "readout", role: "status" }, "Point at a token, or move with the arrow keys, for its figures.");
  const body = el("div", {});
  const buttons = names.map((name) => el("button", { type: "button" }, name));
  const show = (measure) => {
    for (const button of buttons) button.setAttribute("aria-pressed", button.textContent === measure);
    body.replaceChildren(legend(measure), ...sequences.map((one, number) => {
      const box = el("div", { class: "tokens", tabindex: "0", role: "group", "aria-label": `Sequence ${number + 1}` },
        one.left_out ? el("span", { class: "cut" }, `${one.left_out} tokens before these are left out`) : null,
        one.tokens.map((token, place) => el("span", { class: token.turn === null ? "prompt" : `t ${heat(token, measure)}`, "data-place": String(place) }, token.text)));
      reading(box, one.tokens, line);
      return box;
    }));
  };
  buttons.forEach((button) => button.addEventListener("click", () => { show(button.textContent); chosen(button.textContent); }));
  if (names.length) show(names.includes(colour) ? colour : names.includes("cell") ? "cell" : names[0]);
  return section("Tokens", true, el("div", { class: "bar" }, el("div", { class: "bar", role: "group", "aria-label": "Coloured by" }, "coloured by", buttons), ledger), line, body);
}
