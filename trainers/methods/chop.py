"""CHOP: which object supervises each state (token or segment), and which teacher (PI or not)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from numpy.typing import NDArray
from pydantic import Field, PrivateAttr, model_validator
from torch import Tensor

from trainers.data.errors import DataError
from trainers.data.packing import Columns, Row
from trainers.data.trajectories import Trajectory
from trainers.gates.routes import NOISE_FLOOR
from trainers.losses.chop import ChopTokens, Route
from trainers.methods.base import Beginning, Method, Role, RowWork
from trainers.methods.chop_gates import Gates
from trainers.methods.chop_ledger import Ledger
from trainers.methods.chop_routes import Router
from trainers.methods.chop_settings import (
    AdaptiveRoute,
    AnyReliability,
    AnyRoute,
    AnyThresholds,
    LedgerSettings,
    OutcomeFreeReliability,
    SegmentSettings,
    StreamingThresholds,
    with_presets,
)

if TYPE_CHECKING:
    from trainers.teachers.base import Teacher

_REPLAYED = 8  # trajectories that the teacher is asked for twice


class CHOP(Method):
    """Trusted states: `KL(p ‖ q^{gP})`; others: `w·SW² - β·R·log p(y)`. Source: CHOP Eq. 5, Alg. 1.

    preset: names from `PRESETS`, whose settings count where nothing else is given.
    """

    name: Literal["chop"] = "chop"
    preset: str | tuple[str, ...] = ()
    pi_sources: tuple[str, ...] | None = Field(None, description="PI that the teacher may have.")
    pi: Literal["gated", "always", "none"] = Field(
        "gated", description="Whether κ̂ decides on PI; `always` and `none` are ablations."
    )
    granularity: Literal["routed", "token"] = Field(
        "routed", description="Whether ρ decides on segments; `token`: nowhere, an ablation."
    )
    three_cells: bool = Field(False, description="No PI in the token branch: an ablation.")
    reliability: AnyReliability = OutcomeFreeReliability()
    reliability_floor: float | None = Field(
        None, ge=0, le=1, description="States above it are trusted whatever the threshold."
    )
    thresholds: AnyThresholds = StreamingThresholds()
    noise_floor: float | None = Field(
        None,
        ge=0,
        le=1,
        description="TV between two passes of the teacher: less is no PI effect. None: measured.",
    )
    outcome_weight: float = Field(0.1, ge=0, description="β.")
    segments: SegmentSettings = SegmentSettings()
    route: AnyRoute = AdaptiveRoute()
    ledger: LedgerSettings = LedgerSettings()

    observes: ClassVar[tuple[str, ...]] = (
        "rho", "kappa", "teacher_entropy", "tv", "kl", "trusted", "pi_active",
        "segment_distance", "anchor_weight",
    )  # fmt: skip
    _gates: Gates = PrivateAttr()
    _router: Router = PrivateAttr()
    _ledger: Ledger = PrivateAttr()
    _route: Route | None = PrivateAttr(None)
    _step: int = PrivateAttr(0)

    @model_validator(mode="before")
    @classmethod
    def _presets(cls, values: Any) -> Any:
        return with_presets(values)

    def model_post_init(self, context: Any) -> None:
        """Nothing was seen yet."""
        self._gates = Gates(self.reliability, self.thresholds, self.noise_floor)
        self._router = Router(self.route)
        self._ledger = Ledger(self.ledger)

    @property
    def keeps_prefix(self) -> bool:
        """See `Method`: segments continue the row."""
        return self.granularity == "routed"

    @property
    def roles(self) -> tuple[Role, ...]:
        """A teacher without PI, and with."""
        return (Role.TEACHER, *((Role.PI_TEACHER,) if self.pi != "none" else ()))

    @property
    def share(self) -> float:
        """Only the student's own trajectories."""
        return 1.0

    def prepare(self, trajectories: Sequence[Trajectory]) -> list[Trajectory]:
        """All of them. Raises DataError for one without a grade, and for routes that lack one."""
        found = list(trajectories)
        for one in found:
            if one.outcome is None and self.outcome_weight > 0:
                raise DataError(
                    f"trajectory {one.name} has no grade: run `harness grade` on its run first, or "
                    "set method.outcome_weight to 0"
                )
        self._router.prepare(found)
        self._ledger.prepare(found)
        return found

    def begin(self, out: Path, step: int, work: Beginning) -> None:
        """Measure the noise floor where none is given, once for a training; open the ledger."""
        if self._gates.noise_floor is None:
            teacher = work.teachers.get(Role.PI_TEACHER)
            self._gates.noise_floor = _noise(teacher, work.trajectories[:_REPLAYED])
        self._ledger.begin(out / "ledger" if work.first else None, step)

    def begin_row(self, row: Row, step: int, seed: int) -> None:
        """See `Method`."""
        self._step = step
        self._route = self._router.route(row, step, seed)

    def tokens(self, logits: Sequence[Tensor], columns: Columns) -> dict[str, Tensor]:
        """The token branch and the outcome term; see `ChopTokens`."""
        student, teacher = logits[:2]
        thresholds = self._gates.thresholds
        route = self._route
        if route is not None:
            route = Route(*(each[columns.number] for each in route))
        body = ChopTokens(
            reliability=self._gates.score,
            reliability_threshold=None if self.granularity == "token" else thresholds.reliability,
            reliability_floor=self.reliability_floor,
            pi_threshold=-1.0 if self.pi == "always" else thresholds.pi,
            noise_floor=-1.0 if self.pi == "always" else self._gates.noise_floor or 0.0,
            outcome_weight=self.outcome_weight,
            token_pi=not self.three_cells,
        )
        outcome = columns.outcome.nan_to_num(0.0)
        pi_teacher = teacher if self.pi == "none" else logits[2]
        found = body(student, teacher, pi_teacher, columns.sampled, outcome, route)
        return {name: each for name, each in found.items() if name != "log_p"}

    def beyond_tokens(self, work: RowWork) -> dict[str, Tensor]:
        """The segment branch."""
        if self.granularity == "token":
            nothing = torch.zeros_like(work.found["rho"])
            return {"segment_distance": nothing, "anchor_weight": nothing}
        from trainers.segments.branch import SegmentBranch  # it needs networks, which need methods

        return SegmentBranch(self.segments)(work)

    def observe(self, step: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
        """Write the ledger, and let the gates see the step."""
        self._ledger.write(self._step, step, self._gates.thresholds)
        self._gates.observe(step)

    def state_dict(self) -> dict[str, Any]:
        """The gates' memory."""
        return self._gates.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a checkpoint."""
        self._gates.load_state_dict(state)


def _noise(teacher: "Teacher | None", trajectories: Sequence[Trajectory]) -> float:
    """The largest TV of a teacher with itself over two passes. Source: CHOP Eq. 4."""
    from trainers.adapters.measures import noise
    from trainers.teachers.pi_teacher import PIView

    if not isinstance(teacher, PIView) or not trajectories:
        return NOISE_FLOOR
    return float(noise(teacher.owner, trajectories).max())
