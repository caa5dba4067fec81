"""Candidates that are not made of syntax trees: reverted commits, and bugs that a model writes."""

from collections.abc import Mapping, Sequence

from harness.datagen.edit_bugs_trial import Survey
from harness.datagen.synthesis import history, writer
from harness.datagen.synthesis.candidates import Candidate
from harness.datagen.synthesis.settings import Settings
from harness.datagen.synthesis.sources import Source


class Others:
    """The candidates of a package that its history and a model have. Called with its texts.

    model: None when there is none to ask.
    """

    def __init__(self, settings: Settings, model: writer.ModelWriter | None) -> None:
        self._settings, self._model = settings, model

    def __call__(
        self, source: Source, files: Mapping[str, str], survey: Survey | None
    ) -> Sequence[Candidate]:
        """survey: None when nothing is known of the tests. Raises ImageError, EndpointFailure."""
        covered = None if survey is None else survey.covered().keys()
        found: list[Candidate] = []
        if history.OPERATOR in self._settings.operators:
            found += history.reverted_commits(source, files, covered)
        if writer.OPERATOR in self._settings.operators and self._model is not None:
            found += self._model.bugs(
                files, covered, seed=self._settings.seed, most=self._settings.model_bugs
            )
        return found
