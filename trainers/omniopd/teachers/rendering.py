"""The text of a prompt, by a chat template, as far as the answer has come."""

from typing import Any

from trainers.engine.errors import MismatchError, TeacherError
from trainers.omniopd.teachers.parts import shown
from trainers.omniopd.texts import Ask


def prompt_ids(tokenizer: Any, ask: Ask, prompt: str) -> list[int]:
    """Ids of all that a model sees before its continuation; at least one.

    prompt: `chat` renders the messages and the answer so far by the chat template, `text` takes
    the text as it is, behind the tokeniser's own first token. Raises MismatchError for a tokeniser
    without template, TeacherError for messages that it does not take, or for no text at all.
    """
    if prompt == "text":
        ids: list[int] = tokenizer(ask.text)["input_ids"]
        if ids and ids[-1] == tokenizer.eos_token_id and not _ends_in_special(tokenizer, ask.text):
            ids = ids[:-1]
    else:
        ids = tokenizer(rendered(tokenizer, ask), add_special_tokens=False)["input_ids"]
    if not ids:
        raise TeacherError(f"the text {shown(ask.text)} has no token before its continuation")
    return ids


def rendered(tokenizer: Any, ask: Ask) -> str:
    """Messages and the answer so far. The text ends as `ask.text` does, white space included."""
    if tokenizer.chat_template is None:
        raise MismatchError(
            "text_teacher.model has a tokeniser without chat template: set prompt: text"
        )
    messages = [message.model_dump() for message in ask.messages]
    begun = _apply(tokenizer, messages, add_generation_prompt=True)
    if not ask.text.strip():
        return begun + ask.text
    messages.append({"role": "assistant", "content": ask.text})
    try:
        found = _apply(tokenizer, messages, continue_final_message=True)
    except ValueError:  # the template changes the answer, as with its thoughts
        return begun + ask.text
    stripped = ask.text.rstrip()
    if found.endswith(ask.text):
        return found
    if found.endswith(stripped):
        return found + ask.text[len(stripped) :]
    if found.endswith(ask.text.strip()):
        return found + ask.text[len(stripped) :]
    return begun + ask.text


def _apply(tokenizer: Any, messages: list[dict[str, str]], **options: bool) -> str:
    """The template's text. Raises ValueError where it does not hold the last message's own."""
    try:
        text: str = tokenizer.apply_chat_template(messages, tokenize=False, **options)
    except ValueError:
        if "continue_final_message" in options:
            raise
        raise TeacherError("the teacher's chat template cannot begin an answer") from None
    except Exception as error:  # templates can fail in any way
        raise TeacherError(
            f"the teacher's chat template does not take the messages: {error}"
        ) from None
    return text


def _ends_in_special(tokenizer: Any, text: str) -> bool:
    return tokenizer.eos_token is not None and text.endswith(tokenizer.eos_token)
