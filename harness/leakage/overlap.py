"""n-gram overlap: does code of the solution reach a student before it writes it itself?"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from harness.leakage.filter_repositories import canonical_repository
from harness.leakage.findings import Check, Finding, Severity, Status
from harness.leakage.inputs import AuditInputs
from harness.leakage.material import AuditError, evaluation_instances, not_run
from harness.leakage.ngrams import Index, N, Ngram, Oracle, grams, oracle, tokens
from harness.leakage.overlap_attempt import Channel, Overlap, measure
from harness.leakage.overlap_figures import Row, figures
from harness.leakage.overlap_pi import TrainingPI, training_pi
from harness.records import Instance, RunFolder

FIRST_NGRAMS = 2  # before the student wrote anything: no file was read yet
LEAK_NGRAMS, LEAK_SHARE = 10, 0.6  # of what it was shown later, which may be the repository
WARNING_NGRAMS, WARNING_SHARE = 5, 0.3
OTHERS = 8  # instances that an attempt is compared with, at most

NAME = "overlap"
QUESTION = "Is a student shown code that only the solution has, before it writes it itself?"
_EVIDENCE = 300


def check(inputs: AuditInputs) -> Check:
    """Compare every attempt's texts with the gold patch, the hidden tests and the training PI.

    Two n-grams in the first prompt are a leak, and so is most of a patch in what was shown later,
    unless the student wrote them, or a part that marks them, before. Raises AuditError for a run
    that is not on the evaluation suite.
    """
    runs = list(dict.fromkeys((*inputs.runs, *inputs.control_runs.values())))
    if not runs:
        return not_run(NAME, QUESTION, "runs")
    instances = evaluation_instances(inputs.evaluation)
    pi = training_pi(inputs, {canonical_repository(one.repo) for one in instances.values()})
    search = _Search(instances, pi)
    for run in runs:
        search.run(run, inputs.evaluation)
    return search.check(pi.seen)


@dataclass
class _Search:
    """One pass over the attempts of all runs, repository by repository."""

    instances: Mapping[str, Instance]
    pi: TrainingPI
    rows: list[Row] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    silent: int = 0
    unmeasurable: set[str] = field(default_factory=set)

    def run(self, run: Path, evaluation: str) -> None:
        attempts = sorted(
            path.parent
            for path in RunFolder(run).root.glob("attempts/*/*/attempt.json")
            if not path.parent.name.startswith(".")
        )
        strangers = {path.parent.name for path in attempts} - self.instances.keys()
        if strangers:
            few = ", ".join(sorted(strangers)[:5])
            raise AuditError(f"{run}: attempts on instances that {evaluation} has not: {few}")
        by_repository: dict[str, list[Path]] = {}
        for path in attempts:
            by_repository.setdefault(self.instances[path.parent.name].repo, []).append(path)
        for repo, paths in sorted(by_repository.items()):
            self._repository(run, repo, paths)

    def _repository(self, run: Path, repo: str, attempts: list[Path]) -> None:
        """One index for a repository's instances; it is dropped before the next one's."""
        chosen = {path.parent.name: self.instances[path.parent.name] for path in attempts}
        others = {name: self._others(one) for name, one in chosen.items()}
        wanted = {*chosen, *(other for group in others.values() for other in group)}
        gold = {name: self._oracle(name, "patch") for name in sorted(wanted)}
        tests = {name: self._oracle(name, "test_patch") for name in chosen}
        same, elsewhere = (
            self.pi.by_repository.get(canonical_repository(repo), []),
            self.pi.elsewhere,
        )
        index = Index([*gold.values(), *tests.values(), *same, *elsewhere])
        for path in attempts:
            name = path.parent.name
            issue = frozenset(grams(tokens(chosen[name].problem_statement), N))
            try:
                overlap = measure(path, index, issue)
            except (ValueError, OSError) as error:
                self.unread.append(f"{path.relative_to(run)}: {error}")
                continue
            self.silent += overlap.texts == 0
            own = {**gold[name].marks, **tests[name].marks}
            baseline = [gold[other] for other in others[name]]
            self.rows.append(
                Row.of(run, path, overlap, gold[name], tests[name], baseline, same, elsewhere)
            )
            for one in (gold[name], tests[name]):
                self._look(run, path, overlap, one)
            for one in (*same, *elsewhere):
                self._look_for_pi(run, path, overlap, one, own)

    def _others(self, one: Instance) -> list[str]:
        """Instances of the repository whose fix came later: their code is not there by chance of
        being merged. The next ones in time."""
        later = [
            (other.created_at, other.instance_id)
            for other in self.instances.values()
            if other.repo == one.repo and one.created_at < other.created_at
        ]
        return [name for _, name in sorted(later)[:OTHERS]] if one.created_at else []

    def _oracle(self, name: str, column: str) -> Oracle:
        instance = self.instances[name]
        made = oracle(name, column, getattr(instance, column), known=[instance.problem_statement])
        if column == "patch" and not made.marks:
            self.unmeasurable.add(name)
        return made

    def _look(self, run: Path, path: Path, overlap: Overlap, one: Oracle) -> None:
        first = overlap.of(Channel.FIRST, one)
        shown = overlap.of(Channel.SHOWN, one)
        share = one.share(shown)
        if len(first) >= FIRST_NGRAMS:
            title = f"{one.field} of {one.instance_id} is in the student's first prompt"
            self._found(Severity.LEAK, title, run, path, overlap, first, one)
        elif len(shown) >= LEAK_NGRAMS and share >= LEAK_SHARE:
            title = f"{one.field} of {one.instance_id} was shown to the student before it wrote it"
            self._found(Severity.LEAK, title, run, path, overlap, shown, one)
        elif len(shown) >= WARNING_NGRAMS and share >= WARNING_SHARE:
            title = f"parts of {one.field} of {one.instance_id} were shown to the student"
            self._found(Severity.WARNING, title, run, path, overlap, shown, one)

    def _look_for_pi(
        self, run: Path, path: Path, overlap: Overlap, one: Oracle, own: Mapping[Ngram, object]
    ) -> None:
        first = [gram for gram in overlap.of(Channel.FIRST, one) if gram not in own]
        if len(first) >= WARNING_NGRAMS:
            title = f"{one.field} about {one.instance_id} is in the student's first prompt"
            self._found(Severity.LEAK, title, run, path, overlap, first, one)

    def _found(
        self,
        severity: Severity,
        title: str,
        run: Path,
        path: Path,
        overlap: Overlap,
        seen: list[Ngram],
        one: Oracle,
    ) -> None:
        place = overlap.places[seen[0]]
        quote = " … ".join(" ".join(gram) for gram in seen[:3])[:_EVIDENCE]
        file, _, at = place.partition(":")
        self.findings.append(
            Finding(
                severity=severity,
                title=title,
                where=f"{path / file}:{at.strip()}",
                evidence=f"{len(seen)} of {len(one.marks)} {N}-grams of code tokens that the issue "
                f"and the old code have not ({one.share(seen):.0%} of the patch): {quote}",
                reproduce=f"harness leakage audit --evaluation SUITE --run {run}; then look at "
                f"{at.strip()} of {path / file}",
            )
        )

    def check(self, training_texts: int) -> Check:
        """The check's result, after all runs."""
        leaks = sum(one.severity is Severity.LEAK for one in self.findings)
        spoken = len(self.rows) - self.silent
        parts = [
            *([] if spoken else ["no attempt has a conversation"]),
            f"{leaks} leaks and {len(self.findings) - leaks} warnings in {spoken} conversations",
            *([f"{self.silent} attempts had none"] if self.silent else []),
            *([f"{len(self.unread)} cannot be read: {self.unread[0]}"] if self.unread else []),
        ]
        if leaks:
            status = Status.FAILED
        elif not spoken and not self.unread:
            status = Status.NOT_RUN
        else:
            status = Status.INCONCLUSIVE if self.unread else Status.PASSED
        return Check(
            name=NAME,
            question=QUESTION,
            status=status,
            reason="; ".join(parts),
            findings=tuple(self.findings),
            figures={
                **figures(self.rows),
                "unreadable_attempts": self.unread,
                "patches_without_ngrams": sorted(self.unmeasurable),
                "oracle_pi_records": training_texts,
            },
        )
