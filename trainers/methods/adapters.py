"""Training of PI adapters."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor

from trainers.data.packing import Columns
from trainers.methods.base import Method
from trainers.methods.likelihood import negative_log_likelihood


class Adapters(Method):
    """`-log π(a* | s, PI)` on the tokens of expert actions: one adapter for one PI source.

    empty_share: of the triples that are to have no PI; none: any. empty_block: they are shown the
    no-PI token, which audits put in the place of PI; otherwise nothing. union: one adapter for
    several sources, with the PI of all in front: what compositions are compared with.
    Source: CHOP App. D.2, D.5.
    """

    name: Literal["adapters"] = "adapters"
    empty_share: float | None = Field(0.4, ge=0, le=1)
    empty_block: bool = True
    union: bool = False

    def tokens(self, logits: Sequence[Tensor], columns: Columns) -> dict[str, Tensor]:
        """The negative log-likelihood."""
        return negative_log_likelihood(logits[0], columns.sampled)
