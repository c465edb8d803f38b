"""Control tokens: found where they are meant, and not where people write something that looks like them."""

import pytest

from tarx_toollog.export.template.render import ChatTemplate
from tarx_toollog.export.template.tokens import WELL_KNOWN, find_token, in_json, special_tokens
from tests.unit.export.template.templates import served

MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% else %}{{ m.content }}{{ eos_token }}{% endif %}{% endfor %}{# <|comment|> #}"
)


def test_tokens_are_what_the_template_writes() -> None:
    assert {"<|im_start|>", "<|im_end|>"} == special_tokens(served()["chat_template"])
    assert {"[INST]", "[/INST]"} == special_tokens(MISTRAL)
    assert {"<｜User｜>", "<|turn>", "<turn|>", '<|"|>'} == special_tokens("<｜User｜><|turn>a<turn|>{{ '<|\"|>' }}")


def test_tokens_that_a_template_puts_together_are_found_in_what_it_writes() -> None:
    text = "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content }}{% endfor %}"

    assert {"<|user|>", "<|assistant|>"} == special_tokens(text)


def test_given_tokens_count_where_they_look_like_tokens() -> None:
    given = {"bos_token": ",", "eos_token": "</s>", "pad_token": "[PAD]"}

    assert {"[INST]", "[/INST]", "</s>", "[PAD]"} == ChatTemplate(MISTRAL, tokens=given).special_tokens


@pytest.mark.parametrize(
    "text",
    [
        "List.map ((+) 1) <| [1; 2] |> List.sum",
        "a <|> b <|  |> c, (<|)",
        "<b>bold</b> <table> <s>old</s> <think> <tool_call>",
        "if (a<|b|| c>d) x[INST] = y",
        "usage: tool [OPTIONS] [ARGS] <FILE>",
        "a <| b|> c",
    ],
)
def test_what_only_looks_like_a_token_is_none(text: str) -> None:
    template = "{{ messages[0].content }}" + text

    assert not {token for token in special_tokens(template) if token not in {"<s>", "</s>", "[INST]", "[ARGS]"}}
    assert find_token(text, WELL_KNOWN) is None


def test_a_token_is_found_in_json_that_was_not_read() -> None:
    assert '<|\\"|>' == find_token('{"content": "a <|\\"|> b"}', in_json({'<|"|>'}))
    assert find_token('{"content": "a <| b"}', in_json({'<|"|>'})) is None
