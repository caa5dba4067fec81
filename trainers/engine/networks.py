"""Models as training sees them: last hidden states, and an output embedding apart.

Shapes: T tokens of a row, N states of interest, D hidden size, V vocabulary.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.records.cache import cache_root
from trainers.data.packing import Columns, Row
from trainers.engine.config import DType, LoraSettings, StudentSettings
from trainers.engine.errors import MismatchError
from trainers.losses.chunked import Projection, Source, over_tokens
from trainers.methods.base import Method
from trainers.serving.models import LocalModel, resolve_model
from trainers.serving.shipped import ModelError, file_sha256

BASE_KEY = "base_weights_sha256"
SOURCE_KEY = "pi_source"
ADAPTER_FILE = "adapter_model.safetensors"
_PLAIN: dict[str, Any] = {  # what an adapter's configuration may not say otherwise
    "peft_type": "LORA",
    "bias": "none",
    "use_dora": False,
    "lora_bias": False,
    "modules_to_save": None,
    "trainable_token_indices": None,
    "target_parameters": None,
    "layer_replication": None,
    "alora_invocation_tokens": None,
    "init_lora_weights": True,
}
_AGREEMENT = 0.05  # standard deviations of the logits: rounding in bfloat16 stays below


class Network(nn.Module):
    """A causal language model, with or without an adapter, on its way to hidden states.

    source: where it comes from. sha256: digest of its weights, the adapter's included. dtype: of
    its arithmetic. vocabulary: how many ids its distributions are about.
    """

    def __init__(
        self, model: nn.Module, tokenizer: Any, source: LocalModel, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.source = source
        self.sha256 = source.weights_sha256
        self.dtype = dtype
        self.vocabulary = self.head.shape[0]

    @property
    def name(self) -> str:
        """What its owner calls it."""
        return self.source.name

    @property
    def place(self) -> str:
        """Its folder."""
        return str(self.source.folder)

    @property
    def tokens(self) -> dict[int, str]:
        """The tokeniser's tokens by id."""
        return {number: token for token, number in self.tokenizer.get_vocab().items()}

    @property
    def tokenizer_sha256(self) -> str:
        """Digest of `tokenizer.json`."""
        return self.source.tokenizer_sha256

    @property
    def embedded(self) -> int:
        """Rows of its embeddings."""
        return self.head.shape[0]

    @property
    def longest(self) -> int:
        """How many tokens it takes."""
        limit: int = self.causal.config.max_position_embeddings
        return limit

    @property
    def causal(self) -> Any:
        """The transformers model, adapter layers in place."""
        return self.model.get_base_model() if isinstance(self.model, PeftModel) else self.model

    @property
    def head(self) -> Tensor:
        """The output embedding, `(V, D)`."""
        weight: Tensor = self.causal.get_output_embeddings().weight
        return weight

    @property
    def mixed(self) -> bool:
        """Whether weights in float32 are multiplied in bfloat16."""
        trained = any(each.requires_grad for each in self.parameters())
        return trained and self.dtype is torch.bfloat16

    @contextmanager
    def without_adapter(self) -> Iterator[None]:
        """The model as it is without its adapter, not in training."""
        training = self.training
        self.eval()
        try:
            with (
                self.model.disable_adapter() if isinstance(self.model, PeftModel) else nullcontext()
            ):
                yield
        finally:
            self.train(training)

    def hidden(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Last hidden states `(T, D)` of a row `(1, T)`; see `Row` for its positions."""
        output = self.causal.base_model(input_ids=ids, position_ids=positions, use_cache=False)
        states: Tensor = output.last_hidden_state[0]
        return states

    def projection(self, row: Row) -> Projection:
        """What gives the logits of the states that sampled tokens were drawn from, `(N, V)`."""
        with torch.autocast(row.ids.device.type, torch.bfloat16, enabled=self.mixed):
            hidden = self.hidden(row.ids, row.positions)
        head = self.head[: self.vocabulary]
        return Projection(hidden[row.states].to(self.dtype), head.to(self.dtype))

    def forward(
        self, row: Row, others: Sequence[Source], method: Method, chunk: int
    ) -> dict[str, Tensor]:
        """A method's results for each sampled token of a row; only its loss can be differentiated.

        others: the distributions of the method's roles, whose facts are results too.
        """

        def body(*parts: Tensor) -> dict[str, Tensor]:
            models = len(others) + 1
            return method.tokens(parts[:models], Columns(*parts[models:]))

        sources = [self.projection(row), *others]
        found = over_tokens(body, sources, *row.columns, chunk=chunk, gradient_of="loss")
        for role, other in zip(method.roles, others, strict=True):
            found |= {f"{role}_{name}": values for name, values in other.facts.items()}
        return found


def load_student(settings: StudentSettings, device: torch.device) -> Network:
    """A model to train: trainable weights in float32, frozen ones in the dtype of the settings.

    Raises ModelError when it cannot be had, MismatchError when losses in chunks or the adapter do
    not suit it.
    """
    full = settings.adapter is None
    network = _load(settings.model, "float32" if full else settings.dtype)
    network.dtype = getattr(torch, settings.dtype)
    if settings.adapter is not None:
        network.model = _with_adapter(network, settings.adapter)
    network.to(device).train()
    if settings.activation_checkpointing:
        network.causal.activation_checkpointing_enable()
    return network


def load_frozen(model: str, dtype: DType, adapter: Path | None, device: torch.device) -> Network:
    """A model to ask. Raises as `load_student` does."""
    network = _load(model, dtype)
    if adapter is not None:
        _check_base(network, adapter)
        network.model = _peft_model(network.model, adapter, trainable=False)
        joint = network.sha256 + file_sha256(adapter / ADAPTER_FILE)
        network.sha256 = hashlib.sha256(joint.encode()).hexdigest()
    return network.to(device).eval().requires_grad_(False)


def load_frozen_with(
    model: str, dtype: DType, adapters: Mapping[str, Path], device: torch.device
) -> Network:
    """A model to ask with any of several adapters, by PI source. Raises as `load_student` does."""
    network = _load(model, dtype)
    digest = hashlib.sha256(network.sha256.encode())
    for name, folder in sorted(adapters.items()):
        _check_base(network, folder, name)
        network.model = _peft_model(network.model, folder, trainable=False, name=name)
        digest.update(f" {name}={file_sha256(folder / ADAPTER_FILE)}".encode())
    if adapters:
        network.sha256 = digest.hexdigest()
    return network.to(device).eval().requires_grad_(False)


def _load(reference: str, dtype: DType) -> Network:
    source = resolve_model(reference, cache_root() / "models")
    try:
        model = AutoModelForCausalLM.from_pretrained(
            source.folder,
            dtype=getattr(torch, dtype),
            use_safetensors=True,
            local_files_only=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(source.folder, local_files_only=True)
    except Exception as error:  # a folder can be wrong in any way
        raise ModelError(f"model {source.name} ({source.folder}): {error}") from error
    network = Network(model, tokenizer, source, model.dtype)
    _check_head(network)
    return network


@torch.inference_mode()
def _check_head(network: Network) -> None:
    """Raise MismatchError unless `hidden @ head.T` is what the model's own logits are."""
    model = network.causal.eval()
    ids = torch.arange(8).remainder(model.config.vocab_size)[None]
    hidden = network.hidden(ids, torch.arange(8)[None])
    found = (hidden @ network.head.T).float()
    expected = model(input_ids=ids, use_cache=False).logits[0].float()
    if not bool(expected.isfinite().all()):
        raise ModelError(
            f"model {network.source.name} ({network.source.folder}) gives logits that are no "
            "numbers: its weights are damaged; fetch them again"
        )
    apart = float((found - expected).abs().max() / expected.std())
    if not apart < _AGREEMENT:
        raise MismatchError(
            f"model {network.source.name}: its logits are not its last hidden states times its "
            f"output embedding (they differ by {apart:.2g} standard deviations), as with scaled, "
            f"capped or biased logits; {model.config.model_type!r} models cannot be trained here"
        )


def lora_config(settings: LoraSettings) -> LoraConfig:
    """peft's name for the settings of an adapter."""
    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]  # any number works
        lora_dropout=settings.dropout,
        target_modules=list(settings.targets),
        task_type="CAUSAL_LM",
    )


def _with_adapter(network: Network, settings: LoraSettings) -> nn.Module:
    if settings.start is not None:
        _check_base(network, settings.start)
        return _peft_model(network.model, settings.start, trainable=True)
    try:
        return get_peft_model(network.causal, lora_config(settings))
    except ValueError as error:
        raise MismatchError(f"model {network.source.name}: no such LoRA: {error}") from None


def _peft_model(
    model: nn.Module, folder: Path, *, trainable: bool, name: str = "default"
) -> nn.Module:
    """A model with one more adapter."""
    try:
        if isinstance(model, PeftModel):
            model.load_adapter(str(folder), name, is_trainable=trainable)
            adapted = model
        else:
            adapted = PeftModel.from_pretrained(model, str(folder), name, is_trainable=trainable)
        with safe_open(folder / ADAPTER_FILE, "pt") as tensors:
            mine = get_peft_model_state_dict(adapted, adapter_name=name)
            apart = mine.keys() ^ set(tensors.keys())
    except Exception as error:  # a folder can be wrong in any way
        raise MismatchError(
            f"adapter {folder} does not fit the model: {error}; give the adapter's own base model"
        ) from None
    if apart:
        raise MismatchError(
            f"adapter {folder} does not fit the model: {len(apart)} weights are in one alone, such "
            f"as {min(apart)}; give the adapter's own base model"
        )
    return adapted


def _check_base(network: Network, folder: Path, source: str | None = None) -> None:
    """Raise MismatchError for an adapter that is none, or of another base or PI source."""
    file = folder / ADAPTER_FILE
    try:
        config = json.loads((folder / "adapter_config.json").read_bytes())
        with safe_open(file, "pt") as tensors:
            metadata = tensors.metadata() or {}
            names = [*tensors.keys()]
        beyond = [key for key in _PLAIN if config.get(key, _PLAIN[key]) != _PLAIN[key]]
    except Exception as error:
        raise MismatchError(
            f"adapter {folder}: needs adapter_config.json and {ADAPTER_FILE} ({error})"
        ) from None
    beyond += [name for name in names if "lm_head" in name or ".lora_" not in name]
    if beyond:
        raise MismatchError(
            f"adapter {folder} is more than low-rank factors of projections ({beyond[0]}): its "
            "logits are not those of the base's output embedding; give a plain LoRA"
        )
    base, trained_for = metadata.get(BASE_KEY), metadata.get(SOURCE_KEY, source)
    if source is not None and trained_for != source:
        raise MismatchError(
            f"adapter {folder} was trained for PI source {trained_for!r}, not {source!r}: name it "
            "so in teacher.adapters"
        )
    if base is not None and base != network.source.weights_sha256:
        raise MismatchError(
            f"adapter {folder} was trained on weights {base[:12]}…, {network.source.folder} has "
            f"{network.source.weights_sha256[:12]}…: give the adapter's own base model"
        )
