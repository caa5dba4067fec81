"""What stops a training. Each text names the file and what would mend it."""


class TrainingError(Exception):
    """Something that the user can mend."""


class ConfigError(TrainingError, ValueError):
    """A configuration is not usable."""


class MismatchError(TrainingError, ValueError):
    """Models, tokenisers, adapters or data that do not belong together."""


class CheckpointError(TrainingError, OSError):
    """A checkpoint cannot be written, or is not what was written."""


class DivergedError(TrainingError, ArithmeticError):
    """The loss is no number any more, or far from what it was; the batch is saved."""


class BusyError(TrainingError, RuntimeError):
    """Another process trains into the same folder."""


class StoppedError(TrainingError, RuntimeError):
    """Somebody asked a training to stop, and it did behind a checkpoint. status: to exit with."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class TeacherError(TrainingError, RuntimeError):
    """A teacher in another process cannot be reached, or does not give what it should."""
