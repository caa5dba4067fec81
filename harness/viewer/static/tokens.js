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

/** All sequences with a choice of the colour; a token's figures are read below by pointer or keys. */
function tokensPart(sequences) {
  if (!sequences.length) return section("Tokens", false, empty("No model calls with token ids were recorded."));
  const all = sequences.flatMap((one) => one.tokens);
  const known = Object.keys(MEASURES).filter((name) => all.some((token) => !["unknown"].includes(heat(token, name))));
  if (all.some((token) => token.cell)) known.push("cell");
  const line = el("div", { class: "readout", role: "status" });
  const body = el("div", {});
  const buttons = known.map((name) => el("button", { type: "button" }, name));
  const show = (measure) => {
    for (const button of buttons) button.setAttribute("aria-pressed", button.textContent === measure);
    body.replaceChildren(legend(measure), ...sequences.map((one, number) => el("div", { class: "tokens", tabindex: "0", role: "group", "aria-label": `Sequence ${number + 1}` },
      one.left_out ? el("span", { class: "cut" }, `${one.left_out} tokens before these are left out`) : null,
      one.tokens.map((token, place) => {
        const node = el("span", token.turn === null ? { class: "prompt" } : { class: `t ${heat(token, measure)}` }, token.text);
        node.dataset.place = place;
        return node;
      }))));
    [...body.querySelectorAll(".tokens")].forEach((box, number) => {
      const read = (event) => {
        const place = event.target.dataset?.place;
        if (place !== undefined) line.textContent = readout(sequences[number].tokens[place]);
      };
      box.addEventListener("pointerover", read);
      box.addEventListener("click", read);
    });
  };
  buttons.forEach((button) => button.addEventListener("click", () => show(button.textContent)));
  if (known.length) show(known.includes("cell") ? "cell" : known[0]);
  return section("Tokens", true, el("div", { class: "bar", role: "group", "aria-label": "Coloured by" }, "coloured by", buttons), line, body);
}
