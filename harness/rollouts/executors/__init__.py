"""Executors: where the attempts of a run are made and graded."""

from typing import Literal

from harness.rollouts.executors.base import Executor, ExecutorFailure
from harness.rollouts.work import WorkOrder, Workshop
from harness.sandboxes.base import SandboxProvider

__all__ = ["Executor", "ExecutorFailure", "make_executor"]


def make_executor(
    kind: Literal["local", "ray"], order: WorkOrder, provider: SandboxProvider
) -> Executor:
    """An executor of that kind for the attempts of a run."""
    if kind == "ray":
        from harness.rollouts.executors.ray import RayExecutor

        return RayExecutor(order, provider)
    return Workshop(order, provider)
