"""The repair agent with a tiny model behind a gateway, and the triples of its attempts."""

from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pyarrow.parquet as pq
import pytest
import torch
from tokenizers import AddedToken
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from harness.agents import make_agent
from harness.agents.base import Decoding, Endpoint
from harness.datagen.triples_align import Miss
from harness.datagen.triples_gold import gold_files
from harness.datagen.triples_spans import TokenSpans
from harness.datagen.triples_state import ExpertState
from harness.datagen.triples_states import expert_states, heavy_calls
from harness.gateway import Gateway
from harness.records import Budget, Outcome, StopReason
from harness.records.repair.text import CHAT_TEMPLATE, CONTROL_TOKENS, END, PAD, PLACE_TOKENS
from pi_extractors.records import PIRecord, Provenance, SourceName, Tier
from tests.agents.repair_repository import make_repair_repository
from tests.agents.repository import Repository
from tests.trainers.tiny import byte_tokenizer
from trainers.data.check_calls import check_run
from trainers.data.contexts import pi_block

STATE = "<issue>TypeError in pad, put: bad operand<funcs> get, box get, pad, clip size<act>"
PI = "patch clip size<0> <=\nnext clip size"
CODE = (
    "<code>def clip_size(value, low, high):\nif value <<0> low:\n"
    "return min<1>(value, high) if <2>high else value -<3> 1<4><act>"
)


class Attempted(NamedTuple):
    """Attempts by policy, in folders of one run."""

    run: Path
    outcomes: dict[str, Outcome]
    repository: Repository
    tokenizer: Any

    def calls(self, policy: str) -> list[dict[str, Any]]:
        """The model calls of an attempt."""
        found: list[dict[str, Any]] = pq.read_table(
            self.folder(policy) / "calls.parquet"
        ).to_pylist()
        return found

    def folder(self, policy: str) -> Path:
        """Where an attempt is."""
        return self.run / "attempts" / policy / "0"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model with a tokeniser of the repair task's format."""
    folder = tmp_path_factory.mktemp("models") / "repair"
    backend = byte_tokenizer().backend_tokenizer
    backend.add_special_tokens(list(CONTROL_TOKENS))
    backend.add_tokens([AddedToken(one, special=False, normalized=False) for one in PLACE_TOKENS])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=END, pad_token=PAD, chat_template=CHAT_TEMPLATE
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=1024,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.3,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def attempted(
    serve_folder: Any, model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Attempted:
    """One attempt of each policy, in real sandboxes."""
    root = tmp_path_factory.mktemp("repair")
    repository = make_repair_repository(root)
    client: httpx.Client = serve_folder(model)
    endpoint = Endpoint(
        base_url=f"{client.base_url}/v1",
        model="repair",
        decoding=Decoding(temperature=1, top_p=1, max_tokens=64),
    )
    run, outcomes = root / "run", {}
    record = PIRecord(
        instance_id=repository.instance.instance_id,
        source=SourceName.GOLD_PATCH,
        tier=Tier.ORACLE,
        text=PI,
        tokens=3,
        tokenizer="t",
        budget=9,
        truncated=False,
        provenance=Provenance(extractor="t/1"),
    )
    (root / "pi.jsonl").write_text(record.model_dump_json() + "\n")
    given = {"pi": "given", "pi_records": root / "pi.jsonl", "pi_source": "gold_patch"}
    settings: dict[str, dict[str, object]] = {
        "gold": {"policy": "gold"},
        "model": {"policy": "model"},
        "taught": given,
        "untaught": {"pi": "empty"},
    }
    with Gateway(endpoint) as gateway:
        for policy, options in settings.items():
            folder = run / "attempts" / policy / "0"
            folder.mkdir(parents=True)
            with (
                gateway.open(budget=Budget(), seed=1, calls=folder / "calls.parquet") as door,
                repository.sandbox() as sandbox,
                (folder / "events.jsonl").open("w") as events,
            ):
                outcomes[policy] = make_agent("repair", options).run(
                    repository.instance,
                    sandbox=sandbox,
                    endpoint=door.endpoint,
                    budget=Budget(),
                    seed=1,
                    emit=lambda event: print(event.model_dump_json(), file=events),
                    logs=root,
                )
    tokenizer = AutoTokenizer.from_pretrained(model)
    return Attempted(run, outcomes, repository, tokenizer)


def test_recorded_tokens_are_those_of_the_text_format(attempted: Attempted) -> None:
    def ids(text: str) -> list[int]:
        found: list[int] = attempted.tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    first, second = attempted.calls("gold")
    assert first["prompt_ids"] == ids(STATE)
    assert first["sampled_ids"] == ids(f" clip size{END}")
    assert second["prompt_ids"] == ids(f"{STATE} clip size{END}{CODE}")
    assert second["prompt_ids"] == first["prompt_ids"] + first["sampled_ids"] + ids(CODE)
    assert second["sampled_ids"] == ids(f"<0> <={END}")
    for call in (first, second):
        assert len(call["logprobs"]) == len(call["sampled_ids"])
        assert call["ids_from"] == "endpoint"
    assert check_run(attempted.run, attempted.tokenizer)[1] == []


@pytest.mark.parametrize(("policy", "text"), [("taught", PI), ("untaught", "")])
def test_pi_stands_in_front_as_adapters_are_trained_with_it(
    attempted: Attempted, policy: str, text: str
) -> None:
    tokenizer = attempted.tokenizer
    state = tokenizer(STATE, add_special_tokens=False)["input_ids"]
    block = pi_block(tokenizer, text)
    first, second = attempted.calls(policy)
    assert first["prompt_ids"] == block + state
    assert second["prompt_ids"][: len(first["prompt_ids"])] == first["prompt_ids"]


def test_the_gold_policy_makes_the_gold_patch_s_edit(attempted: Attempted) -> None:
    outcome = attempted.outcomes["gold"]
    assert outcome.stop_reason is StopReason.FINISHED
    changes = [one for one in outcome.patch.split("\n") if one[:1] in ("-", "+")]
    assert changes[2:] == ["-    if value < low:  # é", "+    if value <= low:  # é"]


def test_a_random_model_ends_with_an_edit(attempted: Attempted) -> None:
    outcome = attempted.outcomes["model"]
    assert outcome.stop_reason is StopReason.FINISHED
    assert outcome.patch.count("\n@@") == 1


def test_the_gold_attempt_s_actions_are_expert_actions(attempted: Attempted, model: Path) -> None:
    folder, gold = attempted.folder("gold"), gold_files(attempted.repository.instance)
    found = list(expert_states(folder, gold, min_similarity=0.8))
    assert all(isinstance(one, ExpertState) for one in found)
    states = [one for one in found if isinstance(one, ExpertState)]
    assert [one.target.answer.text for one in states] == [f" clip size{END}", f"<0> <={END}"]
    assert [one.target.answer.calls[0].tool for one in states] == ["choose_function", "edit_place"]
    assert [(one.turn, one.edits) for one in states] == [(1, ()), (2, ())]
    spans, heavy = TokenSpans(model / "tokenizer.json"), heavy_calls(folder, [1, 2])
    for state in states:
        ids = heavy[state.turn].sampled_ids
        assert spans.find(ids, state.target.answer, 0) == (0, len(ids))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, [1, 2]),
        ({"-    if value < low:": "-    if value < high:"}, [1, Miss.NO_OVERLAP]),
        ({"@@ -29,6 +29,6 @@": "@@ -30,6 +30,6 @@"}, [1, Miss.NO_OVERLAP]),
        ({"@@ -29,6 +29,6 @@": "@@ -9,6 +9,6 @@"}, [Miss.OUTSIDE_GOLD, Miss.NO_OVERLAP]),
        ({"src/box.py": "src/bag.py"}, [Miss.OUTSIDE_GOLD, Miss.NO_OVERLAP]),
    ],
)
def test_only_the_gold_patch_s_own_line_and_function_count(
    attempted: Attempted, changes: dict[str, str], expected: list[Any]
) -> None:
    patch = attempted.repository.instance.patch
    for old, new in changes.items():
        patch = patch.replace(old, new)
    gold = gold_files(attempted.repository.instance.model_copy(update={"patch": patch}))
    found = expert_states(attempted.folder("gold"), gold, min_similarity=0.8)
    assert [one.turn if isinstance(one, ExpertState) else one for one in found] == expected
