"""Answers that must be one of some texts: which tokens may come next."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass
class ChoiceTrie:
    """The tokens that may follow the ones so far, each with what may follow it.

    After the last token of a choice comes the end-of-turn token, so that a choice with which
    another one begins can be told from it. A leaf has nothing after it.
    """

    following: "dict[int, ChoiceTrie]" = field(default_factory=dict)

    @property
    def allowed(self) -> list[int]:
        """The tokens that may come next, in ascending order."""
        return sorted(self.following)

    def after(self, token: int) -> "ChoiceTrie":
        """What may follow when an allowed token has come."""
        return self.following[token]


def choice_trie(choices: Iterable[Sequence[int]], end: int) -> ChoiceTrie:
    """The trie of choices as token ids, none of which is empty or has the token `end` in it."""
    root = ChoiceTrie()
    for choice in choices:
        node = root
        for token in (*choice, end):
            node = node.following.setdefault(token, ChoiceTrie())
    return root
