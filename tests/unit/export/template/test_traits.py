"""Traits: what a template can say, found by asking it."""

from dataclasses import replace
from typing import Any

import pytest

from tarx_toollog.export.template.render import ChatTemplate
from tarx_toollog.export.template.traits import TemplateTraits, traits
from tests.unit.export.template.templates import LINT, TOKENS, by_transformers, template


def fixture(code: str) -> ChatTemplate:
    return ChatTemplate((LINT / f"{code}.jinja").read_text("utf-8"))


PLAIN = TemplateTraits(
    tools=True,
    arguments="object",
    parallel=True,
    results=True,
    text_beside_call=True,
    system="kept",
    needs_system=False,
    injected=None,
    identity=None,
    identity_always=False,
    reasoning=False,
    earlier_reasoning=False,
    dated=False,
    exact_prompt=True,
    marks_generation=False,
)


def test_a_template_that_can_say_everything_but_reasoning() -> None:
    assert PLAIN == traits(fixture("arguments_twice"))
    assert PLAIN == traits(template("md-json.jinja"))


@pytest.mark.parametrize(
    ("code", "differing"),
    [
        ("tools_dropped", {"tools": False}),
        ("calls_dropped", {"arguments": "none", "parallel": False}),
        ("parallel_refused", {"parallel": False}),
        ("results_dropped", {"results": False}),
        ("answer_dropped", {"text_beside_call": False}),
        ("system_refused", {"system": "refused"}),
        ("system_dropped", {"system": "dropped"}),
        ("date_drift", {"dated": True}),
        ("prompt_not_prefix", {"exact_prompt": False}),
        (
            "identity_injected",
            {"injected": "You are Zebra, made by Acme.", "identity": "You are Zebra, made by Acme"},
        ),
        (
            "empty_reasoning_trained",
            {"reasoning": True, "earlier_reasoning": True},
        ),
        ("earlier_reasoning_lost", {"reasoning": True}),
    ],
)
def test_one_trait_is_missing(code: str, differing: dict[str, object]) -> None:
    assert replace(PLAIN, **differing) == traits(fixture(code))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "form"),
    [
        ("call.function.arguments | tojson", "object"),
        ("call.function.arguments + ''", "string"),
        (
            "call.function.arguments if call.function.arguments is string else (call.function.arguments | tojson)",
            "both",
        ),
        ("''", "none"),
    ],
)
def test_the_form_of_arguments_is_the_one_that_is_written_once(arguments: str, form: str) -> None:
    text = (
        "{% for m in messages %}{{ m.content }}{% for call in m.tool_calls %}{{ call.function.name + '(' }}{{ "
        + arguments
        + " }}){% endfor %}{% endfor %}"
    )

    assert form == traits(ChatTemplate(text)).arguments


def test_a_template_that_names_the_model_beside_a_system_message() -> None:
    text = "You are ZebraGPT.{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
    found = traits(ChatTemplate(text))

    assert (None, "You are ZebraGPT", True) == (found.injected, found.identity, found.identity_always)


def test_a_template_that_wants_a_system_message() -> None:
    text = "{% if messages[0].role != 'system' %}{{ raise_exception('no system') }}{% endif %}{{ messages[0].content }}"

    assert traits(ChatTemplate(text)).needs_system


def test_a_template_that_stops_at_everything_has_no_traits() -> None:
    found = traits(ChatTemplate("{{ raise_exception('no') }}"))

    assert (False, "none", "refused", None) == (found.tools, found.arguments, found.system, found.identity)


def test_generation_marks_are_seen() -> None:
    text = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% endfor %}"

    assert traits(ChatTemplate(text)).marks_generation


MEASURED: dict[str, dict[str, Any]] = {
    "qwen2_5.jinja": {"arguments": "object", "identity": "You are Qwen, created by Alibaba Cloud", "parallel": True},
    "qwen3.jinja": {"arguments": "both", "identity": None, "earlier_reasoning": True},
    "qwen3_5_think.jinja": {"arguments": "object", "reasoning": True},
    "llama3_1.jinja": {"arguments": "object", "parallel": False, "text_beside_call": False, "dated": False},
    "llama3_2.jinja": {"dated": True},
    "llama3.jinja": {"tools": False, "arguments": "none"},
    "gemma.jinja": {"system": "refused"},
    "gemma3.jinja": {"arguments": "none", "tools": False},
    "gemma4_v5.jinja": {"arguments": "object"},
    "deepseekv3.jinja": {"arguments": "string", "exact_prompt": False},
    "gptoss.jinja": {"identity_always": True, "dated": True, "parallel": False},
    "lfm2.jinja": {"tools": True, "arguments": "none"},
    "nemotron_3_nano.jinja": {"exact_prompt": False},
    "cohere2.jinja": {"identity": "You are a large language model built by Cohere", "identity_always": True},
    "qwen2_5_training.jinja": {"marks_generation": True},
}


def test_the_traits_of_real_models_are_those_that_were_measured() -> None:
    texts = {name: answer["text"] for name, answer in by_transformers().items()}
    found = {name: traits(ChatTemplate(texts[name], tokens=TOKENS)) for name in MEASURED}

    assert MEASURED == {name: {key: getattr(found[name], key) for key in MEASURED[name]} for name in MEASURED}
