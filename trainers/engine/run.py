"""A training from its settings: data, models, checks, steps, result."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from trainers.data.packing import pack
from trainers.engine.config import TrainSettings
from trainers.engine.errors import BusyError, MismatchError
from trainers.engine.export import export
from trainers.engine.material import Material, gather_material
from trainers.engine.memory import MemoryEstimate, estimate_memory
from trainers.engine.networks import SOURCE_KEY, Network, load_student
from trainers.engine.ranks import Ranks, join_ranks, shard
from trainers.engine.tokenisers import check_ids, check_runs, shared_vocabulary
from trainers.engine.trainer import Trainer, steps_done
from trainers.methods.base import Role
from trainers.omniopd.prompts import Prompts
from trainers.omniopd.texts import TextTeacher
from trainers.teachers.base import Teacher
from trainers.teachers.local import check_lengths
from trainers.teachers.make import make_teachers, read_pi

_FREE: Any = {  # what may change between start and resume
    **dict.fromkeys(("out", "checkpoints", "device", "sharding"), True),
    "teacher": {"endpoint", "timeout_s", "attempts", "concurrency", "api_key_env"},
    "text_teacher": {
        *("endpoint", "timeout_s", "attempts", "concurrency", "api_key_env"),
        *("budget", "prices", "batch", "cache", "tokenizer"),
    },
}


@dataclass(frozen=True)
class Plan:
    """What a training would do."""

    material: Material
    longest_row: int
    memory: MemoryEstimate
    steps_done: int


def plan(settings: TrainSettings) -> Plan:
    """What a training would do, without loading a model."""
    material = gather_material(settings)
    if Role.PI_TEACHER in settings.method.roles:
        material.data.counts.update(_count_pi(settings, material))
    rows = pack(material.trajectories, settings.batch.row_tokens)
    longest = max(sum(len(one.ids) for one in row) for row in rows)
    memory = estimate_memory(settings, longest)
    return Plan(material, longest, memory, steps_done(settings.out))


def train(settings: TrainSettings, *, skip_damaged: bool = False) -> Path:
    """Train, or continue, and write the result; the folder where it is.

    Raises TrainingError, DataError and ModelError, each saying what would mend it.
    """
    ranks = join_ranks(settings.device)
    with _alone(settings.out, enabled=ranks.first):
        ranks.meet()
        material = gather_material(settings)
        torch.manual_seed(settings.seed)
        sharded = settings.sharding == "fsdp" and ranks.world > 1
        place = torch.device("cpu") if sharded else ranks.device  # sharding moves layer by layer
        student = load_student(settings.student, place)
        teachers = make_teachers(settings, ranks.device, student)
        _check(material, student, teachers)
        card = _card(settings, material, student, teachers)
        if ranks.first:
            _same_as_before(settings.out / "training.json", card)
        if sharded:
            shard(student, student.causal.base_model.layers)
        trainer = Trainer(
            settings,
            student,
            teachers,
            material.trajectories,
            material.cursor,
            ranks,
            _text_teacher(settings, material, student, ranks),
        )
        trainer.run(skip_damaged=skip_damaged)
        text = json.dumps(card, indent=1)
        facts = {} if material.source is None else {SOURCE_KEY: material.source}
        return export(student, trainer.parameters, settings, text, ranks, facts)


def _text_teacher(
    settings: TrainSettings, material: Material, student: Network, ranks: Ranks
) -> tuple[TextTeacher, Prompts] | None:
    """A text teacher, and what it is asked about the student's trajectories."""
    if settings.text_teacher is None or not settings.method.asks_for_text:
        return None
    from trainers.omniopd.cost import estimate, write_record
    from trainers.omniopd.teachers.make import make_text_teacher

    if ranks.first:
        expected = estimate(settings, material, student.tokenizer)
        write_record(settings.out / "cost" / "estimate.json", expected)
    chat = settings.text_teacher.prompt == "chat"
    prompts = Prompts(student.tokenizer, settings.data.student_runs if chat else ())
    return make_text_teacher(settings.text_teacher, settings.out, ranks.device), prompts


def _count_pi(settings: TrainSettings, material: Material) -> dict[str, int]:
    """How many turns have PI, by source."""
    contexts = read_pi(settings)
    return {
        f"turns with PI of {source}": sum(
            bool(text) for one in material.trajectories for text in contexts.of(one, source)
        )
        for source in settings.sources
    }


def _check(material: Material, student: Network, teachers: Mapping[Role, Teacher]) -> None:
    models = {role.value: teacher.model for role, teacher in teachers.items()}
    shared = shared_vocabulary(student, models)
    for model in (student, *models.values()):
        model.vocabulary = shared
    check_runs(material.data, [student, *models.values()])
    check_ids(material.trajectories, student.embedded, shared)
    check_lengths(student, material.trajectories)
    for teacher in teachers.values():
        teacher.check(material.trajectories)


def _card(
    settings: TrainSettings,
    material: Material,
    student: Network,
    teachers: Mapping[Role, Teacher],
) -> dict[str, Any]:
    """Everything that decides the result."""
    return {
        "schema_version": 1,
        "settings": settings.model_dump(mode="json", exclude=_FREE),
        "trajectories": len(material.trajectories),
        "data_sha256": material.sha256,
        **({"triples": material.triples} if material.triples else {}),
        "student_sha256": student.sha256,
        **{f"{role}_sha256": teacher.model.sha256 for role, teacher in teachers.items()},
    }


def _same_as_before(path: Path, card: dict[str, Any]) -> None:
    """Raise MismatchError when a training was started with something else; remember it if not."""
    if not path.exists():
        draft = path.with_suffix(".draft")
        draft.write_text(json.dumps(card, indent=1), encoding="utf-8")
        draft.replace(path)
        return
    before, now = _flat(json.loads(path.read_bytes())), _flat(json.loads(json.dumps(card)))
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            raise MismatchError(
                f"{path.parent} holds a training with {key} = {before.get(key)!r}, not "
                f"{now.get(key)!r}: give that value to continue it, or another `out`"
            )


def _flat(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {path: value}
    return {
        inner_path: inner
        for key, each in value.items()
        for inner_path, inner in _flat(each, f"{path}.{key}" if path else key).items()
    }


@contextmanager
def _alone(out: Path, *, enabled: bool) -> Iterator[None]:
    """Keep other trainings out of a folder. Raises BusyError when one is in it."""
    out.mkdir(parents=True, exist_ok=True)
    handle = os.open(out / ".lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        if enabled:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise BusyError(
            f"another process trains into {out}: wait for it, or give another `out`"
        ) from None
    finally:
        os.close(handle)


def machine_memory() -> int:
    """Bytes of memory that this machine has in all."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def free_disk(path: Path) -> int:
    """Bytes that the disk of a folder, there or not, has left."""
    there = next(each for each in (path, *path.absolute().parents) if each.exists())
    return shutil.disk_usage(there).free
