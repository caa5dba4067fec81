"""Answers in OpenAI's shapes, whole and streamed, with vLLM's token ids and prompt log-probs."""

import secrets
import time
from collections.abc import Sequence
from typing import Any

from trainers.serving.protocol import ChatRequest, CompletionRequest
from trainers.serving.sampling import TokenLogprobs
from trainers.serving.service import Piece, Service

Json = dict[str, Any]


class _Answer:
    """What both kinds of answer share."""

    prefix: str
    whole_object: str
    chunk_object: str

    def __init__(
        self, service: Service, asked: ChatRequest | CompletionRequest, prompt: list[int]
    ) -> None:
        self._service = service
        self._asked = asked
        self._prompt = prompt
        self._id = f"{self.prefix}-{secrets.token_hex(12)}"
        self._created = int(time.time())

    def whole(self, pieces: Sequence[Piece]) -> Json:
        """The answer to a request that does not stream."""
        raise NotImplementedError

    def chunk(self, piece: Piece) -> Json:
        """One event of a streamed answer."""
        raise NotImplementedError

    def usage_chunk(self, pieces: int) -> Json:
        """The last event of a stream whose client asked for token counts."""
        return self._envelope(self.chunk_object, []) | {"usage": self._usage(pieces)}

    def _envelope(self, kind: str, choices: list[Json]) -> Json:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._service.name,
            "choices": choices,
        }

    def _usage(self, generated: int) -> Json:
        return {
            "prompt_tokens": len(self._prompt),
            "completion_tokens": generated,
            "total_tokens": len(self._prompt) + generated,
        }

    def _prompt_logprobs(self, first: Piece) -> list[Json | None] | None:
        if self._asked.prompt_logprobs is None or first.prompt is None:
            return None
        logprobs = zip(self._prompt[1:], first.prompt.logprobs, strict=True)
        return [None, *(self._ranked(token, entry) for token, entry in logprobs)]

    def _ranked(self, token: int, entry: TokenLogprobs) -> Json:
        ranked = {other: (value, rank) for rank, (other, value) in enumerate(entry.top, start=1)}
        ranked.setdefault(token, (entry.logprob, entry.rank))
        return {
            str(other): {
                "logprob": value,
                "rank": rank,
                "decoded_token": self._service.token_text(other),
            }
            for other, (value, rank) in ranked.items()
        }


class ChatAnswer(_Answer):
    """Answers of `/v1/chat/completions`."""

    prefix = "chatcmpl"
    whole_object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def whole(self, pieces: Sequence[Piece]) -> Json:
        choice: Json = {
            "index": 0,
            "message": {"role": "assistant", "content": "".join(piece.text for piece in pieces)},
            "logprobs": self._logprobs(pieces),
            "finish_reason": pieces[-1].finish,
        }
        answer = self._envelope(self.whole_object, [choice])
        answer["usage"] = self._usage(len(pieces))
        if self._asked.prompt_logprobs is not None:
            answer["prompt_logprobs"] = self._prompt_logprobs(pieces[0])
        if self._asked.return_token_ids:
            answer["prompt_token_ids"] = self._prompt
            choice["token_ids"] = [piece.token.id for piece in pieces]
        return answer

    def chunk(self, piece: Piece) -> Json:
        first = piece.prompt is not None
        choice: Json = {
            "index": 0,
            "delta": ({"role": "assistant"} if first else {}) | {"content": piece.text},
            "logprobs": self._logprobs([piece]),
            "finish_reason": piece.finish,
        }
        answer = self._envelope(self.chunk_object, [choice])
        if self._asked.return_token_ids:
            choice["token_ids"] = [piece.token.id]
            if first:
                answer["prompt_token_ids"] = self._prompt
        return answer

    def _logprobs(self, pieces: Sequence[Piece]) -> Json | None:
        if self._asked.wanted_logprobs is None:
            return None
        content = []
        for piece in pieces:
            logprobs = piece.token.logprobs
            assert logprobs is not None
            top = [self._entry(token, value) for token, value in logprobs.top]
            content.append(self._entry(piece.token.id, logprobs.logprob) | {"top_logprobs": top})
        return {"content": content}

    def _entry(self, token: int, logprob: float) -> Json:
        text = self._service.token_text(token)
        return {"token": text, "logprob": logprob, "bytes": list(text.encode())}


class CompletionAnswer(_Answer):
    """Answers of `/v1/completions`."""

    prefix = "cmpl"
    whole_object = "text_completion"
    chunk_object = "text_completion"

    def whole(self, pieces: Sequence[Piece]) -> Json:
        answer = self._envelope(self.whole_object, [self._choice(pieces)])
        answer["usage"] = self._usage(len(pieces))
        return answer

    def chunk(self, piece: Piece) -> Json:
        return self._envelope(self.chunk_object, [self._choice([piece])])

    def _choice(self, pieces: Sequence[Piece]) -> Json:
        choice: Json = {
            "index": 0,
            "text": "".join(piece.text for piece in pieces),
            "logprobs": self._logprobs(pieces),
            "finish_reason": pieces[-1].finish,
        }
        first = pieces[0].prompt is not None
        if self._asked.prompt_logprobs is not None and first:
            choice["prompt_logprobs"] = self._prompt_logprobs(pieces[0])
        if self._asked.return_token_ids:
            choice["token_ids"] = [piece.token.id for piece in pieces]
            if first:
                choice["prompt_token_ids"] = self._prompt
        return choice

    def _logprobs(self, pieces: Sequence[Piece]) -> Json | None:
        if self._asked.wanted_logprobs is None:
            return None
        tokens, values, tops = [], [], []
        for piece in pieces:
            logprobs = piece.token.logprobs
            assert logprobs is not None
            tokens.append(self._service.token_text(piece.token.id))
            values.append(logprobs.logprob)
            tops.append({self._service.token_text(token): value for token, value in logprobs.top})
        return {"tokens": tokens, "token_logprobs": values, "top_logprobs": tops}
