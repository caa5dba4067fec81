"""What a training leaves: an adapter in peft's format or a model folder, and its card."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict
from torch import nn

from trainers.engine.adapter_file import save_adapter
from trainers.engine.config import TrainSettings
from trainers.engine.networks import ADAPTER_FILE, BASE_KEY, Network
from trainers.engine.ranks import Ranks, whole

_TEXT = ("*.json", "*.jinja", "*.txt", "*.model", "LICENSE*")


def export(
    network: Network,
    parameters: Mapping[str, nn.Parameter],
    settings: TrainSettings,
    card: str,
    ranks: Ranks,
    facts: Mapping[str, str],
) -> Path:
    """Write `final/`, for peft, transformers and vLLM to load; every rank has to call it.

    An adapter's file names the base weights that it belongs to, and has `facts` beside. card:
    `training.json`.
    """
    folder = settings.out / "final"
    weights = {name.removeprefix("model."): whole(each) for name, each in parameters.items()}
    if not ranks.first:
        return folder
    draft = settings.out / "final.draft"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    if isinstance(network.model, PeftModel):
        config = network.model.peft_config["default"]
        config.base_model_name_or_path = settings.student.model
        config.inference_mode = True
        config.target_modules = sorted(config.target_modules or ())  # a set has no order
        config.save_pretrained(str(draft))
        found = get_peft_model_state_dict(network.model, state_dict=weights)
        metadata = {"format": "pt", BASE_KEY: network.source.weights_sha256, **facts}
        save_adapter(found, draft / ADAPTER_FILE, metadata)
    else:
        for pattern in _TEXT:
            for path in network.source.folder.glob(pattern):
                if not path.name.endswith(".safetensors.index.json"):
                    shutil.copyfile(path, draft / path.name)
        dtype = getattr(torch, settings.student.dtype)
        network.causal.save_pretrained(
            draft, state_dict={name: each.to(dtype) for name, each in weights.items()}
        )
        network.causal.config.dtype = dtype  # it saved that of the weights in training
        network.causal.config.save_pretrained(draft)
    (draft / "training.json").write_text(card, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
    return folder
