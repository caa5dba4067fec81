"""From settings to a teacher behind vLLM."""

import hashlib
from pathlib import Path

from trainers.data.contexts import PIContexts
from trainers.engine.config import Interface, VllmSettings
from trainers.engine.errors import MismatchError
from trainers.teachers.remote_model import RemoteModel, load_tokenizer
from trainers.teachers.tensor_cache import TensorCache
from trainers.teachers.vllm import VllmTeacher
from trainers.teachers.vllm_client import VllmClient

_SAMPLE = "def f(x):\n    return [x, 'ä', \"\\t\"]  # 12345\n"


def connect_vllm(
    settings: VllmSettings,
    cache: Path,
    contexts: PIContexts | None = None,
    sources: tuple[str, ...] = (),
) -> VllmTeacher:
    """A teacher, once the server has said that it serves what the settings name.

    Raises TeacherError when it cannot be reached, MismatchError when it serves something else.
    """
    client = VllmClient(
        settings.endpoint,
        api_key_env=settings.api_key_env,
        timeout_s=settings.timeout_s,
        attempts=settings.attempts,
        connections=settings.concurrency,
    )
    model = _model(settings, client)
    prompt = settings.interface is Interface.PROMPT
    return VllmTeacher(
        model,
        client,
        TensorCache(cache),
        top=settings.top,
        concurrency=settings.concurrency,
        contexts=contexts,
        sources=sources,
        adapters={} if prompt else {name: settings.adapters[name] for name in sources},
        interface=settings.interface,
    )


def _model(settings: VllmSettings, client: VllmClient) -> RemoteModel:
    served = client.served()
    roots = []
    for key, name in (("model", settings.model), *settings.adapters.items()):
        if name not in served:
            raise MismatchError(
                f"{client.endpoint} serves {', '.join(sorted(served))}, not {name!r} "
                f"(teacher.{key if key == 'model' else f'adapters.{key}'}); start vLLM with "
                + ("it" if key == "model" else f"--enable-lora --lora-modules {name}=FOLDER")
            )
        parent = served[name].get("parent")
        if key != "model" and parent not in (None, settings.model):
            raise MismatchError(
                f"{client.endpoint}: {name!r} is an adapter of {parent!r}, not of "
                f"{settings.model!r}"
            )
        roots.append(f"{name}={served[name].get('root')}")
    tokenizer, digest, embedded = load_tokenizer(settings.tokenizer or settings.model)
    theirs = client.tokenize(settings.model, _SAMPLE)
    mine = tokenizer(_SAMPLE, add_special_tokens=False)["input_ids"]
    if theirs is not None and theirs != mine:
        raise MismatchError(
            f"{client.endpoint}: {settings.model!r} has another tokeniser than "
            f"{settings.tokenizer or settings.model}: give the model's own as teacher.tokenizer"
        )
    length = served[settings.model].get("max_model_len") or tokenizer.model_max_length
    return RemoteModel(
        name=settings.model,
        place=client.endpoint,
        sha256=hashlib.sha256(f"vllm {' '.join(roots)}".encode()).hexdigest(),
        tokenizer=tokenizer,
        tokenizer_sha256=digest,
        embedded=embedded,
        longest=int(length) - 1,  # one token has to be generated
    )
