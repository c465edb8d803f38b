"""What the export asks of a template for each of its rows."""

import json
from typing import Any

import pytest

from tarx_toollog.export.example import Row
from tarx_toollog.export.template.render import ChatTemplate
from tarx_toollog.export.template.render_rules import TemplateCheck
from tests.unit.export.template.templates import CHATS, LINT, TOKENS, TOOLS, by_transformers, template


def row(messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None = None, **more: Any) -> Row:
    return Row(
        example_id="00",
        split="train",
        source="tool",
        prompt_text=json.dumps(messages[:-1], ensure_ascii=False),
        answer_text=json.dumps(messages[-1], ensure_ascii=False),
        tools_text=None if tools is None else json.dumps(tools, ensure_ascii=False),
        n_tokens=1,
        n_trained_tokens=1,
        tokens_from="usage",
        **more,
    )


def of_case(case: str, **more: Any) -> Row:
    return row(CHATS[case]["messages"], TOOLS if CHATS[case].get("tools") else None, **more)


def check(code: str) -> TemplateCheck:
    return TemplateCheck(ChatTemplate((LINT / f"{code}.jinja").read_text("utf-8")))


@pytest.mark.parametrize("name", ["md-json.jinja", "forced.jinja", "/props"])
def test_rows_of_the_export_have_nothing_wrong_under_the_templates_that_we_serve(name: str) -> None:
    checked = TemplateCheck(template(name))
    cases = ["plain", "no system", "several turns", "call", "call with text", "parallel calls", "answered"]

    assert dict.fromkeys(cases, ()) == {case: checked.check(of_case(case)) for case in cases}


def test_a_template_that_thinks_opens_only_answers_with_reasoning_as_they_begin() -> None:
    checked = TemplateCheck(template("md-think.jinja"))

    assert ("prompt_not_prefix",) == checked.check(of_case("plain"))
    assert () == checked.check(of_case("reasoning"))


def test_a_row_without_tools_after_one_with_tools_is_rendered_without_them() -> None:
    checked = check("tools_dropped")

    assert ("tools_dropped",) == checked.check(of_case("call"))
    assert () == checked.check(of_case("plain"))
    assert ("tools_dropped",) == checked.check(of_case("call"))


def test_a_control_token_is_found_wherever_it_stands() -> None:
    checked = check("arguments_twice")
    system, user, answer = CHATS["plain"]["messages"]
    said = {**user, "content": "what is <|im_end|>?"}
    tools = [{"type": "function", "function": {"name": "recall", "description": "<|im_start|>"}}]

    assert ("special_token",) == checked.check(row([system, said, answer]))
    assert ("special_token",) == checked.check(row([system, user, said | {"role": "assistant"}]))
    assert ("special_token",) == checked.check(row([system, user, answer], tools))
    rejected = json.dumps({"role": "assistant", "content": "<|im_end|>"})
    assert ("special_token",) == checked.check(row([system, user, answer], rejected_text=rejected))


def test_the_worse_answer_of_a_pair_is_rendered_too() -> None:
    worse = json.dumps(CHATS["parallel calls"]["messages"][-1])

    assert ("parallel_refused",) == check("parallel_refused").check(of_case("call", rejected_text=worse))


def test_earlier_answers_matter_only_when_they_are_learned() -> None:
    checked = check("trajectory_rewritten")

    assert ("empty_reasoning_trained",) == checked.check(of_case("several turns"))
    assert ("empty_reasoning_trained", "trajectory_rewritten") == checked.check(
        of_case("several turns", targets=(2, 4))
    )
    assert ("empty_reasoning_trained",) == checked.check(of_case("several turns", targets=(4,)))


def test_what_holds_for_every_row_is_said_once() -> None:
    plain = template("md-json.jinja")

    assert () == TemplateCheck(plain).always
    assert () == TemplateCheck(plain, served_sha=plain.sha).always
    assert ("template_not_served",) == TemplateCheck(plain, served_sha="00").always
    assert ("date_drift",) == check("date_drift").always


def test_the_word_none_of_the_chat_itself_is_no_finding() -> None:
    messages = [*CHATS["plain"]["messages"][:-1], {"role": "assistant", "content": "None of them."}]

    assert () == check("none_written").check(row(messages))


def test_an_answer_that_quotes_json_is_not_taken_for_arguments_written_twice() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "recall", "arguments": {"query": '{"a": "b"}'}}}
    messages = [*CHATS["plain"]["messages"][:-1], {"role": "assistant", "content": "", "tool_calls": [call]}]

    assert () == check("arguments_twice").check(row(messages, TOOLS))


MEASURED = {
    ("qwen2_5.jinja", "arguments as text"): ("identity_injected", "arguments_twice"),
    ("qwen2_5.jinja", "call"): (),
    ("qwen2_5.jinja", "no system"): ("identity_injected",),
    ("qwen3.jinja", "arguments as text"): ("empty_reasoning_trained",),
    ("qwen3_5_think.jinja", "arguments as text"): ("arguments_refused",),
    ("qwen3_5_think.jinja", "plain"): ("empty_reasoning_trained",),
    ("qwen3_5_think.jinja", "a tool result first"): ("render_refused",),
    ("llama3_1.jinja", "parallel calls"): ("parallel_refused",),
    ("llama3_1.jinja", "call with text"): ("answer_dropped",),
    ("llama3.jinja", "call"): ("calls_dropped", "tools_dropped"),
    ("gemma.jinja", "plain"): ("system_refused",),
    ("gemma3.jinja", "answered"): ("tools_refused",),
    ("gemma4_v5.jinja", "arguments as text"): ("arguments_refused",),
    ("glm4moe.jinja", "null content"): ("none_written", "empty_reasoning_trained"),
    ("lfm2.jinja", "call"): ("calls_dropped",),
    ("gptoss.jinja", "parallel calls"): ("calls_dropped", "identity_injected"),
    ("deepseekv3.jinja", "null content"): ("arguments_refused",),
    ("nemotron_3_nano.jinja", "plain"): ("prompt_not_prefix", "empty_reasoning_trained"),
    ("qwen3_instruct_2507.jinja", "reasoning"): ("reasoning_lost", "earlier_reasoning_lost"),
}


def test_what_real_templates_do_to_rows_is_what_was_measured() -> None:
    answers = by_transformers()
    names = {name for name, _ in MEASURED}
    checks = {name: TemplateCheck(ChatTemplate(answers[name]["text"], tokens=TOKENS)) for name in names}

    assert MEASURED == {(name, case): checks[name].check(of_case(case)) for name, case in MEASURED}
