"""The shipped prompts."""

from importlib.resources import files

import jinja2
import yaml

from harness.records import Record


class Prompt(Record):
    """One variant of `openhands.yaml`. Without `system`, OpenHands' own system prompt is used.

    A longer issue than `task_characters` loses its middle, as does a longer output of a command
    than `output_characters` (without: OpenHands' own limit).
    """

    system: str | None = None
    instance: str
    nudge: str
    tools: tuple[str, ...]
    builtin_tools: tuple[str, ...]
    native_tool_calling: bool
    task_characters: int | None = None
    output_characters: int | None = None

    def task(self, issue: str) -> str:
        """The message that hands an issue to the agent; characters that no text has are `?`."""
        text = issue.encode(errors="replace").decode()
        limit = self.task_characters
        if limit is not None and len(text) > limit:
            half = limit // 2
            text = f"{text[:half]}\n[... left out ...]\n{text[-half:]}"
        environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701
        return environment.from_string(self.instance).render(issue=text.strip()).strip()


def load_prompt(variant: str) -> Prompt:
    """A variant of the shipped prompts."""
    text = (files(__name__) / "openhands.yaml").read_text(encoding="utf-8")
    return Prompt.model_validate(yaml.safe_load(text)[variant])
