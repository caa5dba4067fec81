"""The OpenHands agent. Nothing here imports OpenHands but what runs in the sandbox (`runner`)."""

from harness.agents.openhands.agent import OpenHandsAgent
from harness.agents.openhands.options import Condenser, OpenHandsOptions

__all__ = ["Condenser", "OpenHandsAgent", "OpenHandsOptions"]
