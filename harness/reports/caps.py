"""How much of each file a report carries."""

from pydantic import Field

from harness.records import Record

KIB = 1024


class Caps(Record):
    """Limits of what one report embeds; whatever they cut is said in the page."""

    log_bytes: int = Field(64 * KIB, ge=KIB, description="Of one test log, head and tail.")
    patch_bytes: int = Field(256 * KIB, ge=KIB, description="Of one patch.")
    event_characters: int = Field(32 * KIB, ge=100, description="Of one event's text.")
    events: int = Field(500, ge=4, description="Of one trajectory, first and last.")
    trajectory_characters: int = Field(2 * KIB * KIB, ge=KIB, description="Of all event texts.")
    report_bytes: int = Field(
        256 * KIB * KIB,
        ge=0,
        description="Of packed details; later attempts then keep verdict and patch only.",
    )
