"""A model that writes bugs and problem statements, asked through the project's gateway.

Every answer is kept, so that a second start asks for none twice and makes the same instances.
"""

import ast
import hashlib
import re
import textwrap
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.agents.base import Endpoint, EndpointFailure
from harness.agents.chat import (
    ChatClient,
    ContextOverflowError,
    OutOfTimeError,
    RefusedRequestError,
)
from harness.datagen.journal import Journal
from harness.datagen.synthesis.candidates import (
    PARSING,
    Candidate,
    Place,
    first_line,
    outer_functions,
)
from harness.datagen.synthesis.history import candidate_of
from harness.datagen.synthesis.judge import Finding
from harness.datagen.synthesis.statement import leaks
from harness.gateway import Gateway
from harness.records import Budget, Record
from harness.records.repair.places import FUNCTION_NODES, Function

OPERATOR = "model"
_SECONDS = 300.0
_MOST_FUNCTION_LINES, _LEAST_FUNCTION_LINES = 60, 4
_LONGEST_STATEMENT, _SHORTEST_STATEMENT = 4000, 80
_TRIES = 2
_FENCED = re.compile(r"```(?:python|py)?[ \t]*\n(.*?)```", re.S)

_BUG = """\
Below is a function of a Python package whose tests pass. Rewrite it with one realistic bug, such as
a developer might make: a case that is forgotten, a wrong bound, a wrong default. It must still be
valid Python with the same name and arguments, and must fail for some inputs only. Do not mark or
explain the bug. Answer with the whole function in one ```python block.

```python
{source}```
"""
_STATEMENT = """\
Write the text of a GitHub issue by a user who sees the following. Say what was done, what came of
it and what was expected, with a short example. Do not guess at the cause, do not name the file or
function that may be wrong unless the example calls it, and do not mention any test.

{report}
"""


class _Answer(Record):
    key: str
    text: str


class ModelWriter:
    """A context manager. folder: keeps the answers, and a record of each call."""

    def __init__(self, endpoint: Endpoint, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._gateway = Gateway(endpoint)
        self._model = endpoint.model
        self._most = endpoint.decoding.max_tokens
        self._journal = Journal(folder / "answers.jsonl", _Answer)
        self._known = {line.key: line.text for line in self._journal}

    def __enter__(self) -> Self:
        self._gateway.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._gateway.__exit__(kind, error, trace)

    def bugs(
        self,
        files: Mapping[str, str],
        covered: Collection[Place] | None,
        *,
        seed: str,
        most: int,
    ) -> Iterator[Candidate]:
        """Functions as the model rewrites them, at most `most`; answers that are none are left out.

        Raises EndpointFailure.
        """
        found = []
        for path, source in files.items():
            with PARSING:
                functions = list(outer_functions(ast.parse(source)))
            for name, node in functions:
                place = (path, first_line(node))
                lines = (node.end_lineno or node.lineno) - place[1] + 1
                if covered is not None and place not in covered:
                    continue
                if _LEAST_FUNCTION_LINES <= lines <= _MOST_FUNCTION_LINES:
                    tie = hashlib.sha256(f"{seed} {path} {name}".encode()).hexdigest()
                    found.append((tie, path, node))
        for _, path, node in sorted(found, key=lambda one: one[:2])[:most]:
            text = _rewritten(files[path], node, self)
            if text is not None:
                one = candidate_of(
                    {path: files[path]}, {path: text}, "rewritten", covered, OPERATOR
                )
                if one is not None:
                    yield one

    def reworded(self, finding: Finding) -> Finding:
        """A finding whose statement the model wrote, if one of two gives nothing away.

        Raises EndpointFailure.
        """
        for number in range(_TRIES):
            report = finding.problem_statement
            text = self.ask(_STATEMENT.format(report=report), number).strip() + "\n"
            if not _SHORTEST_STATEMENT <= len(text) <= _LONGEST_STATEMENT:
                continue
            told = leaks(
                text,
                patch=finding.patch,
                tests=(*finding.fail_to_pass, *finding.pass_to_pass),
                shown=finding.shown,
                path=finding.path,
            )
            if not any(told):
                return finding.model_copy(update={"problem_statement": text})
        return finding

    def ask(self, prompt: str, number: int = 0) -> str:
        """The model's answer; nothing when it has none within its limits.

        Raises EndpointFailure.
        """
        facts = f"{self._model}\0{self._most}\0{number}\0{prompt}"
        key = hashlib.sha256(facts.encode(errors="replace")).hexdigest()
        if key not in self._known:
            self._known[key] = self._answer(prompt, number, key)
            self._journal.add(_Answer(key=key, text=self._known[key]))
        return self._known[key]

    def _answer(self, prompt: str, number: int, key: str) -> str:
        budget = Budget(turns=1, wall_clock_seconds=_SECONDS)
        calls = self._folder / f"{key[:16]}.parquet"
        with (
            self._gateway.open(budget=budget, seed=number, calls=calls) as door,
            ChatClient(door.endpoint) as client,
        ):
            try:
                answer = client.complete(
                    [{"role": "user", "content": prompt}], max_tokens=self._most, timeout=_SECONDS
                )
            except (OutOfTimeError, ContextOverflowError):
                return ""
            except RefusedRequestError as error:
                raise EndpointFailure(str(error)) from error
        return answer.text.encode(errors="replace").decode()


def _rewritten(source: str, node: Function, writer: ModelWriter) -> str | None:
    """A file with a function as the model writes it; None when its answer is no such function."""
    lines = source.splitlines(keepends=True)
    first, last = first_line(node) - 1, node.end_lineno or node.lineno
    old = "".join(lines[first:last])
    indent = lines[first][: len(lines[first]) - len(lines[first].lstrip())]
    blocks = _FENCED.findall(writer.ask(_BUG.format(source=textwrap.dedent(old))))
    if len(blocks) != 1:
        return None
    try:
        with PARSING:
            (new,) = ast.parse(textwrap.dedent(blocks[0])).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    if not isinstance(new, FUNCTION_NODES) or type(new) is not type(node):
        return None
    if new.name != node.name or ast.dump(new.args) != ast.dump(node.args):
        return None
    text = textwrap.indent(textwrap.dedent(blocks[0]).strip("\n") + "\n", indent)
    return "".join([*lines[:first], text, *lines[last:]])
