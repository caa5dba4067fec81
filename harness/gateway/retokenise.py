"""Token ids for answers of endpoints that give none but have vLLM's `/tokenize`."""

from array import array

import orjson

from harness.gateway.calls import CallRow
from harness.gateway.failures import EndpointError, PassingError, RejectedError
from harness.gateway.upstream import Upstream
from harness.gateway.wire import Json

_RENDERED = ("model", "messages", "tools", "chat_template", "chat_template_kwargs")


class Retokeniser:
    """Makes ids from messages; stops asking once the endpoint has no `/tokenize`."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._there = True

    async def fill(self, row: CallRow) -> None:
        """Give an answered call its ids, marked as made from text, where that is possible."""
        if not self._there:
            return
        sent, answer = orjson.loads(row.request), orjson.loads(row.response)
        try:
            prompt, sampled = await self._ids(sent, answer["choices"][0]["message"])
            row.prompt_ids, row.sampled_ids = array("i", prompt), array("i", sampled)
        except EndpointError:
            self._there = False
        except (PassingError, RejectedError, TypeError, OverflowError):
            pass  # this row stays without ids; the next may get some
        else:
            row.ids_from = "retokenised"

    async def _ids(self, sent: Json, message: Json) -> tuple[list[int], list[int]]:
        """Ids of the prompt, and of the answer: what the template adds for it, else its text."""
        chat: Json = {name: sent[name] for name in _RENDERED if name in sent}
        prompt = await self._upstream.tokenize(chat | {"add_generation_prompt": True})
        chat["messages"] = [*chat["messages"], message]
        with_answer = await self._upstream.tokenize(chat | {"add_generation_prompt": False})
        if len(with_answer) > len(prompt) and with_answer[: len(prompt)] == prompt:
            return prompt, with_answer[len(prompt) :]
        text = {"prompt": message.get("content") or "", "add_special_tokens": False}
        return prompt, await self._upstream.tokenize({"model": sent["model"]} | text)
