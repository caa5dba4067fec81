"""Has the student seen the evaluation's gold patches? It is asked to complete them."""

import hashlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr, ValidationError

from harness.agents.base import Decoding, Endpoint
from harness.agents.chat import (
    ChatClient,
    ContextOverflowError,
    OutOfTimeError,
    RefusedRequestError,
)
from harness.gateway import Gateway, GatewayOptions
from harness.leakage.contamination_probe import Probe, Score, probes, score
from harness.leakage.findings import Check, Finding, Severity, Status
from harness.leakage.inputs import AuditInputs
from harness.leakage.material import AuditError, evaluation_instances, not_run
from harness.records import Budget, Instance, Record
from harness.records.cache import cache_root
from harness.scoring.intervals import bootstrap_mean, wilson

NAME = "contamination"
QUESTION = "Can the student complete gold patches of the evaluation by heart?"

MARGIN = 0.10  # of the hidden n-grams; what an interval must stay below to pass
VERBATIM = 0.8  # of an instance's hidden n-grams, to name it
_FEWEST = 5
_FEWEST_TO_PASS = 15  # with fewer, even none by heart leaves one in five open
_MAX_TOKENS = 400
_CALL_SECONDS = 300.0
_VERSION = "1"
_SHOWN = 20


class Answer(Record):
    """One completion, as it is kept."""

    text: str
    prompt_tokens: int
    generated_tokens: int


class Pair(Record):
    """An instance's score and its control's."""

    instance_id: str
    original: Score
    control: Score

    @property
    def gain(self) -> float:
        """What the real names add."""
        return self.original.contained - self.control.contained


def check(inputs: AuditInputs) -> Check:
    """Ask for the second half of gold patches, and of the same patches with other names.

    Greedy. Skill at continuing a diff shows in both; only memory of the text shows in the first
    alone. The score is the share of the words' 5-grams in hidden added lines that the prompt has
    not. Fails when the interval of the mean difference is above 0 and its value at least
    `MARGIN`, or when an instance is reproduced though its control is not; passes when the interval
    is below `MARGIN`, of 15 patches or more. Knowing the project's interfaces by name helps, too:
    read the examples. Answers are kept in the cache, so that an interrupted check goes on.
    Raises AuditError, EndpointFailure.
    """
    if inputs.endpoint is None:
        return not_run(NAME, QUESTION, "endpoint (base URL of the student)")
    chosen = sample(list(evaluation_instances(inputs.evaluation).values()), inputs.probes)
    with Asker(inputs.endpoint, inputs.model) as asker:
        pairs = [
            Pair(instance_id=name, original=original, control=control)
            for name, (one, two) in chosen
            if (original := asker.score(one)) is not None
            and (control := asker.score(two)) is not None
        ]
    figures: dict[str, Any] = asker.figures() | {"pairs": [_row(pair) for pair in pairs]}
    if len(pairs) < _FEWEST:
        return Check(
            name=NAME,
            question=QUESTION,
            status=Status.INCONCLUSIVE,
            reason=f"{len(pairs)} patches could be asked about; at least {_FEWEST} are needed",
            figures=figures,
        )
    return _checked(pairs, figures, inputs)


def sample(instances: Sequence[Instance], most: int) -> list[tuple[str, tuple[Probe, Probe]]]:
    """Probes of at most so many instances; which ones depends on their ids alone."""
    found: list[tuple[str, tuple[Probe, Probe]]] = []
    for instance in sorted(instances, key=_draw):
        pair = probes(instance)
        if pair is not None and len(found) < most:
            found.append((instance.instance_id, pair))
    return found


def _draw(instance: Instance) -> str:
    return hashlib.sha256(f"contamination {instance.instance_id}".encode()).hexdigest()


class Asker:
    """Asks the student once for each probe, and counts what that costs. A context manager."""

    def __init__(self, base_url: str, model: str | None, *, cache: Path | None = None) -> None:
        self._base_url = base_url
        self._model = model
        self._cache = (cache or cache_root()) / "contamination"
        self._counts = {"calls": 0, "from the cache": 0, "not answered": 0}
        self._tokens = {"prompt tokens": 0, "generated tokens": 0}
        self._seconds = 0.0

    def __enter__(self) -> "Asker":
        key = os.environ.get("HARNESS_API_KEY")
        endpoint = Endpoint(
            base_url=self._base_url,
            model=self._model or _only_model(self._base_url, key),
            api_key=SecretStr(key) if key else None,
            decoding=Decoding(temperature=0, top_p=1, max_tokens=_MAX_TOKENS),
        )
        self._model = endpoint.model
        self._calls = tempfile.TemporaryDirectory()
        options = GatewayOptions(tries=3, outage_seconds=30)
        self._gateway = Gateway(endpoint, options)
        self._gateway.__enter__()
        door = self._gateway.open(
            budget=Budget(turns=100_000), seed=0, calls=Path(self._calls.name, "calls.parquet")
        )
        self._client = ChatClient(door.endpoint)
        return self

    def __exit__(self, *error: object) -> None:
        self._client.__exit__(None, None, None)
        self._gateway.__exit__(None, None, None)
        self._calls.cleanup()

    def score(self, probe: Probe) -> Score | None:
        """The score of the student's answer; None when it gives none. Raises EndpointFailure."""
        most = min(_MAX_TOKENS, max(64, len(probe.hidden) // 2))
        facts = "\0".join((_VERSION, self._base_url, str(self._model), str(most), probe.prompt))
        path = self._cache / f"{hashlib.sha256(facts.encode()).hexdigest()}.json"
        answer = _kept(path)
        if answer is None:
            answer = self._ask(probe.prompt, most)
            if answer is None:
                self._counts["not answered"] += 1
                return None
            _keep(path, answer)
        else:
            self._counts["from the cache"] += 1
        self._tokens["prompt tokens"] += answer.prompt_tokens
        self._tokens["generated tokens"] += answer.generated_tokens
        return score(probe, answer.text)

    def _ask(self, prompt: str, most: int) -> Answer | None:
        self._counts["calls"] += 1
        began = time.monotonic()
        try:
            completion = self._client.complete(
                [{"role": "user", "content": prompt}], max_tokens=most, timeout=_CALL_SECONDS
            )
        except (ContextOverflowError, OutOfTimeError, RefusedRequestError):
            return None
        finally:
            self._seconds += time.monotonic() - began
        return Answer(
            text=completion.text,
            prompt_tokens=completion.prompt_tokens,
            generated_tokens=completion.generated_tokens,
        )

    def figures(self) -> dict[str, Any]:
        """Calls, tokens and seconds."""
        seconds = {"seconds of calls": round(self._seconds, 1)}
        return {"model": self._model, **self._counts, **self._tokens, **seconds}


def _checked(pairs: list[Pair], figures: dict[str, Any], inputs: AuditInputs) -> Check:
    gain = bootstrap_mean([pair.gain for pair in pairs]).interval
    by_heart = [
        pair for pair in pairs if pair.original.contained >= VERBATIM > 2 * pair.control.contained
    ]
    failed = bool(by_heart) or (gain.low > 0 and gain.value >= MARGIN)
    enough = len(pairs) >= _FEWEST_TO_PASS and gain.high < MARGIN
    status = Status.PASSED if enough else Status.INCONCLUSIVE
    said = f"{gain.value:+.1%} [{gain.low:+.1%}, {gain.high:+.1%}]"
    findings = list(_findings(pairs, by_heart, said, inputs)) if failed else []
    return Check(
        name=NAME,
        question=QUESTION,
        status=Status.FAILED if failed else status,
        reason=f"{said} of the hidden text more than of its control, {len(pairs)} patches",
        findings=tuple(findings[:_SHOWN]),
        figures=figures
        | {
            "original": _mean([pair.original.contained for pair in pairs]),
            "control": _mean([pair.control.contained for pair in pairs]),
            "difference": gain.model_dump(mode="json"),
            "by heart": [pair.instance_id for pair in by_heart],
            "share by heart": wilson(len(by_heart), len(pairs)).model_dump(mode="json"),
        },
    )


def _findings(
    pairs: list[Pair], by_heart: list[Pair], said: str, inputs: AuditInputs
) -> Iterator[Finding]:
    model = f" --model {inputs.model}" if inputs.model else ""
    again = f"harness leakage audit -e {inputs.evaluation} --endpoint {inputs.endpoint}{model}"
    yield Finding(
        severity=Severity.LEAK,
        title="the student completes gold patches of the evaluation beyond what it can infer",
        where=inputs.evaluation,
        evidence=f"{said} of the hidden text more than with other names, {len(pairs)} patches",
        reproduce=again,
    )
    for pair in sorted(by_heart, key=lambda each: -each.gain):
        yield Finding(
            severity=Severity.LEAK,
            title=f"the student knows the gold patch of {pair.instance_id} by heart",
            where=f"{inputs.evaluation}:{pair.instance_id}",
            evidence=f"{pair.original.contained:.0%} of the hidden text (with other names "
            f"{pair.control.contained:.0%}); the first {pair.original.prefix_characters} "
            "characters without a fault",
            reproduce=again,
        )


def _row(pair: Pair) -> dict[str, Any]:
    return {
        "instance": pair.instance_id,
        "original": round(pair.original.contained, 4),
        "control": round(pair.control.contained, 4),
        "verbatim characters": pair.original.prefix_characters,
        "verbatim characters of the control": pair.control.prefix_characters,
    }


def _mean(values: list[float]) -> float:
    return round(sum(values) / len(values), 4)


def _only_model(base_url: str, key: str | None) -> str:
    url = f"{base_url.rstrip('/')}/models"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.get(url, headers=headers, timeout=20).raise_for_status().json()
        names = [str(entry["id"]) for entry in answer["data"]]
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise AuditError(f"{url} lists no models ({error}); name the student's base URL") from None
    if len(names) != 1:
        raise AuditError(f"{url} serves {', '.join(names) or 'nothing'}: say which with --model")
    return names[0]


def _kept(path: Path) -> Answer | None:
    try:
        return Answer.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None


def _keep(path: Path, answer: Answer) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
        file.write(answer.model_dump_json())
    Path(file.name).rename(path)
