"""Contamination probes against models that know patches by heart, and models that do not."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from harness.agents.base import EndpointFailure
from harness.leakage import contamination
from harness.leakage.contamination import Asker, check, sample
from harness.leakage.contamination_probe import Probe, probes, score
from harness.leakage.findings import Severity, Status
from harness.leakage.inputs import AuditInputs
from harness.records import Instance
from harness.suites.load import load_suite
from tests.conftest import make_instance
from tests.gateway.scripted import Scripted, Step, answer, refusal

PATCH = """\
diff --git a/pkg/core.py b/pkg/core.py
--- a/pkg/core.py
+++ b/pkg/core.py
@@ -1,9 +1,14 @@
 def resolve_scale(value, factor=1):
+    if factor is None:
+        factor = default_factor()
     return value * factor


 def resolve_offset(value):
+    checked_value = ensure_not_negative(value)
+    logger.debug("running with offset %s", checked_value)
+    offset = lookup_offset(checked_value, strict=True)
+    return apply_offset(value, offset, rounding=ROUND_HALF_EVEN)
-    return value
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contamination, "cache_root", lambda: tmp_path / "cache")
    monkeypatch.delenv("HARNESS_API_KEY", raising=False)


def model(complete: Callable[[str], str]) -> Step:
    async def step(endpoint: Scripted, request: web.Request, body: dict[str, Any]) -> Any:
        return await answer(
            endpoint, request, body, {"content": complete(body["messages"][0]["content"])}
        )

    return step


@contextmanager
def serving(step: Step) -> Iterator[Scripted]:
    with Scripted(step).serve() as served:
        yield served


def asked(served: Scripted, **inputs: Any) -> Any:
    given = {"evaluation": "pypi-mini", "endpoint": served.base_url, "model": "scripted"}
    return check(AuditInputs.model_validate(given | inputs))


@cache
def suite() -> tuple[Instance, ...]:
    return load_suite("pypi-mini").instances


@cache
def pairs() -> dict[str, Probe]:
    return {each.prompt: each for _, pair in sample(suite(), 1000) for each in pair}


def by_heart(prompt: str) -> str:
    """Knows every patch of the suite by its first line, and nothing else."""
    shown = prompt.partition("<diff>\n")[2]
    for instance in suite():
        if shown and shown in instance.patch:
            return instance.patch.partition(shown)[2]
    return "I do not know how this goes on."


def skilled(prompt: str) -> str:
    """Continues any diff as well as it can be: it has the pair of each prompt."""
    return f"```diff\n{pairs()[prompt].hidden}\n```"


def test_a_patch_is_cut_and_its_control_renamed() -> None:
    pair = probes(make_instance(patch=PATCH))
    assert pair is not None
    original, control = pair
    assert original.shown + original.hidden == PATCH
    assert original.hidden.startswith("+    logger")
    assert original.shown in original.prompt
    assert "rounding" not in original.prompt
    assert "checked_value" not in control.hidden
    assert "logger" not in control.hidden

    def shape(text: str) -> str:
        return re.sub(r"\w+", "w", text)

    assert shape(control.hidden) == shape(original.hidden)
    assert "return" in control.hidden
    assert "debug" not in control.hidden
    assert probes(make_instance(patch=PATCH)) == pair


def test_patches_that_hide_too_little_are_not_asked_about() -> None:
    assert probes(make_instance()) is None
    assert probes(make_instance(patch=PATCH, problem_statement=PATCH)) is None


def test_scores_are_shares_of_what_the_prompt_has_not() -> None:
    pair = probes(make_instance(patch=PATCH))
    assert pair is not None
    probe = pair[0]
    whole = score(probe, probe.hidden)
    assert (whole.contained, whole.prefix) == (1.0, 1.0)
    assert score(probe, f"```diff\n{PATCH}```").contained == 1.0
    assert score(probe, PATCH).prefix == 1.0
    nothing = score(probe, "return value")
    assert (nothing.contained, nothing.prefix_characters) == (0.0, 0)
    half = score(probe, probe.hidden[: len(probe.hidden) // 2])
    assert 0.2 < half.contained < 0.8
    assert score(probe, probe.shown).contained == 0.0


def test_a_model_that_knows_the_patches_fails() -> None:
    with serving(model(by_heart)) as served:
        found = asked(served)
    assert found.status is Status.FAILED
    assert found.figures["original"] > 0.9
    assert found.figures["control"] == 0.0
    assert found.figures["difference"]["low"] > 0.8
    first, *others = found.findings
    assert first.severity is Severity.LEAK
    assert len(others) == len(found.figures["by heart"]) == len(found.figures["pairs"]) >= 15
    assert {request["temperature"] for request in served.requests} == {0.0}
    assert found.figures["calls"] == len(served.requests) == 2 * len(found.figures["pairs"])
    assert found.figures["prompt tokens"] > 0


@pytest.mark.parametrize("complete", [lambda prompt: "I cannot.", skilled, lambda prompt: prompt])
def test_a_model_without_memory_of_the_patches_passes(complete: Callable[[str], str]) -> None:
    with serving(model(complete)) as served:
        found = asked(served)
    assert found.status is Status.PASSED, found.reason
    assert found.findings == ()
    assert found.figures["share by heart"]["high"] < 0.21


def test_one_patch_known_by_heart_is_enough() -> None:
    (known, pair), *_ = sample(suite(), 20)
    text = pair[0].hidden

    def complete(prompt: str) -> str:
        return text if prompt == pair[0].prompt else "no"

    with serving(model(complete)) as served:
        found = asked(served)
    assert found.status is Status.FAILED
    assert found.figures["by heart"] == [known]


def test_few_patches_do_not_pass() -> None:
    with serving(model(lambda prompt: "no")) as served:
        assert asked(served, probes=6).status is Status.INCONCLUSIVE
        assert len(served.requests) == 12


def test_answers_are_kept_and_an_interrupted_check_goes_on() -> None:
    count = 0

    def complete(prompt: str) -> str:
        nonlocal count
        count += 1
        return "no"

    async def broken(endpoint: Scripted, request: web.Request, body: Any) -> Any:
        if count >= 7:
            return refusal(401, "gone")
        return await model(complete)(endpoint, request, body)

    steps = Scripted(broken)
    with steps.serve() as served:
        with pytest.raises(EndpointFailure):
            asked(served)
        steps.steps = (model(complete),)
        found = asked(served)
        assert found.figures["from the cache"] == 7
        assert found.figures["calls"] == len(pairs()) - 7
        assert asked(served).figures["calls"] == 0


def test_prompts_over_the_context_are_left_out() -> None:
    async def small(endpoint: Scripted, request: web.Request, body: Any) -> Any:
        if len(json.dumps(body)) > 2000:
            return refusal(400, "This model's maximum context length is 10 tokens")
        return await model(lambda prompt: "no")(endpoint, request, body)

    with serving(small) as served:
        found = asked(served)
    assert found.figures["not answered"] > 0
    assert found.status is Status.INCONCLUSIVE


def test_the_model_must_be_named_where_there_are_several() -> None:
    with serving(model(str)) as served, pytest.raises(ValueError, match="--model"):
        Asker(served.base_url, None).__enter__()
    assert check(AuditInputs(evaluation="pypi-mini")).status is Status.NOT_RUN
