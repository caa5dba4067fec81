"""The repair agent: two choices on a file that its problem statement names."""

from harness.agents.repair.agent import RepairAgent, RepairOptions

__all__ = ["RepairAgent", "RepairOptions"]
