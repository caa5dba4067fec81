"""The viewer in a real browser: pages, keys, hostile text, labels."""

import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvicorn

from harness.viewer.app import make_app
from harness.viewer.attempt import Sources
from harness.viewer.index import Index
from harness.viewer.labels import Labels
from tests.reports.test_browser import ARGUMENTS
from tests.viewer.runs import write_ledger, write_runs

if TYPE_CHECKING:
    from playwright import sync_api as playwright
else:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (apt install chromium)"),
]


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    ids = write_runs(tmp_path / "runs")
    write_ledger(tmp_path / "ledger", f"one/{ids[0]}/0#0")
    index = Index(tmp_path / "runs", tmp_path / "cache")
    index.refresh()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        sources = Sources({"chop": tmp_path / "ledger"})
        app = make_app(index, Labels(tmp_path / "labels.sqlite"), sources, port=port)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        deadline = time.monotonic() + 30
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/"
        server.should_exit = True
        thread.join()


def test_a_walk_through_the_pages(address: str) -> None:
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        page = browser.new_page()
        seen: list[str] = []
        page.on("console", lambda message: seen.append(f"console {message.type}: {message.text}"))
        page.on("pageerror", lambda error: seen.append(f"error: {error}"))
        page.on("dialog", lambda dialog: seen.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: seen.append(request.url))
        page.goto(address)
        playwright.expect(page.locator("table.list tbody tr")).to_have_count(2)
        page.keyboard.press("/")
        page.keyboard.type("zebra onerror")
        page.keyboard.press("Enter")
        page.get_by_role("status").get_by_text("2 attempts").wait_for()
        page.get_by_label("run").select_option("one")
        page.get_by_role("status").get_by_text("1 attempt", exact=True).wait_for()
        page.locator("table.list a").first.click()
        page.get_by_role("button", name="cell").wait_for()
        assert page.locator(".t.cell-D").count() == 2
        page.locator(".t.cell-D").first.hover()
        assert "log prob -0.500" in page.locator(".readout").inner_text()
        page.locator(".tokens").focus()
        page.keyboard.press("ArrowRight")
        assert "log prob -2.000" in page.locator(".readout").inner_text()
        page.get_by_role("button", name="log-probability").click()
        assert page.locator(".t.cell-D").count() == 0
        assert "colour=log-probability" in page.url
        assert page.locator("main script, main img").count() == 0
        assert page.get_by_text("<script>alert(1)</script>").count() > 0
        page.get_by_role("link", name="turn 2").click()
        page.get_by_label("annotator").fill("me")
        page.get_by_role("button", name="Start").click()
        page.wait_for_url(re.compile("place=0"))
        page.locator("main:not([aria-busy]) button[data-key='4']").wait_for()
        page.keyboard.press("4")
        page.wait_for_url(re.compile("place=1"))
        page.locator("main:not([aria-busy]) button[data-key='s']:enabled").wait_for()
        page.keyboard.press("s")
        page.wait_for_url(re.compile("place=2"))
        playwright.expect(page.locator("main:not([aria-busy]) .current")).to_have_count(1)
        assert page.get_by_text("resolved").count() == 0
        page.get_by_role("link", name="Labels").click()
        page.get_by_role("cell", name="me").wait_for()
        page.get_by_role("link", name="Instances").click()
        page.get_by_label("resolved by").select_option("some")
        page.get_by_role("status").get_by_text("2 instances").wait_for()
        page.keyboard.press("Escape")
        page.locator("h1").click()
        page.keyboard.press("j")
        playwright.expect(page.locator("table.list a:focus")).to_have_count(1)
        page.goto(f"{address}#/compare?a=one&b=deep/two")
        page.get_by_text("difference, points").wait_for()
        page.goto(f"{address}#/attempt?run=nobody&instance=x&seed=0")
        page.get_by_text("no run 'nobody'").wait_for()
        browser.close()
    expected = [one for one in seen if "404" in one]
    assert [one for one in seen if not one.startswith(address) and one not in expected] == []
    assert len(expected) == 1
