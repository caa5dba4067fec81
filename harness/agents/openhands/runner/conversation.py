"""The conversation that a spec describes. Import only inside `settings.importing`."""

from collections.abc import Callable
from importlib import import_module
from threading import Thread
from typing import Any

import litellm
import openai
from openhands.sdk import Agent, Conversation, Event, LocalConversation
from openhands.sdk.security.confirmation_policy import NeverConfirm

from .terminal import mend_terminal
from .wire import Wire


def start(spec: dict[str, Any], wire: Wire, on_event: Callable[[Event], None]) -> LocalConversation:
    """A conversation that waits for its task."""
    Thread(target=_warm_up, args=[wire], daemon=True).start()
    litellm.aclient_session = wire.client
    mend_terminal(spec["output_characters"])
    for module in spec["modules"]:  # each registers a tool
        import_module(module)
    conversation = Conversation(
        agent=Agent.model_validate(spec["agent"]),
        workspace=spec["workspace"],
        callbacks=[on_event],
        visualizer=None,
        stuck_detection=spec["stuck_detection"],
        delete_on_close=False,
    )
    conversation.set_confirmation_policy(NeverConfirm())
    return conversation


def _warm_up(wire: Wire) -> None:
    """Import what the first call needs, while the terminal starts."""
    client = openai.AsyncOpenAI(api_key="none", http_client=wire.client)
    _ = client.chat.completions.with_raw_response.create
