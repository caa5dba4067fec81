"""Token counters."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_extractors.base import ExtractionError
from pi_extractors.tokens import Estimate, TokenizerFile

# Counted by SmolLM2's tokenizer (49,152 entries, Apache-2.0).
COUNTED = [
    ("def test_empty_name_not_allowed(app, client):\n    with pytest.raises(ValueError):\n", 24),
    ("class RequestsTestCase(unittest.TestCase):\n    def setUp(self):\n        pass\n", 18),
    (
        "--- a/requests/models.py\n+++ b/requests/models.py\n@@ -386,13 +386,14 @@ def "
        "prepare_body(self, data, files):\n         self.body = body\n \n"
        "-        self.headers['Content-Length'] = '0'\n",
        70,
    ),
    ("The quick brown fox jumps over the lazy dog, and the module raises an exception.", 17),
]


@pytest.mark.parametrize(("text", "tokens"), COUNTED)
def test_the_estimate_is_near_a_real_tokenizer(text: str, tokens: int) -> None:
    assert Estimate().count(text) == pytest.approx(tokens, rel=0.25)


def test_known_counts_pin_the_estimate() -> None:
    """Another count needs another name: records say what counted."""
    assert Estimate().name == "estimate/1"
    assert [Estimate().count(text) for text, _ in COUNTED] == [27, 22, 74, 18]
    assert Estimate().count("") == 0


@given(st.text(), st.text())
def test_counts_grow_and_nearly_add_up(one: str, two: str) -> None:
    count = Estimate().count
    whole = count(one + two)
    assert whole <= count(one) + count(two) + 1
    assert whole >= max(count(one), count(two)) - 1


def _tokenizer(folder: Path, **changes: object) -> Path:
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({"<s>": 0, "a": 1, "b": 2, "?": 3}, unk_token="?")
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    tokenizer.enable_truncation(2)
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(tokenizer.to_str()) | changes))
    return path


def test_a_tokenizer_file_counts_everything_but_special_tokens(tmp_path: Path) -> None:
    counter = TokenizerFile(_tokenizer(tmp_path))
    assert counter.count("a b a b a") == 5
    assert counter.count("") == 0


def test_its_name_is_the_digest_of_the_file(tmp_path: Path) -> None:
    first = TokenizerFile(_tokenizer(tmp_path)).name
    assert first.startswith("sha256:")
    assert len(first) == 71
    assert TokenizerFile(_tokenizer(tmp_path, padding=None)).name == first
    assert TokenizerFile(_tokenizer(tmp_path, truncation=None)).name != first


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"model": 1}'])
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    pytest.importorskip("tokenizers")
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(ExtractionError, match=r"tokenizer\.json"):
        TokenizerFile(path)
    with pytest.raises(ExtractionError, match="nowhere"):
        TokenizerFile(tmp_path / "nowhere")
