"""From an expert state to a row."""

import json
from dataclasses import dataclass

from harness.datagen.triples_pi import PIText
from harness.datagen.triples_rows import TripleRow
from harness.datagen.triples_share import Share
from harness.datagen.triples_spans import TokenSpans
from harness.datagen.triples_state import ExpertState
from harness.datagen.triples_states import Heavy
from harness.records import Instance
from pi_extractors.records import TIERS, SourceName


@dataclass(frozen=True)
class RowContext:
    """What the rows of one expert state have in common."""

    row_id: str
    instance: Instance
    run: str
    seed: int
    call: Heavy
    spans: TokenSpans | None


def make_row(
    context: RowContext, state: ExpertState, source: SourceName, share: Share, pi: PIText | None
) -> TripleRow:
    """The row of one source. `share` is anything but `SURPLUS`."""
    target, call = state.target, context.call
    action = target.answer.calls[target.call]
    ids = [] if target.rewritten else call.sampled_ids
    span = None
    if context.spans is not None and ids:
        span = context.spans.find(ids, target.answer, target.call)
    shown = pi if share is Share.GIVEN and pi is not None else PIText("", 0)
    return TripleRow(
        id=context.row_id,
        instance_id=context.instance.instance_id,
        repo=context.instance.repo,
        base_commit=context.instance.base_commit,
        run=context.run,
        seed=context.seed,
        turn=state.turn,
        pi_source=source.value,
        pi_tier=TIERS[source].value,
        pi_state=share.value,
        pi_text=valid_text(shown.text),
        pi_tokens=shown.tokens,
        state=valid_text(_state(call.request)),
        prompt_ids=call.prompt_ids,
        completion=valid_text(target.answer.text[: action.end]),
        protocol=target.answer.protocol,
        action_start=action.start,
        action_end=action.end,
        completion_ids=ids,
        action_token_start=span.start if span else None,
        action_token_end=span.end if span else None,
        ids_from=call.ids_from,
        rewritten=target.rewritten,
        alignment=target.alignment.value,
        similarity=target.similarity,
        tool=action.tool,
        path=target.path,
        hunks=list(target.hunks),
        edited=sorted({edit.path for edit in state.edits}),
    )


def _state(request: str) -> str:
    value = json.loads(request)
    kept = {name: value[name] for name in ("messages", "tools") if name in value}
    return json.dumps(kept, ensure_ascii=False)


def valid_text(text: str) -> str:
    """The text with halves of characters, which no file can hold, as `?`; as long as before."""
    return text.encode(errors="replace").decode()
