"""A LoRA adapter that a vLLM server is asked to load for a run."""

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

import httpx

from harness.config import ConfigError

_FILES = ("adapter_config.json", "adapter_model.safetensors")
_SHOWN = 500


class LoadedAdapter(NamedTuple):
    """The name that requests give, and the SHA-256 of the adapter's two files."""

    name: str
    sha256: str


def load_adapter(
    base_url: str, headers: dict[str, str], model: str, folder: Path, served: Collection[str]
) -> LoadedAdapter:
    """Have a server load an adapter of its model by path, under a name made from its content.

    The server must see the folder under the same path. `served` are the names that it has already.
    Raises ConfigError where the folder is no adapter or the server does not take it.
    """
    path = folder.resolve()
    missing = [name for name in _FILES if not (path / name).is_file()]
    if missing:
        raise ConfigError(f"adapter {folder} has no {missing[0]}: give a folder in peft's format")
    digest = hashlib.sha256(b"".join((path / name).read_bytes() for name in _FILES)).hexdigest()
    name = f"{model.rsplit('/', 1)[-1]}-lora-{digest[:16]}"
    if name in served:
        return LoadedAdapter(name, digest)
    url = f"{base_url.rstrip('/')}/load_lora_adapter"
    try:
        answer = httpx.post(
            url, json={"lora_name": name, "lora_path": str(path)}, headers=headers, timeout=300
        )
    except httpx.HTTPError as error:
        raise ConfigError(f"{url} does not answer: {error}") from None
    there = answer.status_code == httpx.codes.BAD_REQUEST and "already been loaded" in answer.text
    if answer.is_success or there:
        return LoadedAdapter(name, digest)
    if answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.METHOD_NOT_ALLOWED):
        raise ConfigError(
            f"{url} loads no adapter ({answer.status_code}, {answer.text[:_SHOWN]!r}): start it as "
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve … --enable-lora --max-lora-rank 16, "
            f"where it sees {path} under the same path"
        )
    raise ConfigError(f"{url} refused {path}: {answer.status_code}, {answer.text[:_SHOWN]!r}")
