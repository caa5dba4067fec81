"""Text teachers from settings."""

from pathlib import Path

import torch

from trainers.omniopd.settings import AnyTextTeacher, EndpointSettings, LocalTextSettings
from trainers.omniopd.teachers.bounds import TokenBound
from trainers.omniopd.teachers.budget import Ledger
from trainers.omniopd.teachers.endpoint import EndpointTeacher
from trainers.omniopd.teachers.kept import KeptTeacher
from trainers.omniopd.teachers.parts import PartTeacher
from trainers.omniopd.teachers.recorded import RecordedTeacher

_NAMING = ("prompt", "temperature", "top_p", "length_factor")


def make_text_teacher(settings: AnyTextTeacher, out: Path, device: torch.device) -> KeptTeacher:
    """The teacher of a training, which keeps its answers in `<out>/texts` or its own cache.

    Nothing is loaded or asked before `check` or `continuations`. Raises ConfigError for a budget
    without prices and for an address that is none, ModelError for a tokeniser that is not there.
    """
    folder = settings.cache or out / "texts"
    inner: PartTeacher
    if isinstance(settings, EndpointSettings):
        bound = TokenBound(_tokenizer(settings.tokenizer))
        inner = EndpointTeacher(settings, folder, bound, Ledger(folder).add)
    elif isinstance(settings, LocalTextSettings):
        from trainers.omniopd.teachers.local import LocalTextTeacher

        inner = LocalTextTeacher(settings, device)
    else:
        given = settings.model_fields_set.intersection(_NAMING)
        inner = RecordedTeacher(folder, {key: str(getattr(settings, key)) for key in given})
    return KeptTeacher(inner, folder, settings.budget, settings.prices)


def _tokenizer(name: str | None) -> object:
    if name is None:
        return None
    from transformers import AutoTokenizer

    from harness.records.cache import cache_root
    from trainers.serving.models import resolve_model

    folder = resolve_model(name, cache_root() / "models").folder
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)
