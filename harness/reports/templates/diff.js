// Unified diffs, coloured by line and numbered like the files they change.

const HUNK = /^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@/;
const HEADER = /^(diff |index |--- |\+\+\+ |new file|deleted file|similarity |rename |old mode|new mode|Binary |GIT binary)/;
const KINDS = { "+": "added", "-": "removed", " ": "same" };

/** Lines of a diff as {kind, text, before, after}: line numbers in the old and the new file. */
function diffLines(text) {
  let [before, beforeLeft, after, afterLeft] = [0, 0, 0, 0];
  const lines = (text.endsWith("\n") ? text.slice(0, -1) : text).split("\n");
  return lines.map((line) => {
    const hunk = HUNK.exec(line);
    if (hunk) {
      [before, beforeLeft, after, afterLeft] = hunk.slice(1).map((n) => Number(n ?? 1));
      return { kind: "hunk", text: line };
    }
    const kind = line === "" ? "same" : (KINDS[line[0]] ?? "plain");
    if (beforeLeft <= 0 && afterLeft <= 0) {
      return { kind: HEADER.test(line) ? "file" : kind, text: line };
    }
    const numbered = { kind, text: line };
    if (kind === "same" || kind === "removed") [numbered.before, beforeLeft] = [before++, beforeLeft - 1];
    if (kind === "same" || kind === "added") [numbered.after, afterLeft] = [after++, afterLeft - 1];
    return numbered;
  });
}

function diffSpans(text) {
  return diffLines(text).map(({ kind, text: line, before = "", after = "" }) => {
    const numbers = `${String(before).padStart(4)} ${String(after).padStart(4)}`;
    return el("span", { class: `line ${kind}`, "data-numbers": numbers }, `${line}\n`);
  });
}

/** A clipped patch with its lines coloured. */
function patch(label, clip, where) {
  const parts = diffSpans(clip.head);
  if (clip.cut) parts.push(cutMark(clip, where), ...diffSpans(clip.tail));
  return block(label, "text diff", ...parts);
}
