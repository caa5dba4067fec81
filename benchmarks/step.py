"""Steps of CHOP and OmniOPD over an OPD step on the same batch, and an OPD step against TRL's GKD.

Random weights of the Qwen3 architecture, one trajectory a step; CPU seconds of one thread, which a
busy machine disturbs less than wall time. Variants take turns, and figures are medians of ratios to
the OPD step of the same turn, with the range of the middle half. Parts follow CHOP Table 26: the
difference that each switch makes, and, inside the segment branch, what its functions took. Routes
are drawn with the paper's shares (30 % untrusted; PI at 14 % of states, with all PI at 28 %). A
second table has passes of the teacher alone: its states with four adapters, by weights and by
logits, over the base's.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from trainers.data.order import Cursor
from trainers.data.trajectories import Trajectory, Turn
from trainers.engine.config import SEVEN, TrainSettings
from trainers.engine.networks import BASE_KEY, SOURCE_KEY, load_student
from trainers.engine.ranks import Ranks
from trainers.engine.trainer import Trainer
from trainers.methods.base import Role
from trainers.methods.chop import CHOP
from trainers.methods.omniopd import OmniOPD
from trainers.omniopd.audit import Audit, write_audits
from trainers.segments import branch
from trainers.serving.shipped import file_sha256
from trainers.teachers.make import make_teachers

CPU = torch.device("cpu")
SOURCES = ("call_graph", "gold_patch", "next_file", "test_manifest")
TURN = 128  # tokens of a turn and of what it answers to, half each
Times = defaultdict[str, float]


def write_model(folder: Path, seed: int, hidden: int, layers: int, vocabulary: int) -> Path:
    """A random model and a tokeniser of bytes."""
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 64,
        head_dim=32,
        max_position_embeddings=65536,
        tie_word_embeddings=True,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>"
    ).save_pretrained(folder)
    return folder


def write_adapter(folder: Path, base: Path, source: str) -> Path:
    """A rank-16 adapter of random factors."""
    config = LoraConfig(r=16, lora_alpha=32, target_modules=list(SEVEN), task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    for name, each in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(each, std=0.05)
    model.save_pretrained(str(folder))
    file = folder / "adapter_model.safetensors"
    facts = {"format": "pt", BASE_KEY: file_sha256(base / "model.safetensors"), SOURCE_KEY: source}
    save_file(load_file(file), file, facts)
    return folder


def trajectory(number: int, tokens: int, vocabulary: int) -> Trajectory:
    """Turns of `TURN` tokens, the second half of each sampled."""
    ids = np.random.default_rng(number).integers(0, min(256, vocabulary), tokens).astype(np.int32)
    turns = tuple(
        Turn(end - TURN // 2, end, 1.0, 1.0, number)
        for number, end in enumerate(range(TURN, tokens + 1, TURN), 1)
    )
    log_probs = np.zeros(tokens, np.float32)
    return Trajectory(f"run/i/{number}#0", "i", "student", ids, turns, log_probs, 1)


class Bench:
    """Models on disk, and steps of several methods on one batch."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        size = (options.layers, options.vocabulary)
        self.options = options
        self.folder = folder
        self.student = write_model(folder / "student", 0, options.hidden, *size)
        self.teacher = write_model(folder / "teacher", 1, options.teacher_hidden, *size)
        self.adapters = {name: write_adapter(folder / name, self.teacher, name) for name in SOURCES}
        self.trajectories = [  # one a step: a teacher may remember what it was asked last
            trajectory(number, options.tokens, options.vocabulary)
            for number in range(options.repetitions + 1)
        ]
        columns: dict[str, list[Any]] = {name: [] for name in ("run", "instance_id", "seed")}
        columns |= {"turn": [], "source": [], "text": []}
        for number, one in enumerate(self.trajectories):
            for turn in one.turns:
                for source in SOURCES:
                    text = f"{source}: " + "x" * options.pi_tokens
                    row = ("run", "i", number, turn.number, source, text)
                    for name, value in zip(columns, row, strict=True):
                        columns[name].append(value)
        self.contexts = folder / "contexts.parquet"
        pq.write_table(pa.table(columns), self.contexts)

    def settings(
        self, method: dict[str, Any], sources: tuple[str, ...] = (), **given: str
    ) -> TrainSettings:
        """OPD's settings with another method, and PI where it has some."""
        teacher: dict[str, Any] = {"model": str(self.teacher), "dtype": "float32"}
        pi: dict[str, Any] = {}
        if sources:
            teacher["adapters"] = {name: str(self.adapters[name]) for name in sources}
            options = self.options
            teacher |= {"composition": options.composition, "interface": options.interface} | given
            pi = {"pi": {"contexts": [str(self.contexts)]}}
        return TrainSettings.model_validate(
            {
                "out": str(self.folder / "out" / method["name"]),
                "method": method,
                "student": {"model": str(self.student), "dtype": "float32"},
                "teacher": teacher,
                "text_teacher": {"kind": "recorded"},
                "data": {"student_runs": ["unused"]},
                "batch": {"trajectories": 1, "row_tokens": self.options.tokens},
                "optimiser": {"steps": 10_000, "learning_rate": 1e-5},
                **pi,
            }
        )

    def trainer(self, method: dict[str, Any], sources: tuple[str, ...] = ()) -> Trainer:
        """A trainer that is ready for its first step."""
        settings = self.settings(method, sources)
        trajectories = settings.method.prepare(self.trajectories)
        torch.manual_seed(0)
        student = load_student(settings.student, CPU)
        cursor = Cursor(len(trajectories), 0, student_share=1.0, seed=0)
        teachers = make_teachers(settings, CPU, student)
        trainer = Trainer(settings, student, teachers, trajectories, cursor, Ranks(0, 1, CPU))
        if isinstance(settings.method, OmniOPD):
            self.audit(settings.method, settings.out)
        trainer.begin(0)
        return trainer

    def audit(self, method: OmniOPD, out: Path) -> None:
        """Made-up verdicts of a text teacher, which is none of a step's work."""
        out.mkdir(parents=True)
        size = TURN // 2
        found = [
            Audit(one.name, at * size, at * size + size, 1.0, 0.5, 5.0, 10, 0.5, "", ())
            for one in self.trajectories
            for at in range(min(method.chunks, len(one.turns)))
        ]
        write_audits(out / "audits.parquet", found, {})

    def gkd(self) -> Callable[[int], None]:
        """A step of TRL's GKD at β = 1, the reverse KL: its own loss, AdamW as ours."""
        os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
        trl: Any = import_module("trl.experimental.gkd.gkd_trainer")
        gkd = trl.GKDTrainer
        settings = self.settings({"name": "opd"})
        torch.manual_seed(0)
        student = load_student(settings.student, CPU)
        parts = SimpleNamespace(
            teacher_model=AutoModelForCausalLM.from_pretrained(self.teacher),
            generalized_jsd_loss=gkd.generalized_jsd_loss,
            beta=1.0,
        )
        trained = [each for each in student.parameters() if each.requires_grad]
        optimiser = torch.optim.AdamW(trained, lr=1e-5)

        def step(number: int) -> None:
            one = self.trajectories[number]
            ids = torch.from_numpy(one.ids).long()[None]
            labels = torch.full_like(ids, -100)
            at = torch.from_numpy(one.positions)
            labels[0, at] = ids[0, at]
            inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
            optimiser.zero_grad()
            loss = gkd.compute_loss(parts, student.causal, inputs)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            optimiser.step()

        return step


def measure_composition(bench: Bench, repetitions: int) -> dict[str, list[float]]:
    """CPU seconds of the teacher's passes over one trajectory, PI in the weights alone."""
    one = bench.trajectories[0]
    passes: dict[str, Callable[[], object]] = {}
    for name in ("weights", "logits"):
        given = {"composition": name, "interface": "weights_only"}
        settings = bench.settings({"name": "chop", "granularity": "token"}, SOURCES, **given)
        teacher: Any = make_teachers(settings, CPU)[Role.PI_TEACHER]
        owner, rows = teacher.owner, teacher.owner.rows(one)
        passes.setdefault("base", partial(owner._read, rows[:1]))
        passes[f"{name}, q^P alone"] = partial(owner._read, rows[1:])
        passes[f"{name}, q and q^P"] = partial(owner._read, rows)
    seconds: dict[str, list[float]] = {name: [] for name in passes}
    for turn in range(repetitions + 1):
        for name, run in passes.items():
            began = time.process_time()
            run()
            if turn:
                seconds[name].append(time.process_time() - began)
    return seconds


@contextmanager
def timed(times: Times) -> Iterator[None]:
    """Add up what the functions of the segment branch and the gates take."""
    places: list[tuple[Any, str, str]] = [
        (branch, "sample", "student segments"),
        (branch.SegmentBranch, "_teachers", "teacher segments"),
        (branch._Embedder, "embed", "embedding of teacher segments"),
        (branch.SegmentBranch, "_score", "scoring of student segments, forward"),
        (branch.SegmentBranch, "_distance", "distance and weights"),
        (CHOP, "observe", "thresholds and ledger"),
    ]
    originals = [getattr(place, name) for place, name, _ in places]

    def wrap(function: Callable[..., Any], label: str) -> Callable[..., Any]:
        def measured(*arguments: Any, **keywords: Any) -> Any:
            began = time.process_time()
            try:
                return function(*arguments, **keywords)
            finally:
                times[label] += time.process_time() - began

        return measured

    for (place, name, label), function in zip(places, originals, strict=True):
        setattr(place, name, wrap(function, label))
    try:
        yield
    finally:
        for (place, name, _), function in zip(places, originals, strict=True):
            setattr(place, name, function)


def variants(options: argparse.Namespace) -> dict[str, tuple[dict[str, Any], tuple[str, ...]]]:
    """Method and PI sources, from OPD to all of CHOP."""
    common = {"name": "chop", "segments": {"anchors": options.anchors}}
    gates = common | {"granularity": "token"}

    def route(pi: float) -> dict[str, Any]:
        return {"route": {"kind": "random", "untrusted": 0.30, "pi": pi}}

    two = ("call_graph", "test_manifest")
    return {
        "opd": ({"name": "opd"}, ()),
        "omniopd": ({"name": "omniopd"}, ()),
        "gates": (gates | {"pi": "none"}, ()),
        "segments": (common | route(0.0) | {"pi": "none"}, ()),
        "PI of 2": (gates, two),
        "PI of 4": (gates, SOURCES),
        "chop-deployable": (common | route(0.14) | {"preset": "deployable"}, two),
        "chop-oracle": (common | route(0.28) | {"preset": "oracle"}, SOURCES),
    }


def measure(bench: Bench, repetitions: int) -> dict[str, Any]:
    """CPU seconds of each variant and of parts, by repetition; the first is thrown away."""
    steps: dict[str, Callable[[int], object]] = {
        name: bench.trainer(*given).step for name, given in variants(bench.options).items()
    }
    if bench.options.trl:
        steps["trl-gkd"] = bench.gkd()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    parts: dict[str, dict[str, list[float]]] = {}
    for turn in range(repetitions + 1):
        for name, step in steps.items():
            times: Times = defaultdict(float)
            with timed(times):
                began = time.process_time()
                step(turn)
                took = time.process_time() - began
            if not turn:
                continue
            seconds[name].append(took)
            for label, value in times.items():
                parts.setdefault(name, {}).setdefault(label, []).append(value)
    return {"seconds": seconds, "parts": parts}


def ratios(values: list[float], base: list[float]) -> str:
    """The median of the ratios and the range of their middle half."""
    found = sorted(one / other for one, other in zip(values, base, strict=True))
    quarter = len(found) // 4
    low, high = found[quarter], found[len(found) - 1 - quarter]
    return f"{statistics.median(found):.3f} [{low:.3f}, {high:.3f}]"


def show(found: dict[str, Any]) -> str:
    """Tables in Markdown."""
    seconds, base = found["seconds"], found["seconds"]["opd"]
    lines = ["| step | CPU s | over OPD |", "|---|---|---|"]
    for name, values in seconds.items():
        lines.append(f"| {name} | {statistics.median(values):.2f} | {ratios(values, base)} |")
    passes = found["composition"]
    lines += ["", "| pass of the teacher | CPU s | over the base's |", "|---|---|---|"]
    for name, values in passes.items():
        over = ratios(values, passes["base"])
        lines.append(f"| {name} | {statistics.median(values):.2f} | {over} |")
    for name in ("chop-deployable", "chop-oracle"):
        lines += ["", f"| part of {name} | of the OPD step |", "|---|---|"]
        lines += [
            f"| {label} | {ratios(values, base)} |"
            for label, values in found["parts"][name].items()
        ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=8192, help="of the trajectory")
    parser.add_argument("--anchors", type=int, default=1, help="of the trajectory")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--teacher-hidden", type=int, default=192)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--pi-tokens", type=int, default=200, help="of a source's text")
    parser.add_argument("--composition", default="weights")
    parser.add_argument("--interface", default="context")
    parser.add_argument("--trl", action="store_true", help="TRL's GKD too (needs `trl`)")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options)
        found = {"composition": measure_composition(bench, options.repetitions)}
        found |= measure(bench, options.repetitions)
    if options.json:
        options.json.write_text(json.dumps(found | {"options": vars(options)}, default=str))
    print(show(found))


if __name__ == "__main__":
    main()
