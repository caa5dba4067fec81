"""What a training says while it runs: `metrics.jsonl`, TensorBoard, a line for people."""

import importlib.util
import json
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

_SMOOTHING = 0.9


class Journal:
    """Writes each step's numbers. Lines of steps after `start` are removed: they come again."""

    def __init__(self, folder: Path, *, start: int, steps: int) -> None:
        self._steps = steps
        self._seconds: float | None = None
        self._began = time.monotonic()
        path = folder / "metrics.jsonl"
        kept = [line for line in _lines(path) if line["step"] <= start]
        draft = path.with_suffix(".draft")
        draft.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        draft.replace(path)
        self._file: TextIO = path.open("a", encoding="utf-8")
        self._board = _tensorboard(folder / "tensorboard", start)
        if start:
            self.say(f"continuing after step {start}")

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        if self._board is not None:
            self._board.close()

    def step(self, step: int, numbers: dict[str, float]) -> None:
        """A step is done; `step` counts from 1."""
        seconds = time.monotonic() - self._began
        self._began = time.monotonic()
        before = self._seconds
        self._seconds = (
            seconds if before is None else _SMOOTHING * before + (1 - _SMOOTHING) * seconds
        )
        line = {"step": step, **numbers, "seconds": round(seconds, 4)}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if self._board is not None:
            for name, value in numbers.items():
                self._board.add_scalar(name, value, step)
        left = (self._steps - step) * self._seconds
        self.say(
            f"step {step}/{self._steps}  loss {numbers['loss']:.4f}  "
            f"gradient {numbers['gradient_norm']:.3g}  rate {numbers['learning_rate']:.2e}  "
            f"{numbers['tokens'] / seconds:,.0f} tokens/s  {_duration(left)} left"
        )

    def say(self, text: str) -> None:
        """A line for people."""
        print(text, file=sys.stderr, flush=True)


def _lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file that a killed process may have left half a line in."""
    if not path.exists():
        return []
    found = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            found.append(json.loads(text))
        except ValueError:
            break
    return found


def _tensorboard(folder: Path, start: int) -> Any:
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(folder, purge_step=start + 1)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
