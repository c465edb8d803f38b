"""Rendering: equal to transformers, bounded, and cut where an answer begins."""

import json
from datetime import datetime
from typing import Any

import pytest

from tarx_toollog.canonical import content_hash
from tarx_toollog.errors import ConfigError
from tarx_toollog.export.template import engine
from tarx_toollog.export.template.errors import (
    TemplateError,
    TemplateFailedError,
    TemplatePrefixError,
    TemplateRefusedError,
    TemplateSyntaxError,
)
from tarx_toollog.export.template.render import ChatTemplate, Span
from tests.unit.export.template.templates import CHATS, GOLDEN, TOKENS, TOOLS, by_transformers, own_templates, served

USER = {"role": "user", "content": "Hello"}
ANSWER = {"role": "assistant", "content": "Hi."}


def ours(text: str, chat: dict[str, Any]) -> dict[str, Any]:
    """Return what we make of a chat, in the form of ``render_with_transformers``."""
    template = ChatTemplate(text, tokens=TOKENS)
    tools = TOOLS if chat.get("tools") else None
    try:
        marked = template.render_marked(chat["messages"], tools)
        whole = [marked.text, [list(span) for span in marked.spans]]
    except TemplateError:
        whole = None
    try:
        prompt = template.render(chat["messages"][:-1], tools, add_generation_prompt=True)
    except TemplateError:
        prompt = None
    return {"whole": whole, "prompt": prompt}


@pytest.mark.parametrize("name", own_templates())
def test_the_templates_that_we_serve_render_as_in_transformers(name: str) -> None:
    golden = json.loads(GOLDEN.read_text("utf-8"))[name]

    assert own_templates()[name] == golden["text"], "the template changed: write the golden file again"
    assert golden["chats"] == {case: ours(golden["text"], chat) for case, chat in CHATS.items()}


def test_the_templates_of_seventy_models_render_as_in_transformers() -> None:
    theirs = by_transformers()

    differing = [
        (name, case)
        for name, answer in theirs.items()
        for case, expected in answer["chats"].items()
        if expected != ours(answer["text"], CHATS[case])
    ]
    rendered = sum(chat["whole"] is not None for answer in theirs.values() for chat in answer["chats"].values())

    assert [] == differing
    assert len(theirs) >= 70
    assert rendered >= 500, "most templates take most chats"


def test_the_hash_is_that_of_the_model_build_that_serves_the_template() -> None:
    text = served()["chat_template"]

    assert content_hash("chat_template", text).hex() == ChatTemplate(text).sha


def test_a_date_is_the_same_tomorrow_unless_it_is_set() -> None:
    text = "{{ date_string or strftime_now('%d %b %Y') }}"

    assert "26 Jul 2024" == ChatTemplate(text).render([], None)
    assert "01 Feb 2026" == ChatTemplate(text, now=datetime.fromisoformat("2026-02-01")).render([], None)
    assert "today" == ChatTemplate(text, variables={"date_string": "today"}).render([], None)


def test_generation_blocks_become_spans_also_inside_of_macros() -> None:
    text = (
        "{%- macro said(message) %}{% generation %}{{ message.content }}{% endgeneration %}{% endmacro %}"
        "{%- for message in messages %}[{{ said(message) if message.role == 'assistant' else message.content }}]"
        "{% endfor %}"
    )
    marked = ChatTemplate(text).render_marked([USER, ANSWER, USER, ANSWER], None)

    assert "[Hello][Hi.][Hello][Hi.]" == marked.text == ChatTemplate(text).render([USER, ANSWER, USER, ANSWER], None)
    assert (Span(8, 11), Span(20, 23)) == marked.spans


def test_the_answer_is_what_stands_after_the_prompt_of_use() -> None:
    row = ChatTemplate(served()["chat_template"]).prompt_and_answer([USER, ANSWER], None)

    assert ("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n", "Hi.<|im_end|>\n", True) == row


OPENS = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}{% if add_generation_prompt %}"


@pytest.mark.parametrize(
    ("opening", "prompt"),
    [
        ("<|assistant|><think>\n", "<|user|>Hello<|assistant|>"),
        ("<|assistant|>Hi!", "<|user|>Hello<|assistant|>"),
        ("<|bot|>", "<|user|>Hello"),
    ],
)
def test_an_opening_that_the_answer_does_not_have_is_cut_at_a_token(opening: str, prompt: str) -> None:
    row = ChatTemplate(OPENS + opening + "{% endif %}").prompt_and_answer([USER, ANSWER], None)

    assert prompt == row.prompt
    assert "<|user|>Hello<|assistant|>Hi." == row.prompt + row.answer
    assert not row.exact


def test_a_history_that_changes_once_it_is_answered_cannot_be_cut() -> None:
    with pytest.raises(TemplatePrefixError, match="writes the history otherwise"):
        ChatTemplate("{{ messages | length }}{{ messages[0].content }}").prompt_and_answer([USER, ANSWER], None)


def test_a_syntax_error_names_its_line() -> None:
    with pytest.raises(TemplateSyntaxError, match="line 2") as caught:
        ChatTemplate("{% for m in messages %}\n{{ m.content }")

    assert isinstance(caught.value, ConfigError)
    assert "Ollama" in caught.value.hint


def test_a_refusal_is_told_in_the_words_of_the_template() -> None:
    with pytest.raises(TemplateRefusedError, match="roles must alternate"):
        ChatTemplate("{{ raise_exception('roles must alternate') }}").render([USER], None)


@pytest.mark.parametrize(
    "text",
    [
        "{{ messages[0].nothing.more }}",
        "{{ messages[0].content + 1 }}",
        "{{ 1 // 0 }}",
        "{{ messages | tojson | float | round('x') }}",
        "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
        "{{ messages.append(1) }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ range(10 ** 9) | list }}",
        "{% include 'other' %}",
        "{{ lipsum() }}",
    ],
)
def test_whatever_goes_wrong_inside_a_template_is_an_error_for_people(text: str) -> None:
    with pytest.raises(TemplateFailedError, match="the chat template fails"):
        ChatTemplate(text).render([USER], None)


@pytest.mark.parametrize(
    "text",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% macro two(n) %}{% if n %}{{ two(n - 1) }}{{ two(n - 1) }}{% endif %}{% endmacro %}{{ two(40) }}",
        "{% for a in 'x' * 99999 %}{% for b in messages[0].content * 99999 %}{% endfor %}{% endfor %}",
    ],
)
def test_a_template_without_an_end_is_stopped(text: str) -> None:
    with pytest.raises(TemplateFailedError, match="does not come to an end"):
        ChatTemplate(text).render([USER], None)


def test_a_template_that_writes_without_an_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MAX_OUTPUT", 1000)
    text = "{% for a in range(99999) %}{{ messages[0].content }}{% endfor %}"

    with pytest.raises(TemplateFailedError, match="wrote more than 1,000 characters"):
        ChatTemplate(text).render([USER], None)


def test_the_bounds_are_those_of_one_render(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MAX_STEPS", 150)
    template = ChatTemplate(own_templates()["md-json.jinja"])
    texts = {template.render([USER, ANSWER] * 50, TOOLS) for _ in range(3)}

    assert [101] == [text.count("<|im_end|>") for text in texts]


def test_the_bounds_are_far_from_real_chats() -> None:
    messages = [*CHATS["answered"]["messages"], *CHATS["parallel calls"]["messages"]] * 200
    template = ChatTemplate(own_templates()["md-json.jinja"])
    template.render(messages, TOOLS * 100)

    assert template._compiled._environment.steps < engine.MAX_STEPS / 10


def test_loops_keep_their_own_variables() -> None:
    text = "{% for m in messages if m.content %}{{ loop.index }}/{{ loop.length }}{{ ' ' if loop.first }}{% endfor %}"

    assert "1/2 2/2" == ChatTemplate(text).render([USER, ANSWER], None)
    assert "ab" == ChatTemplate("{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}{% endfor %}").render([], None)
    assert "" == ChatTemplate("{% for x in nothing %}{{ x }}{% endfor %}").render([], None)


def test_methods_of_objects_are_not_mistaken_for_keys() -> None:
    message = {"role": "user", "content": "Hello", "items": "mine"}

    assert "3 mine" == ChatTemplate("{{ messages[0].items() | length }} {{ messages[0]['items'] }}").render(
        [message], None
    )


def test_json_is_written_as_transformers_writes_it() -> None:
    text = "{{ tools | tojson }} {{ tools | tojson(indent=1) }} {{ {'b': 'ü<', 'a': 1} | tojson(sort_keys=True) }}"

    assert '[{"a": "ü</b>"}] [\n {\n  "a": "ü</b>"\n }\n] {"a": 1, "b": "ü<"}' == ChatTemplate(text).render(
        [], [{"a": "ü</b>"}]
    )
