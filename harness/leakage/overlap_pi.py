"""Oracle texts that training used, as n-grams to look for in evaluation."""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

from harness.leakage.inputs import AuditInputs
from harness.leakage.ngrams import Oracle, plain
from harness.leakage.pi_records import read_pi
from harness.leakage.training import rows
from pi_extractors.records import TIERS, Tier

PER_REPOSITORY = 20  # texts, so that memory is bounded whatever the training set
ELSEWHERE = 20
FIELD = "training PI"


@dataclass(frozen=True)
class TrainingPI:
    """A sample of oracle PI texts: by repository that is evaluated too, and of all others."""

    by_repository: dict[str, list[Oracle]]
    elsewhere: list[Oracle]
    seen: int


def training_pi(inputs: AuditInputs, evaluated: Collection[str]) -> TrainingPI:
    """The texts with the smallest digests of their ids: the same sample for the same records.

    `evaluated` are canonical names of repositories. Raises AuditError for a file that is no PI.
    """
    repositories = (
        {one.instance_id: one.repository for one in rows(inputs.train).facts}
        if inputs.train
        else {}
    )
    kept: dict[str, dict[str, tuple[str, str]]] = {}
    seen = 0
    for path in inputs.pi:
        for _, record in read_pi(path):
            if TIERS[record.source] is not Tier.ORACLE or not record.text:
                continue
            seen += 1
            repo = repositories.get(record.instance_id, "")
            group = repo if repo in evaluated else ""
            order = hashlib.sha256(f"{record.source}/{record.instance_id}".encode()).hexdigest()
            sample = kept.setdefault(group, {})
            sample.setdefault(order, (record.instance_id, record.text))
            if len(sample) > (PER_REPOSITORY if group else ELSEWHERE):
                del sample[max(sample)]
    made = {
        group: [plain(*sample[order], field=FIELD) for order in sorted(sample)]
        for group, sample in kept.items()
    }
    return TrainingPI(
        by_repository={group: texts for group, texts in made.items() if group},
        elsewhere=made.get("", []),
        seen=seen,
    )
