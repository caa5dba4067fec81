"""A text teacher behind an OpenAI-compatible endpoint."""

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from trainers.engine.errors import TeacherError
from trainers.omniopd.settings import EndpointSettings
from trainers.omniopd.teachers.bounds import TokenBound
from trainers.omniopd.teachers.budget import Paid
from trainers.omniopd.teachers.cache import write_atomically
from trainers.omniopd.teachers.parts import Part, Tokens, answers, check_form, shown
from trainers.omniopd.teachers.prefill import frame
from trainers.omniopd.teachers.probe import Capability, Probe, body
from trainers.omniopd.teachers.wire import Json, RefusedError, Reply, Wire
from trainers.omniopd.texts import Answer, Ask

_FOLDER = "endpoints"


class EndpointTeacher:
    """A `TextTeacher`, and a `PartTeacher`, that connects when it is first needed.

    folder: where it is kept what the endpoint can do. paid: takes what finding out has cost.
    bound: counts tokens where the endpoint does not. pause_s: before a request is made once more.
    Raises ConfigError for an address that is none.
    """

    def __init__(
        self,
        settings: EndpointSettings,
        folder: Path,
        bound: TokenBound,
        paid: Callable[[Paid], None] = lambda _: None,
        *,
        pause_s: float = 1,
    ) -> None:
        self.concurrency = settings.concurrency
        self._settings = settings
        self._bound = bound
        self._paid = paid
        self._pause = pause_s
        what = [settings.model, settings.prompt, settings.prefill]
        what += [str(settings.temperature), str(settings.top_p)]
        name = hashlib.sha256(orjson.dumps(what)).hexdigest()
        self._path = folder / _FOLDER / f"{name}.json"
        self._lock = threading.Lock()
        self._connected: tuple[Wire, Capability, int | None] | None = None

    @property
    def capability(self) -> Capability:
        """What the endpoint can do; it is asked where that is not known of the model it serves."""
        return self._connect()[1]

    @property
    def identity(self) -> dict[str, str]:
        """See `TextTeacher`; not where the endpoint is."""
        found, settings = self.capability, self._settings
        return {
            "kind": settings.kind,
            "model": settings.model,
            "served": found.served,
            "answers_as": found.answers_as,
            "prompt": settings.prompt,
            "prefill": found.prefill,
            "strips_space": str(found.strips_space).lower(),
            "left_out": " ".join(found.left_out),
            "temperature": str(settings.temperature),
            "top_p": str(settings.top_p),
            "length_factor": str(settings.length_factor),
        }

    @property
    def together(self) -> int:
        """See `PartTeacher`."""
        return self.capability.together

    def check(self, asks: Sequence[Ask]) -> None:
        """See `TextTeacher`; connects."""
        check_form(asks, self._settings.prompt)
        longest = self._connect()[2]
        if longest is None or not self._bound.exact:
            return
        for ask in asks:
            tokens = self._bound.prompt(ask) + self._limit(ask)
            if tokens > longest:
                raise TeacherError(
                    f"{self._settings.model!r} takes {longest:,} tokens; the text "
                    f"{shown(ask.text)} and its continuation would have {tokens:,}: leave out "
                    "longer trajectories, or take a teacher of longer texts"
                )

    def most(self, part: Part) -> Tokens:
        """See `PartTeacher`."""
        return Tokens(self._bound.prompt(part.ask), part.count * self._limit(part.ask))

    def continuations(
        self, asks: Sequence[Ask], count: int, seed: int
    ) -> Iterator[tuple[int, Answer]]:
        """See `TextTeacher`."""
        return answers(self, asks, count, seed, self.answer)

    def answer(self, part: Part) -> Answer:
        """See `PartTeacher`: one request."""
        wire, can, _ = self._connect()
        framed = frame(part.ask, can.prefill, strips_space=can.strips_space)
        more: Json = {"seed": part.sampling_seed, "n": part.count, **framed.parameters}
        if part.count == 1:
            del more["n"]
        asked = body(self._settings, can.left_out, can.limit, self._limit(part.ask))
        asked |= {name: each for name, each in more.items() if name not in can.left_out}
        try:
            reply = wire.complete(asked) if can.prefill == "none" else wire.chat(asked)
        except RefusedError as error:
            if not error.filtered:
                raise
            nothing = ("",) * part.count
            return Answer(texts=nothing, prompt_tokens=0, generated_tokens=0)
        self._check(reply, part, can)
        texts = tuple(framed.continuation(text) for text in reply.texts)
        return self._counted(reply, part).model_copy(update={"texts": texts})

    def _counted(self, reply: Reply, part: Part) -> Answer:
        prompt, generated = reply.prompt, reply.generated
        if prompt is None:
            prompt = self._bound.prompt(part.ask)
        if generated is None:
            found = sum(self._bound.text(text) for text in reply.texts)
            generated = min(found, part.count * self._limit(part.ask))
        return Answer(
            texts=reply.texts,
            prompt_tokens=prompt,
            generated_tokens=generated,
            cached_tokens=min(reply.cached or 0, prompt),
            seconds=reply.seconds,
        )

    def _check(self, reply: Reply, part: Part, can: Capability) -> None:
        if len(reply.texts) != part.count:
            raise TeacherError(
                f"{self._settings.model!r} gave {len(reply.texts)} continuations of "
                f"{part.count}; it gave as many as were asked for at first ({self._path}; without "
                "this file it is found out again)"
            )
        if reply.model != can.answers_as:
            self._path.unlink(missing_ok=True)
            raise TeacherError(
                f"{self._settings.model!r} now answers as {reply.model!r}, and did as "
                f"{can.answers_as!r}: another model may be behind the endpoint. The same command "
                "finds out what it can do, and keeps its answers apart"
            )

    def _limit(self, ask: Ask) -> int:
        return ceil(ask.tokens * self._settings.length_factor)

    def _connect(self) -> tuple[Wire, Capability, int | None]:
        with self._lock:
            if self._connected is None:
                wire = Wire(self._settings, pause_s=self._pause)
                card = wire.served(self._settings.model)
                longest = card.get("max_model_len")
                longest = longest if isinstance(longest, int) else None
                self._connected = wire, self._capability(wire, _served(card)), longest
            return self._connected

    def _capability(self, wire: Wire, served: str) -> Capability:
        try:
            known = Capability.model_validate_json(self._path.read_bytes())
        except (FileNotFoundError, ValidationError):
            known = None
        if known is not None and known.served == served:
            return known
        found = Probe(wire, self._settings).capability(served)
        self._paid(
            Paid(
                key="probe",
                prompt_tokens=found.prompt_tokens,
                generated_tokens=found.generated_tokens,
                requests=found.requests,
            )
        )
        write_atomically(self._path, found.model_dump_json(indent=1).encode())
        return found


def _served(card: dict[str, Any]) -> str:
    """A model as its endpoint lists it: where it was loaded from, else its name."""
    return str(card.get("root") or card.get("id") or "")[:200]
