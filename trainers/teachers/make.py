"""Teachers from settings."""

from typing import cast

import torch

from trainers.data.contexts import PIContexts, read_contexts
from trainers.engine.config import (
    FrozenSettings,
    HiddenServerSettings,
    Interface,
    TeacherSettings,
    TrainSettings,
    VllmSettings,
)
from trainers.engine.networks import Network, load_frozen, load_frozen_with
from trainers.methods.base import Role
from trainers.teachers.base import Teacher
from trainers.teachers.hidden_client import HiddenClient, HiddenRows, HiddenTeacher
from trainers.teachers.local import BaseOfStudent, LocalTeacher
from trainers.teachers.pi_teacher import PITeacher
from trainers.teachers.vllm_connect import connect_vllm


def make_teachers(
    settings: TrainSettings, device: torch.device, student: Network | None = None
) -> dict[Role, Teacher]:
    """The teachers for the roles of the method, each loaded once.

    student: is the reference as well, where that is what it was before training.

    Raises DataError for PI that cannot be read, ModelError and MismatchError for models and
    adapters.
    """
    found: dict[Role, Teacher] = {}
    roles = settings.method.roles
    if isinstance(settings.teacher, VllmSettings | HiddenServerSettings):
        found = _remote(settings, settings.teacher, device)
    elif Role.PI_TEACHER in roles and settings.teacher is not None:
        pair = _pi_teacher(settings, settings.teacher, read_pi(settings), device)
        found = {Role.PI_TEACHER: pair.pi, Role.TEACHER: pair.base}
    if Role.REFERENCE in roles and student is not None and settings.reference_is_base:
        found[Role.REFERENCE] = BaseOfStudent(student)
    for role in roles:
        wanted = settings.frozen(role)
        if role not in found and isinstance(wanted, FrozenSettings):
            network = load_frozen(wanted.model, wanted.dtype, wanted.adapter, device)
            keep = settings.method.keeps_prefix
            found[role] = LocalTeacher(network, wanted.cache, keep=keep)
    return {role: found[role] for role in roles}


def read_pi(settings: TrainSettings) -> PIContexts:
    """The PI of the settings. Raises DataError, ValueError where the settings have none."""
    if settings.pi is None:
        raise ValueError("these settings have no PI")
    lenient = settings.pi.missing == "empty"
    return read_contexts(settings.pi.contexts, settings.sources, lenient=lenient)


def _remote(
    settings: TrainSettings, teacher: VllmSettings | HiddenServerSettings, device: torch.device
) -> dict[Role, Teacher]:
    """A teacher in another process, in the roles that it has."""
    with_pi = Role.PI_TEACHER in settings.method.roles
    contexts = read_pi(settings) if with_pi else None
    sources = settings.sources if with_pi else ()
    if isinstance(teacher, VllmSettings):
        cache = teacher.cache or settings.out / "teacher"
        served = connect_vllm(teacher, cache, contexts, sources)
        return {Role.TEACHER: served.base, Role.PI_TEACHER: served.pi}
    client = HiddenClient(teacher)
    network = client.network(device)
    if contexts is None:
        return {Role.TEACHER: HiddenTeacher(client, network, teacher.cache)}
    pair = PITeacher(
        cast("Network", network),  # all that is used of it where another process runs the rows
        contexts,
        sources,
        interface=teacher.interface,
        composition=teacher.composition,
        cache=teacher.cache,
        adapted=HiddenRows(client, device),
    )
    return {Role.TEACHER: pair.base, Role.PI_TEACHER: pair.pi}


def _pi_teacher(
    settings: TrainSettings, teacher: TeacherSettings, contexts: PIContexts, device: torch.device
) -> PITeacher:
    prompt = teacher.interface is Interface.PROMPT
    adapters = {} if prompt else {name: teacher.adapters[name] for name in settings.sources}
    return PITeacher(
        load_frozen_with(teacher.model, teacher.dtype, adapters, device),
        contexts,
        settings.sources,
        interface=teacher.interface,
        composition=teacher.composition,
        cache=teacher.cache,
        keep=settings.method.keeps_prefix,
    )
