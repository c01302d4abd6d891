"""Renderers: text of the environment ↔ token ids of one model."""

from collections.abc import Sequence
from datetime import date
from typing import Any

# Some chat templates print today's date, so the same run would differ from day to day. They are given this date instead.
TODAY = date(2025, 1, 1)


class TemplateRenderer:
    """Uses a Hugging Face tokenizer, and its chat template if it has one; a template that prints the date prints `TODAY`."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def prompt(self, text: str) -> list[int]:
        """A whole prompt: as one user message if the tokenizer has a chat template, otherwise with its special tokens around it."""
        if self.tokenizer.chat_template:
            messages = [{"role": "user", "content": text}]
            pinned = {"strftime_now": TODAY.strftime, "date_string": TODAY.strftime("%d %b %Y")}
            return list(self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False, **pinned))
        return list(self.tokenizer(text)["input_ids"])

    def observation(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def decode(self, token_ids: Sequence[int]) -> str:
        # tags may be special tokens, and must be kept
        return self.tokenizer.decode(list(token_ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
