"""The tokeniser of small models: byte-level BPE over words, with the repair format's tokens."""

import re
from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from harness.records.repair.text import CHAT_TEMPLATE, CONTROL_TOKENS, END, PAD, PLACE_TOKENS

_PIECES = (
    r"\n *| ?[A-Z]?[a-z]+| ?[A-Z]+(?![a-z])| ?[0-9]| ?[^\sA-Za-z0-9_]+| ?_+|\s+"  # digits singly
)
_TOKEN = re.compile("|".join(re.escape(token) for token in (*CONTROL_TOKENS, *PLACE_TOKENS)))


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Learn a tokeniser from texts in the format of states and actions.

    vocabulary: tokens at most. Places' numbers are no control tokens: they stay when text is
    decoded, and privileged information may hold them.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - len(PLACE_TOKENS),
        special_tokens=list(CONTROL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((_TOKEN.sub("", text) for text in texts), trainer)
    tokenizer.add_tokens([AddedToken(one, normalized=False) for one in PLACE_TOKENS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[one for one in CONTROL_TOKENS if one not in (END, PAD)],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )
