"""A trajectory with two audited chunks, and the method with verdicts on them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.trainers.omniopd.material import beginning, trajectory
from trainers.data.packing import make_row
from trainers.methods.omniopd import OmniOPD
from trainers.omniopd.audit import Audit, write_audits

ONE = trajectory([[1, 2, 3, 4, 5, 0, 1, 2, 4, 3, 0, 5]])
SAMPLED = torch.from_numpy(ONE.ids[ONE.positions]).long()
CHUNKS = ((1, 3), (6, 9))
AUDITED = [at for chunk in CHUNKS for at in range(*chunk)]
UNAUDITED = [at for at in range(len(SAMPLED)) if at not in AUDITED]
STUDENT, REFERENCE = 2 * torch.randn(
    2, 12, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64
)


def begun(folder: Path, targets: Sequence[float], **settings: Any) -> OmniOPD:
    """The method with these verdicts on the chunks of `ONE`."""
    method = OmniOPD(**settings)
    pairs = zip(CHUNKS, targets, strict=True)
    audits = [Audit(ONE.name, *at, 1.0, 0.5, each, 1, each, "x", ("x",)) for at, each in pairs]
    write_audits(folder / "audits.parquet", audits, {})
    method.begin(folder, 0, beginning([ONE]))
    method.begin_row(make_row([ONE]), 0, 0)
    return method


def loss(method: OmniOPD, student: Tensor, reference: Tensor = REFERENCE) -> Tensor:
    """Eq. 8 of `ONE` at logits `(12, 6)`."""
    return method.tokens([student, reference], make_row([ONE]).columns)["loss"].sum()


def slope(student: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
    """The gradient of a function at logits."""
    learnt = student.clone().requires_grad_()
    (found,) = torch.autograd.grad(of(learnt), [learnt])
    return found
