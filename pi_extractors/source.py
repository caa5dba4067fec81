"""What the sources have in common: a budget, a token counter, and records that say what went in."""

import hashlib
from collections.abc import Iterable
from typing import ClassVar

from pi_extractors.base import TokenCounter
from pi_extractors.budget import BUDGETS, Fitted
from pi_extractors.records import TIERS, PIRecord, Provenance, Skipped, SourceName, Tier
from pi_extractors.tokens import Estimate


class BudgetedSource:
    """A source whose texts stay within a budget; `extractor` changes when equal input may give
    other text."""

    name: ClassVar[SourceName]
    extractor: ClassVar[str]
    reads_repository: ClassVar[bool] = True

    def __init__(self, counter: TokenCounter | None = None, budget: int | None = None) -> None:
        self.counter = counter or Estimate()
        self.budget = BUDGETS[self.name] if budget is None else budget

    @property
    def tier(self) -> Tier:
        """Who could have it."""
        return TIERS[self.name]

    def make(
        self,
        item_id: str,
        fitted: Fitted,
        inputs: dict[str, str],
        *,
        notes: Iterable[str] = (),
        skipped: Iterable[Skipped] = (),
        step: int | None = None,
    ) -> PIRecord:
        """The record of a text."""
        return PIRecord(
            instance_id=item_id,
            source=self.name,
            tier=self.tier,
            step=step,
            text=fitted.text,
            tokens=fitted.tokens,
            tokenizer=self.counter.name,
            budget=self.budget,
            truncated=fitted.truncated,
            provenance=Provenance(
                extractor=self.extractor,
                inputs=inputs,
                notes=tuple(notes),
                skipped=tuple(skipped),
            ),
        )


def digest(*texts: str) -> str:
    """`sha256:` over texts, each told from the next."""
    value = hashlib.sha256()
    for text in texts:
        content = text.encode("utf-8", "surrogatepass")
        value.update(b"%d:" % len(content))
        value.update(content)
    return f"sha256:{value.hexdigest()}"
