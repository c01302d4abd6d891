"""From text to one model's tokens: with a chat template and without, the same every day."""

from typing import Any

import pytest

from models.tiny import word_level
from zerosearch.core.renderers import TODAY, TemplateRenderer


def tokenizer(template: str | None) -> Any:
    made = word_level()
    made.chat_template = template
    return made


def test_without_a_template_the_special_tokens_are_put_around_a_prompt_and_nothing_around_an_observation() -> None:
    renderer = TemplateRenderer(tokenizer(None))
    prompt, observation = renderer.prompt("who wrote the"), renderer.observation("who wrote the")
    assert prompt[-len(observation) :] == observation and renderer.decode(observation).split() == ["who", "wrote", "the"]


@pytest.mark.parametrize("template", ["{{ strftime_now('%d %b %Y') }}", "{{ date_string if date_string is defined else 'today' }}"])
def test_a_template_that_prints_the_date_prints_the_same_every_day(template: str) -> None:
    made = tokenizer(template + " {{ messages[0]['content'] }}")
    text = made.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False)
    assert TODAY.strftime("%d %b %Y") not in text  # left alone, it is another one tomorrow
    asked: list[str] = []

    class Records:
        chat_template = made.chat_template

        def apply_chat_template(self, messages: Any, **options: Any) -> list[int]:
            options.pop("return_dict")
            asked.append(made.apply_chat_template(messages, tokenize=False, **options))
            return []

    TemplateRenderer(Records()).prompt("x")
    assert asked == ["01 Jan 2025 x"]
