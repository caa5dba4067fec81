"""The report in a real browser: no errors, no requests, filters, keyboard, hostile text."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.records import Event, Finding, StopReason, Verdict
from harness.reports import Caps, write_report
from tests.reports.report_builder import GOLD, RunBuilder, conversation, make_instances

if TYPE_CHECKING:
    from playwright import sync_api as playwright
    from playwright.sync_api import Browser, Locator, Page
else:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt install chromium)"),
]

HOSTILE = (
    "<script>alert(1)</script></script><img src=x onerror=alert(2)>"
    '<a href="javascript:alert(3)">click</a><style>*{display:none}</style>'
    "\x1b[31mred\x1b[0m\x1b]8;;http://example.com\x07 \x00 \u202egnp.exe\u2066 \u2028 "
    "&lt;b&gt; ]]> -->"
)
SHOWN = (
    "<script>alert(1)</script></script><img src=x onerror=alert(2)>"
    '<a href="javascript:alert(3)">click</a><style>*{display:none}</style>'
    "red␛]8;;http://example.com␇ ␀ ⟨U+202E⟩gnp.exe⟨U+2066⟩ ⟨U+2028⟩ &lt;b&gt; ]]> -->"
)
ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def page(browser: "Browser") -> Iterator["Page"]:
    """A page that fails the test on any console message, error, dialog or request."""
    context = browser.new_context(offline=True)
    page = context.new_page()
    seen: list[str] = []
    page.on("console", lambda message: seen.append(f"console {message.type}: {message.text}"))
    page.on("pageerror", lambda error: seen.append(f"error: {error}"))
    page.on("dialog", lambda dialog: seen.append(f"dialog: {dialog.message}"))
    page.on("popup", lambda _: seen.append("popup"))
    page.on("request", lambda request: seen.append(request.url))
    yield page
    context.close()
    assert [one for one in seen if not one.startswith(("file://", "data:,"))] == []


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three methods, one of them hostile in all that it wrote."""
    root = tmp_path_factory.mktemp("runs")
    instances = make_instances(12)
    gold = RunBuilder(root / "gold", "gold", instances)
    gold.everywhere(lambda _, __: Verdict.RESOLVED)
    noop = RunBuilder(root / "noop", "noop", instances)
    noop.everywhere(lambda _, __: Verdict.EMPTY_PATCH, patch="")
    model = RunBuilder(root / "model", "model", instances[:10], seeds=(0, 1), notes=(HOSTILE,))
    for number, instance in enumerate(model.instances):
        for seed in model.seeds:
            if number == 9:
                continue
            stop = StopReason.TURN_CAP if number % 2 else StopReason.FINISHED
            model.attempt(instance, seed, stop=stop, events=conversation(6, number))
            verdict = Verdict.RESOLVED if number < 3 else Verdict.UNRESOLVED
            model.grade(instance, seed, verdict=verdict)
    first = instances[0]
    events = [
        *conversation(2),
        Event(step=3, seconds=9, kind="assistant", text=HOSTILE, data={HOSTILE: HOSTILE}),
        Event(step=3, seconds=9, kind="observation", text="long " * 1_000_000),
        Event(step=3, seconds=9, kind="note", text="the end"),
    ]
    patch = GOLD + f"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -0,0 +1 @@\n+{HOSTILE}\n"
    model.attempt(first, 0, patch=patch, events=events, detail=HOSTILE)
    model.grade(
        first,
        0,
        verdict=Verdict.UNRESOLVED,
        reason=HOSTILE,
        findings=[Finding(code="hostile", text=HOSTILE)],
        log=HOSTILE + "\n" + "x" * 5_000_000 + "\nlast line\n",
    )
    model.score()
    path = root / "index.html"
    write_report([b.folder for b in (gold, noop, model)], path, title=HOSTILE)
    return path.as_uri()


def shown_rows(page: "Page") -> int:
    return int(page.locator("#instance-table tbody tr:visible").count())


def open_attempt(page: "Page", report: str, address: str) -> "Locator":
    page.goto(f"{report}#attempt/{address}")
    dialog = page.locator("dialog[open]")
    dialog.locator(".body").wait_for()
    return dialog


def test_the_page_opens_without_an_error(page: "Page", report: str) -> None:
    page.goto(report)
    assert page.locator("h1").text_content() == SHOWN
    assert page.title() == SHOWN
    assert page.locator("#result tbody tr").first.locator(".big").text_content() == "100.0%"
    assert page.locator("svg[role=img]").first.get_attribute("aria-label")
    assert page.locator("img, iframe, object, embed, link[rel=stylesheet]").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_policy_stops_what_the_page_did_not_ship(browser: "Browser", report: str) -> None:
    page = browser.new_context(offline=True).new_page()
    page.goto(report)
    page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "window.injected = true";
            document.body.append(script);
            const image = "<img src=x onerror='window.injected = true'>";
            document.body.insertAdjacentHTML("beforeend", image);
        }"""
    )
    page.wait_for_timeout(200)
    assert page.evaluate("window.injected") is None
    page.context.close()


def test_filters(page: "Page", report: str) -> None:
    page.goto(report)
    assert shown_rows(page) == 12
    page.get_by_label("Search").fill("FLASK 1004")
    assert shown_rows(page) == 1
    page.get_by_role("button", name="Clear").click()
    page.wait_for_function("document.getElementById('filter-count').textContent.startsWith('12 ')")
    page.get_by_label("Repository").select_option("sympy/sympy")
    assert shown_rows(page) == 3
    page.get_by_label("Repository").select_option("")
    page.locator("[name=verdict-2]").select_option("resolved")
    assert shown_rows(page) == 3
    page.locator("[name=verdict-2]").select_option("not_run")
    assert shown_rows(page) == 1
    page.locator("[name=verdict-2]").select_option("")
    page.get_by_label("Stop reason").select_option("turn_cap")
    assert shown_rows(page) == 4
    page.get_by_label("Search").fill("no such words")
    assert page.get_by_text("No instance matches these filters.").is_visible()
    assert page.locator("#filter-count").text_content() == "0 of 12 instances"


def test_an_attempt_shows_everything_and_hostile_text_stays_text(page: "Page", report: str) -> None:
    dialog = open_attempt(page, report, "2/pallets__flask-1000/0")
    assert dialog.locator(".verdict").text_content() == f"unresolved {SHOWN}"
    assert dialog.locator(".findings li").text_content() == f"hostile {SHOWN}"
    dialog.evaluate("all => all.querySelectorAll('details').forEach(one => one.open = true)")
    texts = dialog.locator("pre").all_text_contents()
    assert sum(SHOWN in text for text in texts) == 3  # event, patch, log
    assert "<script>alert(1)" in (dialog.locator(".data pre").last.text_content() or "")
    log = dialog.get_by_role("group", name="Test log").text_content() or ""
    assert log.startswith(SHOWN)
    assert log.endswith("last line\n")
    assert "bytes cut here" in log
    event = dialog.locator(".event.observation pre.text").last.text_content() or ""
    assert "characters cut here" in event
    assert len(event) < Caps().event_characters + 100
    assert dialog.locator(".event.note pre").last.text_content() == "the end"
    assert dialog.locator("img, script, style, [onerror], a[href^=javascript]").count() == 0
    assert "Square(3).area()" in (
        dialog.get_by_role("group", name="Problem statement").text_content() or ""
    )


def test_patches_are_coloured_and_numbered(page: "Page", report: str) -> None:
    dialog = open_attempt(page, report, "0/psf__requests-1001/0")
    gold = dialog.get_by_role("group", name="Gold patch")
    assert gold.text_content() == GOLD
    assert gold.locator(".added").count() == 3
    assert gold.locator(".removed").text_content() == "-        return self.side * 2\n"
    numbers = gold.locator(".removed, .added").evaluate_all(
        "all => all.map(one => one.dataset.numbers)"
    )
    assert [n.split() for n in numbers] == [["12"], ["12"], ["13"], ["14"]]


def test_events_fold_and_filter_by_kind(page: "Page", report: str) -> None:
    dialog = open_attempt(page, report, "2/psf__requests-1001/0")
    assert dialog.locator(".event:visible").count() == 21
    dialog.get_by_label("observation (6)").uncheck()
    assert dialog.locator(".event:visible").count() == 15
    dialog.get_by_role("button", name="Fold all", exact=True).click()
    assert dialog.locator(".event[open]").count() == 0
    dialog.get_by_role("button", name="Unfold all").click()
    assert dialog.locator(".event[open]").count() == 21


def test_keyboard(page: "Page", report: str) -> None:
    page.goto(report)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the result"
    page.get_by_label("Search").focus()
    page.keyboard.type("1001")
    link = page.get_by_role("link", name="psf__requests-1001")
    link.focus()
    page.keyboard.press("Enter")
    dialog = page.locator("dialog[open]")
    dialog.locator(".body").wait_for()
    assert page.evaluate("document.activeElement.id") == "attempt-title"
    assert page.evaluate("document.activeElement.closest('dialog') !== null")
    page.keyboard.press("Escape")
    dialog.wait_for(state="detached")
    assert page.evaluate("document.activeElement.textContent") == "psf__requests-1001"
    playwright.expect(page).not_to_have_url(re.compile("#attempt"))  # "close" comes later


def test_walking_through_the_shown_instances(page: "Page", report: str) -> None:
    page.goto(report)
    page.get_by_label("Repository").select_option("sympy/sympy")
    page.get_by_role("link", name="sympy__sympy-1002").click()
    title = page.locator("#attempt-title")
    title.wait_for()
    page.get_by_role("link", name="Next").click()
    playwright.expect(title).to_have_text("sympy__sympy-1006")
    dialog = page.locator("dialog")
    dialog.get_by_role("link", name="model, seed 1: unresolved").click()
    playwright.expect(page.locator("dialog [aria-current]")).to_have_attribute(
        "aria-label", "model, seed 1: unresolved"
    )
    page.go_back()
    playwright.expect(page.locator("dialog [aria-current]")).to_have_attribute(
        "aria-label", "gold, seed 0: resolved"
    )
    page.get_by_role("button", name="Close").click()
    playwright.expect(page.locator("dialog[open]")).to_have_count(0)


def test_what_was_not_run_opens_too(page: "Page", report: str) -> None:
    dialog = open_attempt(page, report, "2/psf__requests-1009/1")
    assert dialog.locator(".verdict").text_content() == "not run Not run yet."
    assert dialog.get_by_text("There is no events.jsonl.").count() == 1


def test_a_browser_that_cannot_unpack_says_so(page: "Page", report: str) -> None:
    page.add_init_script("delete window.DecompressionStream")
    page.goto(f"{report}#attempt/0/psf__requests-1001/0")
    playwright.expect(page.locator("dialog[open] h2")).to_have_text("This attempt cannot be shown")
    page.get_by_role("button", name="Close").click()
    playwright.expect(page.locator("dialog[open]")).to_have_count(0)


def test_a_narrow_and_a_dark_page_fit(browser: "Browser", report: str) -> None:
    context = browser.new_context(
        viewport={"width": 360, "height": 740}, color_scheme="dark", offline=True
    )
    page = context.new_page()
    page.goto(report)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == "rgb(20, 22, 26)"
    dialog = open_attempt(page, report, "2/pallets__flask-1000/0")
    assert dialog.evaluate("dialog => dialog.scrollWidth <= dialog.clientWidth")
    context.close()


def test_the_instance_table_holds_many_attempts(page: "Page", tmp_path: Path) -> None:
    instances = make_instances(500)
    builds = [RunBuilder(tmp_path / name, name, instances, seeds=(0, 1, 2)) for name in "abcd"]
    for build in builds:
        build.attempt(instances[0])
    write_report([b.folder for b in builds], tmp_path / "r.html", title="Many")
    page.goto((tmp_path / "r.html").as_uri())
    assert page.locator("#instance-table a.chip").count() == 6000
    page.get_by_label("Search").fill("django 14")
    assert shown_rows(page) == sum("14" in i.id and "django" in i.id for i in instances)
    page.get_by_label("Search").fill("")
    assert shown_rows(page) == 500
