// The viewer: pages by address (`#/attempts?run=…`), data from this machine's server.

const main = document.getElementById("main");
const search = document.querySelector("#search input");
const PAGES = {
  runs: runsPage, attempts: attemptsPage, instances: instancesPage, attempt: attemptPage, compare: comparePage, label: labelPage, agreement: agreementPage,
};
const TABS = { attempt: "attempts", label: "agreement" };
let ticket = 0;

function failed(error) {
  main.replaceChildren(el("h1", {}, "This cannot be shown"), el("p", { class: "callout" }, error.message));
}

async function route() {
  const own = ++ticket;
  const [, page = "runs", text = ""] = /^#\/([a-z]+)(?:\?(.*))?$/.exec(location.hash) ?? [];
  const given = Object.fromEntries(new URLSearchParams(text));
  for (const link of document.querySelectorAll(".top nav a")) {
    if (link.getAttribute("href") === `#/${TABS[page] ?? page}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  search.value = page === "attempts" ? given.text ?? "" : "";
  main.setAttribute("aria-busy", "true");
  try {
    if (!state.about || page === "runs") state.about = await get("runs");
    const content = await (PAGES[page] ?? runsPage)(given);
    if (own !== ticket) return;
    main.replaceChildren(...content.filter(Boolean));
    document.title = main.querySelector("h1").textContent;
    window.scrollTo(0, 0);
  } catch (error) {
    if (own === ticket) failed(error);
  } finally {
    if (own === ticket) main.removeAttribute("aria-busy");
  }
}

/** The link of the next or the previous row of a table takes the focus. */
function moveRow(by) {
  const links = [...document.querySelectorAll("table.list tbody tr")].map((row) => row.querySelector("a")).filter(Boolean);
  links[Math.min(links.length - 1, Math.max(0, links.indexOf(document.activeElement) + by))]?.focus();
}

document.getElementById("search").addEventListener("submit", (event) => {
  event.preventDefault();
  location.hash = address("attempts", { text: search.value });
});
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  const step = { n: "next", p: "previous" }[event.key];
  if (event.key === "/") { event.preventDefault(); search.focus(); }
  else if (event.key === "j" || event.key === "k") moveRow(event.key === "j" ? 1 : -1);
  else if (step) document.querySelector(`a[rel="${step}"]`)?.click();
  else if (/^[1-5s]$/.test(event.key) && !main.hasAttribute("aria-busy")) document.querySelector(`button[data-key="${event.key}"]`)?.click();
});
window.addEventListener("hashchange", route);
route();
