"""A text teacher on this machine: a model of transformers with a tokeniser of its own."""

import time
from collections.abc import Sequence

import numpy as np
import torch

from trainers.data.trajectories import Trajectory
from trainers.engine.errors import TeacherError
from trainers.engine.networks import load_frozen
from trainers.omniopd.settings import LocalTextSettings
from trainers.omniopd.teachers.base import most_tokens
from trainers.omniopd.texts import Answer, Ask
from trainers.segments.local import LocalSegments, run_of
from trainers.segments.sampling import Place


class LocalContinuer:
    """Samples at temperature 1 with nothing cut off; a text is run once for all continuations."""

    concurrency = 1

    def __init__(self, settings: LocalTextSettings, device: torch.device) -> None:
        if settings.temperature != 1 or settings.top_p != 1:
            raise TeacherError(
                "text_teacher: a local model is sampled at temperature 1 and top_p 1; leave both "
                "out, or serve the model and give its endpoint"
            )
        self._settings = settings
        self._network = load_frozen(settings.model, settings.dtype, None, device)
        self._segments = LocalSegments(self._network)
        run_of(self._network)
        if settings.prompt == "chat" and not self._network.tokenizer.chat_template:
            raise TeacherError(
                f"text_teacher: model {self._network.name} has no chat template: set "
                "text_teacher.prompt to text"
            )

    @property
    def identity(self) -> dict[str, str]:
        """See `TextTeacher`."""
        return {
            "kind": "local",
            "weights_sha256": self._network.sha256,
            "tokenizer_sha256": self._network.tokenizer_sha256,
            "dtype": self._settings.dtype,
            "prompt": self._settings.prompt,
            "length_factor": str(self._settings.length_factor),
        }

    def check(self, asks: Sequence[Ask]) -> None:
        """Raise TeacherError for a text that, with its continuation, is too long for the model."""
        for ask in asks:
            needed = len(self._ids(ask)) + most_tokens(ask, self._settings.length_factor)
            if needed > self._network.longest:
                raise TeacherError(
                    f"text_teacher: model {self._network.name} takes {self._network.longest} "
                    f"tokens, and a text with its continuation has {needed}: set data.max_tokens "
                    "lower, or choose another teacher"
                )

    def answer(self, ask: Ask, count: int, seed: int) -> Answer:
        """See `Continuer`."""
        began = time.monotonic()
        ids = self._ids(ask)
        name = f"{ask.messages} {ask.text}"  # what its random numbers are drawn by
        given = np.asarray(ids, np.int32)
        text = Trajectory(name, "", "teacher", given, (), np.full(len(ids), np.nan, np.float32))
        length = most_tokens(ask, self._settings.length_factor)
        (found,) = self._segments.continuations([Place(text, len(ids) - 1)], count, length, seed)
        texts = [
            self._text(row[:size].tolist())
            for row, size in zip(found.ids, found.lengths.tolist(), strict=True)
        ]
        return Answer(
            texts=tuple(texts),
            prompt_tokens=len(ids),
            generated_tokens=int(found.lengths.sum()),
            seconds=time.monotonic() - began,
        )

    def _ids(self, ask: Ask) -> list[int]:
        tokenizer = self._network.tokenizer
        if not ask.messages:
            found: list[int] = tokenizer(ask.text)["input_ids"]
            return found or [tokenizer.bos_token_id or tokenizer.eos_token_id]
        messages = [message.model_dump() for message in ask.messages]
        if not ask.text:
            text = tokenizer.apply_chat_template(
                messages, add_generation_prompt=True, tokenize=False
            )
        else:
            messages.append({"role": "assistant", "content": ask.text})
            text = tokenizer.apply_chat_template(
                messages, continue_final_message=True, tokenize=False
            )
        ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _text(self, ids: list[int]) -> str:
        text: str = self._network.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text
