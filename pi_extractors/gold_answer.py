"""The final answer of a mathematical problem as PI."""

from harness.records import Question
from pi_extractors.base import EditLog, Snapshot
from pi_extractors.budget import fit_lines
from pi_extractors.records import PIRecord, SourceName
from pi_extractors.source import BudgetedSource, digest


class GoldAnswerSource(BudgetedSource):
    """The ground-truth final answer. Source: CHOP App. D.1 ("Math configuration")."""

    name = SourceName.GOLD_ANSWER
    extractor = "gold_answer/1"
    reads_repository = False

    def inputs(
        self, item: Question, snapshot: Snapshot | None = None, edits: EditLog = (), step: int = 0
    ) -> dict[str, str]:
        """Digests of what the text is made from."""
        return {"answer": digest(item.answer)}

    def extract(
        self,
        item: Question,
        snapshot: Snapshot | None = None,
        edits: EditLog = (),
        *,
        step: int = 0,
    ) -> PIRecord:
        """The answer within the budget."""
        text = f"Final answer: {item.answer.strip()}"
        return self.make(item.id, fit_lines(text, self.budget, self.counter), self.inputs(item))
