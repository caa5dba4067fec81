// The instance table: its filters, and the order that the attempt viewer walks through.

const rows = [...document.querySelectorAll("#instance-table tbody tr")].map((row) => ({
  row,
  id: row.dataset.instance,
  text: row.textContent.toLowerCase(),
  repository: row.dataset.repository,
  cells: [...row.querySelectorAll("td[data-run]")].map((cell) => ({
    run: Number(cell.dataset.run),
    statuses: cell.dataset.statuses.split(" "),
    stops: cell.dataset.stops.split(" "),
  })),
}));

const filters = document.getElementById("filters");

function matches(entry, wanted) {
  if (!wanted.words.every((word) => entry.text.includes(word))) return false;
  if (wanted.repository && entry.repository !== wanted.repository) return false;
  if (wanted.stop && !entry.cells.some((cell) => cell.stops.includes(wanted.stop))) return false;
  const differ = new Set(entry.cells.map((cell) => cell.statuses.includes("resolved"))).size > 1;
  if (wanted.differ && !differ) return false;
  return entry.cells.every(({ run, statuses }) => !wanted.verdicts[run] || statuses.includes(wanted.verdicts[run]));
}

function applyFilters() {
  const value = (name) => filters.elements[name]?.value ?? "";
  const wanted = {
    words: value("search").toLowerCase().split(/\s+/).filter(Boolean),
    repository: value("repository"),
    stop: value("stop"),
    differ: filters.elements.differ?.checked ?? false,
    verdicts: PAGE.runs.map((_, run) => value(`verdict-${run}`)),
  };
  let shown = 0;
  for (const entry of rows) {
    const visible = matches(entry, wanted);
    if (entry.row.hidden === visible) entry.row.hidden = !visible;
    shown += visible;
  }
  document.getElementById("filter-count").textContent = `${shown} of ${rows.length} instances`;
  document.getElementById("nothing-matches").hidden = shown > 0;
}

/** Ids of the instances that the filters let through, in the table's order. */
function shownInstances() {
  return rows.filter((entry) => !entry.row.hidden).map((entry) => entry.id);
}

if (filters) {
  filters.hidden = false;
  filters.addEventListener("input", applyFilters);
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("reset", () => setTimeout(applyFilters));
  applyFilters();
}
