"""How patches are evaluated."""

from pydantic import Field

from harness.records import Record
from harness.sandboxes.base import Limits


class GradingOptions(Record):
    """Everything about grading that a verdict can depend on."""

    test_timeout: float = Field(1800.0, gt=0, description="Seconds for the test command.")
    prepare_timeout: float = Field(900.0, gt=0, description="Seconds for patch and installation.")
    early_exit: bool = Field(False, description="Stop when the verdict cannot change any more.")
    limits: Limits = Limits()
    tries: int = Field(3, ge=1, description="Evaluations tried on infrastructure failures.")
