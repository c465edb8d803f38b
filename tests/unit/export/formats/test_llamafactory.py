"""Folders for LLaMA-Factory."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.formats.base import FormatOptions
from tarx_toollog.export.formats.llamafactory import LlamaFactoryFormat
from tests.support.export_rows import (
    CLOCK,
    GOOD,
    PREFERENCE,
    REASONED,
    SYSTEM,
    TRAITS,
    TRAJECTORY,
    answer,
    call,
    export,
    make_row,
    result,
    user,
)

REASONING = FormatOptions(base_model="Qwen/Qwen3-8B")


def test_calls_results_and_words_have_the_forms_that_its_templates_read(tmp_path: Path) -> None:
    two = (call("1", "clock", n=1), call("2", "clock", n=None))
    row = make_row(
        [
            SYSTEM,
            user("Both"),
            answer("", *two),
            result("1", "clock", "A"),
            result("2", "clock", "B"),
            answer("Once more.", call("3", "clock")),
        ],
        [CLOCK],
    )
    expected = {
        "conversations": [
            {"from": "human", "value": "Both"},
            {
                "from": "function_call",
                "value": '[{"name": "clock", "arguments": {"n": 1}}, {"name": "clock", "arguments": {"n": null}}]',
            },
            {"from": "observation", "value": "A\n</tool_response>\n<tool_response>\nB"},
            {
                "from": "function_call",
                "value": 'Once more.\n<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>',
            },
        ],
        "system": "You are TARX.",
        "tools": '[{"type": "function", "function": {"name": "clock"}}]',
    }
    assert expected == export(LlamaFactoryFormat(), tmp_path, [row]).only


def test_columns_without_a_value_are_empty_and_not_absent(tmp_path: Path) -> None:
    line = export(LlamaFactoryFormat(), tmp_path, [TRAITS["plain answer without tools"]]).only
    assert ("", "") == (line["system"], line["tools"])


@pytest.mark.parametrize(
    ("options", "value"), [(FormatOptions(), "4"), (REASONING, "<think>\nAdd them.\n</think>\n\n4")]
)
def test_reasoning_is_written_for_the_models_that_have_it(options: FormatOptions, value: str, tmp_path: Path) -> None:
    line = export(LlamaFactoryFormat(), tmp_path, [REASONED], options).only
    assert value == line["conversations"][-1]["value"]


def test_reasoning_before_a_call_stands_before_its_tags(tmp_path: Path) -> None:
    row = make_row([user("Time?"), answer("", call("c", "clock"), reasoning="Look.")], [CLOCK])
    line = export(LlamaFactoryFormat(), tmp_path, [row], REASONING).only
    expected = '<think>\nLook.\n</think>\n\n<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>'
    assert expected == line["conversations"][-1]["value"]


@pytest.mark.parametrize(
    "messages",
    [
        [user("Hi"), user("Still there?"), answer("Yes.")],
        [user("Hi"), user("Still there?"), user("Hello?"), answer("Yes.")],
        [answer("How can I help?"), user("Not at all"), answer("Good.")],
        [answer("How can I help?"), answer("Just ask.")],
        [user("Hi"), answer("Yes?"), answer("Again: yes?")],
        [user("Hi"), SYSTEM, answer("Yes.")],
        [SYSTEM, answer("Welcome.")],
        [answer("Welcome.")],
        [user("Say"), answer("<tool_call> is a tag", call("c", "clock"))],
        [user("Say"), answer("", call("c", "clock", at="</tool_call>"))],
        [user("Say"), answer("", call("c", "clock", at="<think>\n"))],
    ],
)
def test_what_it_would_leave_out_or_misread_is_refused(messages: list[dict[str, Any]], tmp_path: Path) -> None:
    fine = TRAITS["one call"]
    made = export(LlamaFactoryFormat(), tmp_path, [make_row(messages, [CLOCK]), fine])
    assert (["format_cannot_say"], 1) == (made.dropped, len(made.places))


def test_tags_in_an_answer_without_a_call_stay(tmp_path: Path) -> None:
    line = export(LlamaFactoryFormat(), tmp_path, [TRAITS["text with tags"]]).only
    assert {"from": "gpt", "value": "<tool_call>\n{}\n</tool_call>"} == line["conversations"][-1]


def test_words_that_open_a_thought_are_refused_where_the_model_has_thoughts(tmp_path: Path) -> None:
    row = make_row([user("Say"), answer("<think> is a tag")])
    given = [row, TRAITS["one call"]]
    assert [] == export(LlamaFactoryFormat(), tmp_path / "a", given).dropped
    assert ["format_cannot_say"] == export(LlamaFactoryFormat(), tmp_path / "b", given, REASONING).dropped


def test_rows_that_want_a_mask_are_refused(tmp_path: Path) -> None:
    turn = FormatOptions(unit="trajectory")
    whole = replace(TRAJECTORY, targets=(2, 4, 6))
    assert ["needs_mask"] == export(LlamaFactoryFormat(), tmp_path / "a", [TRAJECTORY, TRAITS["one call"]]).dropped
    assert ["needs_mask"] == export(LlamaFactoryFormat(), tmp_path / "b", [TRAJECTORY, whole], turn).dropped


def test_only_steps_hide_their_history(tmp_path: Path) -> None:
    whole = replace(TRAJECTORY, targets=(2, 4, 6))
    export(LlamaFactoryFormat(), tmp_path / "a", [TRAITS["one call"]])
    export(LlamaFactoryFormat(), tmp_path / "b", [whole], FormatOptions(unit="trajectory"))
    masked = ["mask_history: true" in (tmp_path / name / "sft.yaml").read_text() for name in "ab"]
    assert [True, False] == masked


def test_dpo_has_both_answers_beside_the_conversation(tmp_path: Path) -> None:
    made = export(LlamaFactoryFormat(), tmp_path, [PREFERENCE, TRAITS["one call"]], FormatOptions(task="dpo"))
    line = made.only
    assert ["human", "function_call", "gpt"] == [
        line["conversations"][-1]["from"],
        line["chosen"]["from"],
        line["rejected"]["from"],
    ]
    assert ["format_cannot_say"] == made.dropped
    assert _info(tmp_path)["ranking"] is True


def test_kto_has_the_verdict_in_the_column_that_it_is_told(tmp_path: Path) -> None:
    made = export(LlamaFactoryFormat(), tmp_path, [GOOD, TRAITS["one call"]], FormatOptions(task="kto"))
    assert (True, ["format_cannot_say"]) == (made.only["label"], made.dropped)
    assert "label" == _info(tmp_path)["columns"]["kto_tag"]


def test_kto_weighs_good_and_bad_rows_by_their_number_in_training(tmp_path: Path) -> None:
    rows = [replace(GOOD, label=n < 12) for n in range(15)] + [replace(GOOD, label=False, split="dev")] * 9
    export(LlamaFactoryFormat(), tmp_path, rows, FormatOptions(task="kto"))

    config = (tmp_path / "kto.yaml").read_text()
    assert "\nkto_chosen_weight: 1.0\nkto_rejected_weight: 4.0\n" in config
    assert "12 good ones and 3 bad ones" in config
    assert "rarer kind counts for more" in config


def test_kto_with_good_rows_alone_claims_nothing_of_their_weight(tmp_path: Path) -> None:
    export(LlamaFactoryFormat(), tmp_path, [replace(GOOD, label=True)] * 3, FormatOptions(task="kto"))

    config = (tmp_path / "kto.yaml").read_text()
    assert "3 good ones and 0 bad ones" in config
    assert "rarer" not in config
    assert "label some answers of it before you train" in config


def test_the_files_are_named_by_build_and_split(tmp_path: Path) -> None:
    given = [replace(TRAITS["one call"], split=split) for split in ("train", "dev", "eval")]
    export(LlamaFactoryFormat(), tmp_path, given, FormatOptions(build_name="v3"))
    info = json.loads((tmp_path / "dataset_info.json").read_text())
    assert {f"v3_{split}": f"{split}.jsonl" for split in ("train", "dev", "eval")} == {
        name: entry["file_name"] for name, entry in info.items()
    }
    assert ["v3_train", "v3_dev"] == _data_sets(tmp_path)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("it's: #1", "it_s_1"), ("a,b", "a_b"), ("mai-2.1", "mai-2.1"), ("für Ö", "für_Ö"), ("1e3", "1e3")],
)
def test_a_name_of_any_kind_is_one_data_set_in_quotes_that_yaml_reads_as_json_does(
    name: str, expected: str, tmp_path: Path
) -> None:
    given = [replace(TRAITS["one call"], split=split) for split in ("train", "dev")]
    export(LlamaFactoryFormat(), tmp_path, given, FormatOptions(build_name=name))
    names = list(json.loads((tmp_path / "dataset_info.json").read_text("utf-8")))
    assert [f"{expected}_train", f"{expected}_dev"] == names == _data_sets(tmp_path)


@pytest.mark.parametrize(
    ("base_model", "template"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "qwen"),
        ("/models/qwen-2.5-tarx", "qwen"),
        ("Qwen/Qwen3-8B", "qwen3"),
        ("Qwen/Qwen3-4B-Instruct-2507", "qwen3_nothink"),
        ("Qwen/Qwen3-Coder-30B-A3B-Instruct", "qwen3_nothink"),
    ],
)
def test_the_template_follows_the_name_of_the_model(base_model: str, template: str, tmp_path: Path) -> None:
    export(LlamaFactoryFormat(), tmp_path, [TRAITS["one call"]], FormatOptions(base_model=base_model))
    assert f"template: {template}\n" in (tmp_path / "sft.yaml").read_text()


@pytest.mark.parametrize(
    "base_model",
    ["meta-llama/Llama-3.1-8B", "Qwen/Qwen3.5-9B", "Qwen/Qwen3-4B-Thinking-2507", "./model"],
)
def test_a_model_without_a_template_that_is_known_to_be_right_is_refused(base_model: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no template") as error:
        LlamaFactoryFormat().writer(tmp_path, FormatOptions(base_model=base_model))
    assert "--for axolotl" in error.value.hint


def test_preferences_over_whole_turns_are_refused_beforehand(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="single answers"):
        LlamaFactoryFormat().writer(tmp_path, FormatOptions(task="kto", unit="trajectory"))


def _info(folder: Path) -> Any:
    return json.loads((folder / "dataset_info.json").read_text())["dataset_train"]


def _data_sets(folder: Path) -> list[str]:
    text = (folder / "sft.yaml").read_text("utf-8")
    return [json.loads(name) for name in re.findall(r"^(?:eval_)?dataset: (.+)$", text, re.MULTILINE)]
