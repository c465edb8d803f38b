"""Prompts and answers as text."""

from pathlib import Path

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.example import Row
from tarx_toollog.export.formats.base import FormatOptions
from tarx_toollog.export.formats.rendered import RenderedFormat
from tests.support.export_rows import GOOD, PREFERENCE, TRAITS, TRAJECTORY, answer, export, make_row, user

TEMPLATE = (Path(__file__).parents[3] / "consumers" / "chat_template.jinja").read_text()
SFT = FormatOptions(template=TEMPLATE)


def test_the_prompt_ends_where_the_model_begins(tmp_path: Path) -> None:
    expected = {
        "prompt": "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
        "completion": "Hello, I am TARX.<|im_end|>\n",
    }
    assert expected == export(RenderedFormat(), tmp_path, [TRAITS["plain answer without tools"]], SFT).only


def test_calls_and_tools_are_written_by_the_template(tmp_path: Path) -> None:
    line = export(RenderedFormat(), tmp_path, [TRAITS["two calls at once, the same tool twice"]], SFT).only
    expected = (
        '<tool_call>\n{"name": "tarx_remember", "arguments": {"key": "cat", "value": "Miso"}}\n</tool_call>\n'
        '<tool_call>\n{"name": "tarx_remember", "arguments": {"key": "age", "value": 3}}\n</tool_call><|im_end|>\n'
    )
    assert expected == line["completion"]
    assert '"description": "Store a fact – with its key."' in line["prompt"]


def test_a_preference_has_both_answers(tmp_path: Path) -> None:
    line = export(RenderedFormat(), tmp_path, [PREFERENCE], FormatOptions(task="dpo", template=TEMPLATE)).only
    assert {"prompt", "chosen", "rejected"} == set(line)
    assert "She is three.<|im_end|>\n" == line["rejected"]
    assert line["chosen"].startswith('<tool_call>\n{"name": "tarx_recall"')


def test_a_label_stands_beside_the_texts(tmp_path: Path) -> None:
    line = export(RenderedFormat(), tmp_path, [GOOD], FormatOptions(task="kto", template=TEMPLATE)).only
    assert (["prompt", "completion", "label"], True) == (list(line), line["label"])


def test_tokens_and_variables_reach_the_template(tmp_path: Path) -> None:
    template = (
        "{{ bos_token }}{% for m in messages %}{{ m.role }}:{{ m.content }}{{ end }}{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )
    options = FormatOptions(template=template, template_tokens={"bos_token": "<s>"}, template_variables={"end": ";"})
    line = export(RenderedFormat(), tmp_path, [make_row([user("a"), answer("b")])], options).only
    assert {"prompt": "<s>user:a;assistant:", "completion": "b;"} == line


def test_without_a_template_the_error_says_where_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs the chat template") as caught:
        RenderedFormat().writer(tmp_path, FormatOptions())
    assert "--template" in caught.value.hint


def test_a_chat_that_the_template_refuses_is_dropped(tmp_path: Path) -> None:
    options = FormatOptions(template="{{ raise_exception('no') if tools else messages[-1].content }}")
    made = export(RenderedFormat(), tmp_path, [TRAITS["one call"]], options)
    assert (["format_cannot_say"], {}) == (made.dropped, made.lines)


def test_two_answers_whose_prompts_differ_are_dropped(tmp_path: Path) -> None:
    template = (
        "{% if messages|length > 1 %}{{ 'R' if messages[-1].content == 'c' else 'Q' }}{{ messages[-1].content }}"
        "{% elif add_generation_prompt %}Q{% endif %}"
    )
    row = make_row([user("a"), answer("b")], rejected=answer("c"))
    options = FormatOptions(task="dpo", template=template)
    assert ["format_cannot_say"] == export(RenderedFormat(), tmp_path, [row], options).dropped


def test_a_row_that_wants_more_learned_than_its_last_message_is_refused(tmp_path: Path) -> None:
    assert ["needs_mask"] == export(RenderedFormat(), tmp_path, [TRAJECTORY], SFT).dropped


def test_the_page_warns_of_a_second_chat_template(tmp_path: Path) -> None:
    export(RenderedFormat(), tmp_path, [GOOD], FormatOptions(task="kto", template=TEMPLATE))
    assert "mlx_lm.lora" in (tmp_path / "README.md").read_text()


OPENING = "{% if add_generation_prompt %}assistant:{% endif %}"
HISTORY = "{% for m in messages if m.role != 'assistant' %}{{ m.role }}:{{ m.content }};{% endfor %}"


@pytest.mark.parametrize(
    ("template", "row"),
    [
        (HISTORY + OPENING, make_row([user("a"), answer("b")])),
        (HISTORY + "{{ ';' if messages[-1].role == 'assistant' }}", make_row([user("a"), answer("b")])),
        (HISTORY + "{{ messages[-1].content if messages[-1].role == 'assistant' }}", TRAITS["one call"]),
        (HISTORY + "{{ messages[-1].content[:3] if messages[-1].role == 'assistant' }}", GOOD),
    ],
    ids=["nothing", "only what ends it", "no call", "half of the text"],
)
def test_an_answer_that_the_template_does_not_write_is_dropped(template: str, row: Row, tmp_path: Path) -> None:
    made = export(RenderedFormat(), tmp_path, [row], FormatOptions(template=template))

    assert (["format_cannot_say"], {}) == (made.dropped, made.lines)


def test_a_worse_answer_that_the_template_does_not_write_is_dropped(tmp_path: Path) -> None:
    template = HISTORY + "{% if messages[-1].role == 'assistant' %}{{ messages[-1].content[:1] }};{% endif %}"
    row = make_row([user("a"), answer("b")], rejected=answer("cd"))

    made = export(RenderedFormat(), tmp_path, [row], FormatOptions(task="dpo", template=template))

    assert ["format_cannot_say"] == made.dropped
