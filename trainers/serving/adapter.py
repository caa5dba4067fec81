"""A LoRA adapter merged into the model that is served."""

from typing import Any

from peft import PeftModel, get_peft_model_state_dict
from safetensors import safe_open

from trainers.serving.models import LocalAdapter, LocalModel
from trainers.serving.shipped import ModelError

_BASE_KEY = "base_weights_sha256"


def merge_adapter(network: Any, adapter: LocalAdapter, model: LocalModel) -> Any:
    """The model with the adapter's weights added to its own.

    Raises ModelError for an adapter that is of another model, or whose weights do not all fit.
    """
    try:
        with safe_open(adapter.weights, "pt") as tensors:
            base = (tensors.metadata() or {}).get(_BASE_KEY)
            names = set(tensors.keys())
        if base not in (None, model.weights_sha256):
            raise ModelError(
                f"adapter {adapter.folder} was trained on weights {base[:12]}…, {model.folder} has "
                f"{model.weights_sha256[:12]}…: give the adapter's own base model"
            )
        adapted = PeftModel.from_pretrained(network, str(adapter.folder), use_safetensors=True)
        apart = names ^ get_peft_model_state_dict(adapted).keys()
        if apart:
            raise ModelError(
                f"adapter {adapter.folder} does not fit {model.folder}: {len(apart)} weights are "
                f"in one alone, such as {min(apart)}; give the adapter's own base model"
            )
        return adapted.merge_and_unload(safe_merge=True)
    except ModelError:
        raise
    except Exception as error:  # a folder can be wrong in any way
        raise ModelError(f"adapter {adapter.folder} does not fit {model.folder}: {error}") from None
