"""The smallest agent that mends code: it chooses a function, then an edit of it."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from harness.agents.base import Agent, Emit, Endpoint
from harness.agents.chat import ChatClient
from harness.agents.repair.conversation import Conversation, Ended
from harness.agents.repair.task import RepairTask, RepairTaskError, read_task
from harness.records import Budget, Event, Instance, Outcome, Record, StopReason
from harness.records.repair.text import edit_choices, place_choice, second_state
from harness.sandboxes.base import WORKDIR, Sandbox


class RepairOptions(Record):
    """Options of the repair agent."""

    policy: Literal["model", "gold"] = Field(
        "model",
        description="gold: the gold patch's choices are the only ones that the model is given, so "
        "that the calls hold an expert's actions, token by token.",
    )


class RepairAgent(Agent):
    """Reads the file that the statement names, asks the model twice, makes one edit, ends.

    An instance of another task ends in an agent error that says so.
    """

    needs_sandbox = True

    def __init__(self, options: RepairOptions) -> None:
        self._options = options

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
        """See `Agent.run`. Raises ValueError without a sandbox or an endpoint."""
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
                _work(task, talk, sandbox, only)
                patch = sandbox.diff(instance.base_commit)
                return Outcome(patch=patch, stop_reason=StopReason.FINISHED, usage=talk.usage)
            except Ended as end:
                reason, detail = end.reason, str(end)
            except ValueError as error:
                reason = StopReason.AGENT_ERROR
                detail = f"the repository cannot be compared with its base commit: {error}"
            talk.event("note", f"{reason}: {detail}")
        return Outcome(patch="", stop_reason=reason, detail=detail, usage=talk.usage)


def _gold_choices(task: RepairTask, instance: Instance) -> tuple[str, str]:
    gold = task.gold(instance.patch)
    name = task.names[task.functions.index(gold.function)]
    return name, place_choice(gold.number, gold.text)


def _work(
    task: RepairTask, talk: Conversation, sandbox: Sandbox, only: tuple[str | None, str | None]
) -> None:
    path = f"{WORKDIR}/{task.statement.path}"
    talk.event("user", task.first_state)
    function = task.named(talk.choose(task.first_state, task.names, only[0]))
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
