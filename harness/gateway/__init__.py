"""The only door between agents and a model: an OpenAI-compatible proxy on a Unix socket for each
attempt, which fixes decoding, keeps to the budget, repeats what fails and records every token."""

from harness.gateway.calls import CallRow, read_calls
from harness.gateway.gateway import Door, Gateway
from harness.gateway.options import GatewayOptions
from harness.gateway.replay import Recording, RecordingError, read_recording
from harness.gateway.report import DoorReport

__all__ = [
    "CallRow",
    "Door",
    "DoorReport",
    "Gateway",
    "GatewayOptions",
    "Recording",
    "RecordingError",
    "read_calls",
    "read_recording",
]
