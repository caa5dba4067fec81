"""The smallest agent that mends code: it chooses a function, then an edit of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from harness.agents.base import Agent, Emit, Endpoint
from harness.agents.chat import ChatClient
from harness.agents.repair.conversation import Conversation, Ended
from harness.agents.repair.pi import PIFile, pi_block
from harness.agents.repair.task import RepairTask, RepairTaskError, read_task
from harness.records import Budget, Event, Instance, Outcome, Record, StopReason
from harness.records.repair.text import edit_choices, place_choice, second_state
from harness.sandboxes.base import WORKDIR, Sandbox
from pi_extractors.records import SourceName


class RepairOptions(Record):
    """Options of the repair agent."""

    policy: Literal["model", "gold"] = Field(
        "model",
        description="gold: the gold patch's choices are the only ones that the model is given, so "
        "that the calls hold an expert's actions, token by token.",
    )
    pi: Literal["none", "given", "empty"] = Field(
        "none",
        description="given: a block with the instance's PI stands in front of its first state, as "
        "PI adapters are trained; empty: the block with nothing in it, which tells what an "
        "adapter does without PI. For teachers alone.",
    )
    pi_records: Path | None = Field(None, description="A file of `harness pi extract`.")
    pi_source: SourceName | None = Field(None, description="Which source of it.")

    @model_validator(mode="after")
    def _pi_has_a_source(self) -> Self:
        if self.pi == "given" and (self.pi_records is None or self.pi_source is None):
            raise ValueError("pi: given needs pi_records (a file) and pi_source")
        return self


class RepairAgent(Agent):
    """Reads the file that the statement names, asks the model twice, makes one edit, ends.

    An instance of another task ends in an agent error that says so.
    """

    needs_sandbox = True

    def __init__(self, options: RepairOptions) -> None:
        self._options = options
        self._pi: PIFile | None = None
        if options.pi == "given" and options.pi_records and options.pi_source:
            self._pi = PIFile(options.pi_records, options.pi_source)

    def facts(self) -> Mapping[str, str]:
        """The digest of the PI that it shows."""
        return {} if self._pi is None else {"pi_sha256": self._pi.sha256}

    def run(
        self,
        instance: Instance,
        *,
        sandbox: Sandbox | None,
        endpoint: Endpoint | None,
        budget: Budget,
        seed: int,
        emit: Emit,
        logs: Path,
    ) -> Outcome:
        """See `Agent.run`. Raises ValueError without a sandbox, an endpoint, or the PI to show."""
        block = "" if self._options.pi == "none" else pi_block(self._text(instance))
        if sandbox is None or endpoint is None:
            raise ValueError("the repair agent needs a sandbox and a model endpoint")
        try:
            task = read_task(
                instance.problem_statement,
                lambda path, limit: sandbox.read(f"{WORKDIR}/{path}", limit=limit),
            )
            expert = self._options.policy == "gold"
            only = _gold_choices(task, instance) if expert else (None, None)
        except RepairTaskError as error:
            emit(Event(step=0, seconds=0, kind="note", text=str(error)))
            return Outcome(patch="", stop_reason=StopReason.AGENT_ERROR, detail=str(error))
        with ChatClient(endpoint) as client:
            talk = Conversation(client, endpoint, budget, emit)
            try:
                _work(task, talk, sandbox, only, block)
                patch = sandbox.diff(instance.base_commit)
                return Outcome(patch=patch, stop_reason=StopReason.FINISHED, usage=talk.usage)
            except Ended as end:
                reason, detail = end.reason, str(end)
            except ValueError as error:
                reason = StopReason.AGENT_ERROR
                detail = f"the repository cannot be compared with its base commit: {error}"
            talk.event("note", f"{reason}: {detail}")
        return Outcome(patch="", stop_reason=reason, detail=detail, usage=talk.usage)

    def _text(self, instance: Instance) -> str:
        return "" if self._pi is None else self._pi.text(instance.instance_id)


def _gold_choices(task: RepairTask, instance: Instance) -> tuple[str, str]:
    gold = task.gold(instance.patch)
    name = task.names[task.functions.index(gold.function)]
    return name, place_choice(gold.number, gold.text)


def _work(
    task: RepairTask,
    talk: Conversation,
    sandbox: Sandbox,
    only: tuple[str | None, str | None],
    block: str,
) -> None:
    path = f"{WORKDIR}/{task.statement.path}"
    first = block + task.first_state
    talk.event("user", first)
    function = task.named(talk.choose(first, task.names, only[0]))
    state = second_state(function)
    talk.acted(
        f"file_editor: view {path} {function.name}",
        state,
        repair={"path": task.statement.path, "lines": [function.line, function.end_line]},
    )
    text = task.edit(function, talk.choose(state, edit_choices(function), only[1]))
    line, old, new = _changed_line(task.source, text)
    try:
        sandbox.write(path, text.encode())
    except OSError as error:
        raise Ended(StopReason.AGENT_ERROR, f"{path} cannot be written: {error}") from None
    talk.acted(
        f"file_editor: str_replace {path} old_str={old!r} new_str={new!r}",
        "The file has been edited.",
        repair={"path": task.statement.path, "line": line, "old": old, "new": new},
    )


def _changed_line(before: str, after: str) -> tuple[int, str, str]:
    """The one line that differs: its number, before, after. Edits make and remove no lines."""
    pairs = enumerate(zip(before.split("\n"), after.split("\n"), strict=True), start=1)
    return next((number, old, new) for number, (old, new) in pairs if old != new)
