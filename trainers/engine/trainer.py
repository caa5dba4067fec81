"""The training loop: the same step for every method.

A step takes a batch of trajectories, packs them into rows, shares the rows among the ranks, and
divides the sum of all tokens' losses by the method's divisor, once.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from trainers.data.order import Cursor
from trainers.data.packing import Row, make_row, pack
from trainers.data.trajectories import Trajectory
from trainers.engine.checkpoints import Checkpoint, CheckpointFolder, join_state, split_state
from trainers.engine.config import TrainSettings
from trainers.engine.counts import TokenCount
from trainers.engine.errors import CheckpointError, DivergedError, StoppedError
from trainers.engine.guards import DivergenceGuard
from trainers.engine.interrupts import stop_requests
from trainers.engine.journal import Journal
from trainers.engine.networks import Network
from trainers.engine.optimiser import learning_rate, make_optimiser, moments, set_moments
from trainers.engine.ranks import Ranks, like, whole
from trainers.methods.base import Beginning, Role, RowWork
from trainers.omniopd.prompts import Prompts
from trainers.omniopd.texts import TextTeacher
from trainers.segments.prefixes import keeping_prefix
from trainers.teachers.base import Fetching, Teacher

Observations = dict[str, dict[str, np.typing.NDArray[np.float64]]]


class Trainer:
    """Trains a network by `settings.method`; `run` continues where the last checkpoint is.

    trajectories: numbered as the cursor draws them. teachers: by role, for the roles of the method.
    text: a text teacher and what it is asked, where the method wants them.
    """

    def __init__(
        self,
        settings: TrainSettings,
        network: Network,
        teachers: Mapping[Role, Teacher],
        trajectories: Sequence[Trajectory],
        cursor: Cursor,
        ranks: Ranks,
        text: tuple[TextTeacher, Prompts] | None = None,
    ) -> None:
        self._settings = settings
        self._text = text
        self._method = settings.method
        self._network = network
        self._teachers = {role: teachers[role] for role in settings.method.roles}
        self._trajectories = trajectories
        self._cursor = cursor
        asked = {id(each.model): each.model for each in self._teachers.values()}
        self._asked = TokenCount(
            each.causal for each in asked.values() if isinstance(each, Network) and each != network
        )
        self._ranks = ranks
        self._first = ranks.first
        self._whole = settings.sharding == "none"
        self._guard = DivergenceGuard(settings.guards)
        self._checkpoints = CheckpointFolder(
            settings.out / "checkpoints", settings.checkpoints.keep
        )
        self.parameters: dict[str, nn.Parameter] = {
            name: each for name, each in network.named_parameters() if each.requires_grad
        }
        self._optimiser = make_optimiser(self.parameters, settings.optimiser)

    def run(self, *, skip_damaged: bool = False) -> None:
        """Train to the last step.

        Raises DivergedError when the guard stops it, StoppedError when a signal does, and
        CheckpointError when a checkpoint cannot be written or is damaged.
        """
        start = self._resume(skip_damaged=skip_damaged)
        self.begin(start)
        steps, every = self._settings.optimiser.steps, self._settings.checkpoints.every
        journal = Journal(self._settings.out, start=start, steps=steps) if self._first else None
        with journal or nullcontext(), stop_requests() as request:
            for step in range(start, steps):
                numbers = self.step(step)
                if journal is not None:
                    journal.step(step + 1, numbers)
                asked = [one for one in self._ranks.gather(request.by) if one is not None]
                if (step + 1) % every == 0 or step + 1 == steps or asked:
                    self._save(step + 1)
                if asked and step + 1 < steps:
                    raise StoppedError(
                        f"stopped by {asked[0].name} after step {step + 1} of {steps}; its "
                        f"checkpoint is in {self._settings.out}, and the same command continues",
                        128 + asked[0],
                    )

    def begin(self, start: int) -> None:
        """Let the method get ready for the steps from `start`."""
        settings, text = self._settings, self._text or (None, None)
        count = settings.optimiser.steps * settings.batch.trajectories
        numbers = dict.fromkeys(self._cursor.from_the_start(count))
        work = Beginning(
            first=self._first,
            network=self._network,
            teachers=self._teachers,
            trajectories=self._trajectories,
            drawn=[self._trajectories[number] for number in numbers],
            row_tokens=settings.batch.row_tokens,
            chunk=settings.batch.chunk,
            seed=settings.seed,
            text_teacher=text[0],
            prompts=text[1],
        )
        self._method.begin(settings.out, start, work)

    def step(self, step: int) -> dict[str, float]:
        """One update, counted from 0; its metrics. Raises DivergedError without updating."""
        batch = [
            self._trajectories[number]
            for number in self._cursor.draw(self._settings.batch.trajectories)
        ]
        tokens = sum(one.sampled_tokens for one in batch)
        divisor = self._method.divisor(batch)
        scale = (1 if self._whole else self._ranks.world) / divisor
        rows = list(enumerate(pack(batch, self._settings.batch.row_tokens)))
        sums: defaultdict[str, float] = defaultdict(float)
        observed: Observations = {}
        self._optimiser.zero_grad()
        mine = list(self._ranks.share(rows))
        self._asked.take()
        for teacher in self._teachers.values():
            if isinstance(teacher, Fetching):
                teacher.fetch([one for (_, row_of), _ in mine for one in row_of])
        for (number, trajectories), weight in mine:
            row = make_row(trajectories).to(self._ranks.device)
            found = self._row(row, step, number)
            torch.autograd.backward(found["loss"].sum() * (weight * scale))
            for name, values in found.items():
                sums[name] += weight * float(values.detach().sum(dtype=torch.float64))
            if weight:
                observed |= _by_trajectory(row, found, self._method.observes)
        sums["teacher_tokens"] = float(self._asked.take())
        rate = self._update(step, batch, sums, divisor)
        counted = {"tokens": tokens, "teacher_tokens": sums.pop("teacher_tokens")}
        self._observe(observed)
        means = {
            name: value / (divisor if name.endswith("loss") else tokens)
            for name, value in sums.items()
        }
        return means | rate | counted | {"rows": len(rows)}

    def _row(self, row: Row, step: int, number: int) -> dict[str, Tensor]:
        """The method's results for each sampled token of a row."""
        method, chunk, seed = self._method, self._settings.batch.chunk, self._settings.seed
        others = [teacher.project(row.trajectories) for teacher in self._teachers.values()]
        method.begin_row(row, step, seed)
        torch.manual_seed(_seed(seed, step, number))
        with keeping_prefix(self._network, wanted=method.keeps_prefix) as prefix:
            found: dict[str, Tensor] = self._network(row, others, method, chunk)
        more = method.beyond_tokens(
            RowWork(row, found, self._network, prefix, self._teachers, step, seed, chunk)
        )
        if "loss" in more:
            more["loss"] = found["loss"] + more["loss"]
        return found | more

    def _update(
        self, step: int, batch: Sequence[Trajectory], sums: dict[str, float], divisor: int
    ) -> dict[str, float]:
        """Add up over ranks, look at it, and let the optimiser go."""
        sums.update(self._ranks.add_up(dict(sums)))
        parameters = list(self.parameters.values())
        if self._whole:
            self._ranks.add_up_gradients(parameters)
        clipped = nn.utils.clip_grad_norm_(parameters, self._settings.optimiser.clip_norm)
        norm = float(whole(clipped))
        problem = self._guard.problem(sums["loss"] / divisor, norm)
        if problem is not None:
            raise DivergedError(self._stopped(step, batch, problem))
        rate = learning_rate(step, self._settings.optimiser)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.step()
        return {"gradient_norm": norm, "learning_rate": rate}

    def _observe(self, mine: Observations) -> None:
        if self._method.observes:
            joint: Observations = {}
            for part in self._ranks.gather(mine):
                joint |= part
            self._method.observe(joint)

    def _stopped(self, step: int, batch: Sequence[Trajectory], problem: str) -> str:
        """Save the batch of a step that must not be taken; what to tell the user."""
        folder = self._settings.out / "stopped"
        path = folder / f"step-{step + 1:06d}.safetensors"
        if self._first:
            folder.mkdir(exist_ok=True)
            tensors = {one.name: torch.from_numpy(one.ids.copy()) for one in batch}
            facts = {"problem": problem, "step": step + 1, "trajectories": [*tensors]}
            save_file(tensors, path)
            path.with_suffix(".json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
        finite = all(bool(torch.isfinite(each).all()) for each in self.parameters.values())
        return (
            f"stopped before step {step + 1}: {problem}. The batch is in {path}; the student's "
            f"weights are {'' if finite else 'not '}finite. With a lower learning rate, another "
            "dtype, or without the trajectories that "
            f"{path.with_suffix('.json').name} names, start in a new folder; the same command "
            "would stop again"
        )

    def _save(self, step: int) -> None:
        tensors = {f"weights.{name}": whole(each) for name, each in self.parameters.items()}
        found = moments(self._optimiser, self.parameters)
        tensors |= {f"moments.{name}": values for name, values in found.items()}
        arrays, method = split_state(self._method.state_dict(), "method.")
        state: dict[str, Any] = {
            "cursor": self._cursor.state_dict(),
            "guard": self._guard.state_dict(),
            "method": method,
        }
        failure: str | None = None
        if self._first:
            try:
                self._checkpoints.write(step, Checkpoint(tensors | arrays, state))
            except CheckpointError as error:
                failure = str(error)
        for message in self._ranks.gather(failure):
            if message is not None:
                raise CheckpointError(message)

    def _resume(self, *, skip_damaged: bool) -> int:
        found = self._checkpoints.read(skip_damaged=skip_damaged)
        self._ranks.meet()
        if found is None:
            return 0
        step, checkpoint = found
        weights = _below("weights.", checkpoint.tensors)
        if weights.keys() != self.parameters.keys():
            raise CheckpointError(
                f"checkpoint {self._checkpoints.path(step)} holds other weights than the student "
                "has: it belongs to another model or adapter; train into a new folder"
            )
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(like(weights[name], parameter))
        set_moments(self._optimiser, self.parameters, _below("moments.", checkpoint.tensors))
        self._cursor.load_state_dict(checkpoint.state["cursor"])
        self._guard.load_state_dict(checkpoint.state["guard"])
        self._method.load_state_dict(join_state(checkpoint.state["method"], checkpoint.tensors))
        return step


def _seed(seed: int, step: int, row: int) -> int:
    """A seed of a row's own, so that neither ranks nor resuming change what is drawn in it."""
    digest = hashlib.sha256(f"{seed} {step} {row}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1


def _by_trajectory(row: Row, found: Mapping[str, Tensor], names: Sequence[str]) -> Observations:
    """Results of a row by the trajectory's name, then by the result's."""
    if not names:
        return {}
    owner = row.columns.trajectory
    return {
        one.name: {
            name: found[name].detach()[owner == number].double().cpu().numpy() for name in names
        }
        for number, one in enumerate(row.trajectories)
    }


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): values
        for name, values in tensors.items()
        if name.startswith(prefix)
    }


def steps_done(out: Path) -> int:
    """The step of the newest checkpoint in a training's folder; 0 where there is none."""
    return max(CheckpointFolder(out / "checkpoints", 1).steps(), default=0)
