"""Text teachers from settings."""

import hashlib
from pathlib import Path

import orjson
import torch
from pydantic import ValidationError

from trainers.engine.errors import TeacherError
from trainers.omniopd.settings import AnyTextTeacher, EndpointSettings, LocalTextSettings
from trainers.omniopd.teachers.base import Continuer
from trainers.omniopd.teachers.cache import AnswerCache
from trainers.omniopd.teachers.capability import Capability
from trainers.omniopd.teachers.endpoint import EndpointContinuer
from trainers.omniopd.teachers.kept import KeptTeacher
from trainers.omniopd.teachers.local import LocalContinuer
from trainers.omniopd.teachers.purse import Purse


def make_text_teacher(settings: AnyTextTeacher, out: Path, device: torch.device) -> KeptTeacher:
    """The text teacher of a training in `out`.

    Its answers, what it is and what it can do stay in its cache. Raises ModelError, MismatchError
    and TeacherError.
    """
    folder = settings.cache or out / "texts"
    cache = AnswerCache(folder)
    if settings.budget.usd is not None and settings.prices is None:
        raise TeacherError("text_teacher.budget.usd needs text_teacher.prices")
    purse = Purse(settings.budget, settings.prices, settings.length_factor, cache.all())
    if not isinstance(settings, EndpointSettings | LocalTextSettings):
        return KeptTeacher(None, cache, purse, _recorded(folder))
    teacher = _continuer(settings, folder, device)
    _write(folder / "identity.json", teacher.identity)
    return KeptTeacher(teacher, cache, purse)


def _continuer(
    settings: EndpointSettings | LocalTextSettings, folder: Path, device: torch.device
) -> Continuer:
    if isinstance(settings, LocalTextSettings):
        return LocalContinuer(settings, device)
    asked = f"{settings.model} {settings.prompt} {settings.prefill}"
    path = folder / f"capability-{hashlib.sha256(asked.encode()).hexdigest()[:12]}.json"
    try:
        return EndpointContinuer(settings, Capability.model_validate_json(path.read_bytes()))
    except (OSError, ValidationError):
        found = EndpointContinuer(settings)
    found.check(())
    assert found.capability is not None
    _write(path, found.capability.model_dump())
    return found


def _recorded(folder: Path) -> dict[str, str]:
    try:
        found = orjson.loads((folder / "identity.json").read_bytes())
        return {str(key): str(value) for key, value in found.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise TeacherError(
            f"text_teacher.cache {folder}: no recorded answers ({error}); give the folder `texts` "
            "of the training that asked"
        ) from None


def _write(path: Path, found: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
    draft.replace(path)
