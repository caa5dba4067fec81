"""The viewer on many attempts: index, server, and a real browser.

python -m benchmarks.viewer --work FOLDER [--attempts 10000]

The attempts are synthetic: half a kilobyte to some kilobytes of words each, as many events as a
short OpenHands rollout, twenty runs of the same instances. Times are medians and 95th percentiles
of repeated requests.
"""

import argparse
import json
import random
import shutil
import socket
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn

from harness.viewer.app import make_app
from harness.viewer.attempt import Sources
from harness.viewer.index import Index
from harness.viewer.labels import Labels
from tests.reports.report_builder import make_instances
from tests.reports.test_browser import ARGUMENTS

_RUNS = 20
_WORDS = [f"{a}{b}" for a in ("par", "tok", "val", "cal", "err") for b in ("ser", "en", "ue", "l")]
_REQUESTS = {
    "first page": "attempts?limit=100",
    "page 50": "attempts?limit=100&offset=4900",
    "sorted by tokens": "attempts?limit=100&sort=tokens&down=true",
    "filtered": "attempts?limit=100&run=run-07&status=ungraded",
    "part of an id": "attempts?limit=100&name=-3",
    "a common word": "attempts?limit=100&text=parser",
    "a rare word": "attempts?limit=100&text=needle",
    "instances": "instances?limit=100",
    "the next action to label": "queue?annotator=a",
}


def write_attempts(root: Path, count: int) -> None:
    """Runs of `count` attempts together, without grades."""
    rng = random.Random(0)
    instances = make_instances(count // _RUNS)
    for number in range(_RUNS):
        folder = root / f"run-{number:02d}"
        folder.mkdir(parents=True)
        folder.joinpath("run.yaml").write_text(
            f"id: run-{number:02d}\nmethod: {{name: synthetic}}\n"
        )
        rows = "".join(one.model_dump_json() + "\n" for one in instances)
        folder.joinpath("instances.jsonl").write_text(rows)
        for instance in instances:
            _write_attempt(folder, instance.instance_id, rng)


def _write_attempt(folder: Path, instance: str, rng: random.Random) -> None:
    place = folder / "attempts" / instance / "0"
    place.mkdir(parents=True)
    kinds = ("assistant", "action", "observation")
    events = [
        {
            "step": step,
            "seconds": step,
            "kind": kinds[step % 3],
            "text": " ".join(rng.choices(_WORDS, k=rng.randrange(5, 60)))
            + (" needle" if rng.random() < 0.0002 else ""),
            "data": {},
        }
        for step in range(rng.randrange(10, 60))
    ]
    place.joinpath("events.jsonl").write_text("".join(json.dumps(one) + "\n" for one in events))
    place.joinpath("patch.diff").write_text("")
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    attempt = {
        "instance_id": instance,
        "method": "synthetic",
        "seed": 0,
        "stop_reason": "finished",
        "usage": {"turns": len(events) // 3, "generated_tokens": rng.randrange(20_000)},
        "patch_sha256": digest,
        "patch_bytes": 0,
        "started_at": "2026-11-23T00:00:00+00:00",
        "seconds": rng.random() * 600,
    }
    place.joinpath("attempt.json").write_text(json.dumps(attempt))


def measure(what: Callable[[], Any], times: int) -> dict[str, float]:
    """Milliseconds: median and 95th percentile."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        what()
        taken.append(1000 * (time.perf_counter() - began))
    return {
        "median_ms": round(statistics.median(taken), 1),
        "p95_ms": round(statistics.quantiles(taken, n=20)[-1], 1),
    }


def in_browser(address: str) -> dict[str, Any]:
    """Milliseconds until a page shows its table, and what the console said."""
    from playwright.sync_api import sync_playwright

    pages = {
        "runs": "#/runs",
        "instances": "#/instances",
        "attempts": "#/attempts",
        "search": "#/attempts?text=parser",
        "sorted": "#/attempts?sort=tokens&down=true",
    }
    said: list[str] = []
    with sync_playwright() as engine:
        chromium = shutil.which("chromium")
        browser = engine.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        page = browser.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))

        def load(target: str) -> None:
            page.goto("about:blank")
            page.goto(address + target)
            page.locator("table.list tbody tr").first.wait_for()

        found: dict[str, Any] = {}
        for name, target in pages.items():
            found[name] = measure(lambda target=target: load(target), 10)  # type: ignore[misc]
        page.goto(f"{address}#/attempts")
        page.locator("table.list a").first.click()
        page.locator(".event").first.wait_for()
        browser.close()
    return found | {"console_messages": len(said)}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.viewer", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="A folder for the attempts.")
    parser.add_argument("--attempts", type=int, default=10_000)
    given = parser.parse_args()
    root = given.work / "runs"
    if not root.exists():
        write_attempts(root, given.attempts)
    shutil.rmtree(given.work / "cache", ignore_errors=True)
    index = Index(root, given.work / "cache")
    began = time.perf_counter()
    count = index.refresh()
    built = time.perf_counter() - began
    again = measure(index.refresh, 5)
    with socket.socket(proto=socket.IPPROTO_TCP) as listening:  # or asyncio leaves Nagle's delay on
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        app = make_app(index, Labels(given.work / "labels.sqlite"), Sources(), port=port)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            found = _served(f"http://127.0.0.1:{port}/")
        finally:
            server.should_exit = True
            thread.join()
    facts = {"attempts": count, "index_seconds": round(built, 1), "index_again": again}
    print(json.dumps(facts | found, indent=1))


def _served(address: str) -> dict[str, Any]:
    import httpx

    with httpx.Client(base_url=address) as client:
        for _ in range(100):
            try:
                client.get("/")
                break
            except httpx.ConnectError:
                time.sleep(0.1)
        server = {
            name: measure(lambda path=path: client.get(f"api/{path}").raise_for_status(), 30)  # type: ignore[misc]
            for name, path in _REQUESTS.items()
        }
    return {"server": server, "browser": in_browser(address)}


if __name__ == "__main__":
    main()
