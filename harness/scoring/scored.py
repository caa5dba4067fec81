"""One graded attempt, as scoring sees it."""

from pydantic import Field

from harness.records import Attempt, Grade, Instance, Record, StopReason, Verdict
from harness.scoring.categories import categories


class Scored(Record):
    """One graded attempt, with what it is grouped by."""

    instance_id: str
    repo: str
    difficulty: str | None = None
    categories: dict[str, str] = Field(default_factory=dict)
    seed: int
    verdict: Verdict
    stop_reason: StopReason
    generated_tokens: int = Field(0, ge=0)
    turns: int = Field(0, ge=0)
    seconds: float = Field(0.0, ge=0)

    @property
    def resolved(self) -> bool:
        """Whether the attempt scores."""
        return self.verdict is Verdict.RESOLVED

    @property
    def graded(self) -> bool:
        """Whether the verdict is about the patch, not about the environment."""
        return self.verdict is not Verdict.INFRA_FAILURE


def scored(instance: Instance, attempt: Attempt, grade: Grade | None) -> Scored:
    """Join one attempt's records. Without a grade the attempt must be an infrastructure failure.

    Raises ValueError when the records are of different instances or the grade is missing.
    """
    ids = {instance.instance_id, attempt.instance_id, grade.instance_id if grade else instance.id}
    if len(ids) > 1:
        raise ValueError(f"records of different instances: {', '.join(sorted(ids))}")
    infrastructure = attempt.stop_reason is StopReason.INFRASTRUCTURE
    if grade is None and not infrastructure:
        raise ValueError(f"{instance.instance_id}, seed {attempt.seed}: not graded")
    return Scored(
        instance_id=instance.instance_id,
        repo=instance.repo,
        difficulty=instance.difficulty,
        categories=categories(instance),
        seed=attempt.seed,
        verdict=Verdict.INFRA_FAILURE if infrastructure or grade is None else grade.verdict,
        stop_reason=attempt.stop_reason,
        generated_tokens=attempt.usage.generated_tokens,
        turns=attempt.usage.turns,
        seconds=attempt.seconds,
    )
