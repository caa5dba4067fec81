"""A teacher whose hidden states another process computes: see `hidden_server`.

Shapes: N sampled tokens, M states of a row, D hidden size, V vocabulary.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import orjson
import torch
from torch import Tensor

from trainers.data.trajectories import Trajectory
from trainers.engine.config import HiddenServerSettings
from trainers.engine.errors import MismatchError, TeacherError
from trainers.losses.chunked import Projection
from trainers.segments.prefixes import Prefix
from trainers.teachers.hidden_format import (
    IDENTITY_HEADER,
    KIND,
    rows_to_bytes,
    tensors_from_bytes,
)
from trainers.teachers.http_client import HttpClient
from trainers.teachers.local import check_lengths, state_key
from trainers.teachers.local_cache import HiddenStateCache
from trainers.teachers.pi_adapters import AdapterNetwork, Read
from trainers.teachers.pi_rows import BASE, PIRow
from trainers.teachers.remote_model import RemoteModel, load_tokenizer


@dataclass(kw_only=True)
class RemoteNetwork(RemoteModel):
    """A model that is not loaded here, but for its output embedding `(V, D)`."""

    head: Tensor


class HiddenClient:
    """Requests to a hidden-state server about one model; another model's answers are refused."""

    def __init__(self, settings: HiddenServerSettings) -> None:
        self.endpoint = settings.endpoint
        self._settings = settings
        self._http = self._client({})
        self._facts = orjson.loads(self._checked("GET", "/identity"))
        self._check(settings)
        self._http = self._client({IDENTITY_HEADER: self._facts["sha256"]})

    def _client(self, headers: dict[str, str]) -> HttpClient:
        settings = self._settings
        return HttpClient(
            settings.endpoint,
            headers=headers,
            timeout_s=settings.timeout_s,
            attempts=settings.attempts,
        )

    def network(self, device: torch.device) -> RemoteNetwork:
        """What is known of the model, with its output embedding on a device."""
        facts = self._facts
        with tempfile.TemporaryDirectory() as folder:
            for name, text in facts["files"].items():
                Path(folder, Path(name).name).write_text(text, encoding="utf-8")
            tokenizer, digest, _ = load_tokenizer(folder)
        if digest != facts["tokenizer_sha256"]:
            raise TeacherError(
                f"teacher {self.endpoint}: its tokeniser is not what its digest says"
            )
        (head,) = self._tensors("GET", "/head", None)
        return RemoteNetwork(
            name=facts["name"],
            place=self.endpoint,
            sha256=facts["sha256"],
            tokenizer=tokenizer,
            tokenizer_sha256=digest,
            embedded=facts["embedded"],
            longest=facts["longest"],
            head=head.to(device),
        )

    def states(
        self, ids: np.typing.NDArray[np.int32], states: np.typing.NDArray[np.int64]
    ) -> Tensor:
        """Hidden states `(M, D)` of one sequence, as `LocalTeacher` computes them."""
        row = PIRow(BASE, (), ids, states, np.empty(0, np.int64))
        return self._tensors("POST", "/trajectory", [row])[0]

    def rows(self, rows: Sequence[PIRow]) -> list[Tensor]:
        """Hidden states `(M, D)` of each row of one batch, as `AdapterNetwork` computes them."""
        return self._tensors("POST", "/rows", rows)

    def _tensors(self, method: str, path: str, rows: Sequence[PIRow] | None) -> list[Tensor]:
        body = None if rows is None else rows_to_bytes(rows)
        try:
            found = tensors_from_bytes(self._checked(method, path, body))
        except ValueError as error:
            raise TeacherError(f"teacher {self.endpoint}{path}: {error}") from None
        shapes = [tuple(each.shape[:-1]) for each in found]
        if rows is not None and shapes != [(len(row.states),) for row in rows]:
            raise TeacherError(f"teacher {self.endpoint}{path}: states of other rows were sent")
        return found

    def _checked(self, method: str, path: str, body: bytes | None = None) -> bytes:
        answer = self._http.ask(method, path, body, KIND)
        if answer.status_code != httpx.codes.OK:
            raise self._http.refused(path, answer)
        return answer.content

    def _check(self, settings: HiddenServerSettings) -> None:
        """Raise MismatchError when the server's model is not the one of the settings."""
        facts = self._facts
        if facts.get("schema_version") != 1:
            raise MismatchError(f"teacher {self.endpoint}: no hidden-state server of this version")
        if settings.model != facts["name"] or not facts["sha256"].startswith(settings.sha256 or ""):
            raise MismatchError(
                f"teacher {self.endpoint} serves {facts['name']} ({facts['sha256'][:12]}…), not "
                f"{settings.model} ({settings.sha256 or 'any weights'}): start it with that model, "
                "or change teacher.model and teacher.sha256"
            )
        absent = sorted(set(settings.adapters) - set(facts["adapters"]))
        if absent:
            raise MismatchError(
                f"teacher {self.endpoint} has no adapter {absent[0]!r}: start it with "
                f"--adapter {absent[0]}=FOLDER"
            )


class HiddenRows(AdapterNetwork):
    """An `AdapterNetwork` in a server."""

    def __init__(self, client: HiddenClient, device: torch.device) -> None:
        self._client = client
        self._device = device

    def read(self, rows: Sequence[PIRow], *, keep: bool = False) -> list[Read]:
        """One forward pass of the server's. Raises TeacherError for what cannot be sent: keys and
        values."""
        if keep:
            raise TeacherError(
                f"teacher {self._client.endpoint}: segments cannot be sampled by a hidden-state "
                "server: use a local teacher or vLLM"
            )
        found = self._client.rows(rows)
        return [
            Read(row, hidden.to(self._device), Prefix())
            for row, hidden in zip(rows, found, strict=True)
        ]


class HiddenTeacher:
    """A `Teacher` without PI, the same to the bit as `LocalTeacher` of the server's model."""

    def __init__(
        self, client: HiddenClient, network: RemoteNetwork, cache: Path | None = None
    ) -> None:
        self.model = network
        self._client = client
        self._cache = None if cache is None else HiddenStateCache(cache)

    def check(self, trajectories: Sequence[Trajectory]) -> None:
        """See `Teacher`."""
        check_lengths(self.model, trajectories)

    def project(self, trajectories: Sequence[Trajectory]) -> Projection:
        """See `Teacher`."""
        hidden = torch.cat([self._states(one) for one in trajectories])
        head = self.model.head
        return Projection(hidden.to(head.device), head[: self.model.vocabulary])

    def _states(self, one: Trajectory) -> Tensor:
        key = state_key(self.model, one)
        found = None if self._cache is None else self._cache.get(key, self.model.head.dtype)
        if found is None:
            found = self._client.states(one.ids.astype(np.int32), one.positions - 1)
            if self._cache is not None:
                self._cache.put(key, found)
        return found
