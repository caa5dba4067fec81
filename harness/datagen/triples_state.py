"""A state of a trajectory with an expert action, and why others are none."""

from dataclasses import dataclass

from harness.datagen.triples_align import Target
from pi_extractors.base import EditLog

NOT_ANSWERED = "not_answered"  # the gateway or the endpoint gave no whole answer
NOT_A_TURN = "not_a_turn"  # a call with another purpose, as a summary
NOT_CARRIED_OUT = "not_carried_out"  # the attempt has no event of the call


@dataclass(frozen=True)
class ExpertState:
    """A state with an expert action, without its tokens.

    `number` is that of the call in its turn, from 0. `key` is equal for equal actions after
    equal answers, so in all likelihood for equal states.
    """

    turn: int
    target: Target
    edits: EditLog
    number: int
    key: str
