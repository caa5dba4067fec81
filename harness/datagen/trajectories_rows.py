"""The rows of a set of trajectories, by configuration."""

import json
from typing import Any

from harness.datagen.trajectories_read import Calls, Recorded, message
from harness.datagen.triples_write import valid_text
from harness.records import decode_patch
from harness.records.sequences import Tokens

SCHEMA_VERSION = 1

_ATTEMPT = {
    "id": ("string", "Run, instance and seed."),
    "instance_id": ("string", "The instance."),
    "repo": ("string", "Its repository."),
    "base_commit": ("string", "Its commit."),
    "run": ("string", "Id of the run."),
    "method": ("string", "Of the run."),
    "model": ("string", "Null: the method uses none."),
    "seed": ("int32", "Of the attempt."),
    "verdict": ("string", "Of the grade."),
    "resolved": ("bool", "Whether the verdict is `resolved`."),
    "reason": ("string", "The grader's."),
    "stop_reason": ("string", "Why the rollout ended."),
    "turns": ("int32", "Turns of the agent."),
    "tool_calls": ("int32", "Of the agent."),
    "prompt_tokens": ("int64", "The endpoint's count."),
    "generated_tokens": ("int64", "The endpoint's count."),
    "calls": ("int32", "Model calls, those without an answer included."),
    "sequences": ("int32", "Token sequences that its turns join to; 0 without exact tokens."),
    "inexact": ("string", "Why it has no rows of tokens; empty: it has."),
    "fail_to_pass_passed": ("int32", "Tests."),
    "fail_to_pass_total": ("int32", "Tests."),
    "pass_to_pass_passed": ("int32", "Tests."),
    "pass_to_pass_total": ("int32", "Tests."),
    "privileged": (
        "string",
        "What of the solution the agent was given (`pi:SOURCE`, `policy:gold`); empty: nothing.",
    ),
    "findings": ("strings", "Codes of the grade's findings."),
    "patch": ("string", "What it proposed; `?` for bytes that are not UTF-8."),
    "patch_sha256": ("string", "Of the patch's bytes."),
    "content_sha256": ("string", "Of instance, patch and tokens: equal for duplicates."),
    "duplicate_of": ("string", "Id of the first attempt with this content; null: it is the first."),
}
_TURN = {
    "attempt": ("string", "Id of the attempt."),
    "instance_id": ("string", "The instance."),
    "call": ("int32", "Number of the model call, from 1, as in `calls.parquet`."),
    "turn": ("int32", "Number of the agent's turn, from 1."),
    "prompt_ids": ("ids", "Token ids of the prompt, as the endpoint gave them."),
    "sampled_ids": ("ids", "Token ids of the answer, as sampled."),
    "loss_mask": ("mask", "Over `prompt_ids` + `sampled_ids`: true exactly for the sampled."),
    "log_probs": ("floats", "Of the sampled tokens; empty where none were recorded."),
    "temperature": ("float64", "Of sampling; null: the endpoint's own."),
    "top_p": ("float64", "Of sampling; null: the endpoint's own."),
    "finish_reason": ("string", "The endpoint's."),
    "message": ("string", "JSON of the answer's message."),
}
_SEQUENCE = {
    "id": ("string", "Id of the attempt, `#`, and the sequence's number from 0."),
    "attempt": ("string", "Id of the attempt."),
    "instance_id": ("string", "The instance."),
    "resolved": ("bool", "Outcome of the attempt."),
    "input_ids": ("ids", "Prompts and answers of the turns, each token once."),
    "loss_mask": ("mask", "True exactly for sampled tokens."),
    "log_probs": ("floats", "As recorded; NaN for all other tokens."),
    "turns": ("turns", "First and after-last token, number, temperature and top-p of each turn."),
    "messages": ("string", "JSON of the last turn's messages with its answer."),
}
_PREFERENCE = {
    "instance_id": ("string", "The instance of both."),
    "chosen": ("string", "Id of the resolved attempt's sequence."),
    "rejected": ("string", "Id of the other's."),
    "rejected_verdict": ("string", "Of the other."),
    "prompt_ids": ("ids", "First prompt, the same for both."),
    "chosen_ids": ("ids", "What follows the prompt: answers and observations."),
    "chosen_mask": ("mask", "Over `chosen_ids`: true for sampled tokens."),
    "rejected_ids": ("ids", "What follows the prompt in the other."),
    "rejected_mask": ("mask", "Over `rejected_ids`."),
}
FIELDS: dict[str, dict[str, tuple[str, str]]] = {
    "attempts": _ATTEMPT,
    "turns": _TURN,
    "sequences": _SEQUENCE,
    "sft": _SEQUENCE,
    "preferences": _PREFERENCE,
}


def schema(config: str) -> Any:
    """The Arrow schema of a configuration."""
    import pyarrow as pa

    turn = [("start", pa.int32()), ("end", pa.int32()), ("turn", pa.int32())]
    turn += [("temperature", pa.float64()), ("top_p", pa.float64())]
    kinds = {
        "bool": pa.bool_(),
        "strings": pa.list_(pa.string()),
        "ids": pa.list_(pa.int32()),
        "mask": pa.list_(pa.bool_()),
        "floats": pa.list_(pa.float32()),
        "turns": pa.list_(pa.struct(turn)),
    }
    fields = FIELDS[config].items()
    return pa.schema([(name, kinds.get(kind) or kind) for name, (kind, _) in fields])


def attempt_row(
    one: Recorded, calls: Calls, sequences: int, duplicate_of: str | None
) -> dict[str, Any]:
    """The row of `attempts`."""
    attempt, grade = one.attempt, one.grade
    try:
        patch = (one.folder / "patch.diff").read_bytes()
    except FileNotFoundError:
        patch = b""
    return {
        "id": one.id,
        "instance_id": one.instance.instance_id,
        "repo": one.instance.repo,
        "base_commit": one.instance.base_commit,
        "run": one.run,
        "method": attempt.method,
        "model": attempt.model,
        "seed": one.seed,
        "verdict": grade.verdict.value,
        "resolved": one.resolved,
        "reason": valid_text(grade.reason),
        "stop_reason": attempt.stop_reason.value,
        "turns": attempt.usage.turns,
        "tool_calls": attempt.usage.tool_calls,
        "prompt_tokens": attempt.usage.prompt_tokens,
        "generated_tokens": attempt.usage.generated_tokens,
        "calls": len(calls.rows),
        "sequences": sequences,
        "inexact": calls.inexact,
        **grade.counts.model_dump(),
        "privileged": one.privileged,
        "findings": [finding.code for finding in grade.findings],
        "patch": valid_text(decode_patch(patch)),
        "patch_sha256": attempt.patch_sha256,
        "content_sha256": calls.key(one),
        "duplicate_of": duplicate_of,
    }


def turn_row(one: Recorded, row: dict[str, Any]) -> dict[str, Any]:
    """The row of `turns` of a model call."""
    copied = ("call", "turn", "prompt_ids", "sampled_ids", "temperature", "top_p", "finish_reason")
    return {
        "attempt": one.id,
        "instance_id": one.instance.instance_id,
        **{name: row[name] for name in copied},
        "loss_mask": row["mask"],
        "log_probs": row["logprobs"],
        "message": json.dumps(message(row)),
    }


def sequence_row(one: Recorded, calls: Calls, tokens: Tokens, number: int) -> dict[str, Any]:
    """The row of `sequences`, and of `sft`."""
    last = next(row for row in calls.turns if row["turn"] == tokens.turns[-1].number)
    return {
        "id": f"{one.id}#{number}",
        "attempt": one.id,
        "instance_id": one.instance.instance_id,
        "resolved": one.resolved,
        "input_ids": tokens.ids,
        "loss_mask": _mask(tokens),
        "log_probs": tokens.log_probs,
        "turns": [
            {
                "start": turn.start,
                "end": turn.end,
                "turn": turn.number,
                "temperature": turn.temperature,
                "top_p": turn.top_p,
            }
            for turn in tokens.turns
        ],
        "messages": json.dumps([*_messages(last), message(last)]),
    }


def preference_row(
    chosen: tuple[Recorded, Tokens], rejected: tuple[Recorded, Tokens]
) -> dict[str, Any]:
    """The row of a pair; each has one sequence, and both the same first prompt."""
    start = chosen[1].turns[0].start
    return {
        "instance_id": chosen[0].instance.instance_id,
        "chosen": f"{chosen[0].id}#0",
        "rejected": f"{rejected[0].id}#0",
        "rejected_verdict": rejected[0].grade.verdict.value,
        "prompt_ids": chosen[1].ids[:start],
        "chosen_ids": chosen[1].ids[start:],
        "chosen_mask": _mask(chosen[1])[start:],
        "rejected_ids": rejected[1].ids[start:],
        "rejected_mask": _mask(rejected[1])[start:],
    }


def _mask(tokens: Tokens) -> Any:
    import numpy as np

    mask = np.zeros(len(tokens.ids), bool)
    for turn in tokens.turns:
        mask[turn.start : turn.end] = True
    return mask


def _messages(row: dict[str, Any]) -> list[Any]:
    try:
        found = json.loads(row["request"])["messages"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return []
    return found if isinstance(found, list) else []
