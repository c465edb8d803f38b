"""Folders for Axolotl."""

from dataclasses import replace
from pathlib import Path

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.formats.axolotl import AxolotlFormat
from tarx_toollog.export.formats.base import FormatOptions
from tests.support.export_rows import CLOCK, PREFERENCE, TRAITS, TRAJECTORY, answer, call, export, make_row, user

TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>\n{% endfor %}{% if add_generation_prompt %}"
    "<assistant>{% endif %}"
)


def test_a_step_marks_its_last_message_and_has_arguments_and_tools_as_text(tmp_path: Path) -> None:
    row = make_row([user("Zürich?"), answer("", call("c", "clock", zone="Zürich", n=None, t=0.7))], [CLOCK])
    function = {"name": "clock", "arguments": '{"zone": "Zürich", "n": null, "t": 0.7}'}
    expected = {
        "messages": [
            {"role": "user", "content": "Zürich?"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "c", "type": "function", "function": function}],
                "train": True,
            },
        ],
        "tools": '[{"type": "function", "function": {"name": "clock"}}]',
    }
    assert expected == export(AxolotlFormat(), tmp_path, [row]).only


def test_a_turn_marks_just_the_answers_to_learn(tmp_path: Path) -> None:
    made = export(AxolotlFormat(), tmp_path, [TRAJECTORY], FormatOptions(unit="trajectory"))
    marked = [place for place, message in enumerate(made.only["messages"]) if message.get("train")]
    assert list(TRAJECTORY.targets) == marked


def test_the_configuration_learns_what_is_marked_and_nothing_else(tmp_path: Path) -> None:
    given = [TRAITS["one call"], replace(TRAITS["one call"], split="dev")]
    export(AxolotlFormat(), tmp_path, given, FormatOptions(base_model="Qwen/Qwen3-8B", seed=7))
    config = (tmp_path / "config.yaml").read_text()
    assert 2 == config.count("  message_field_training: train")
    assert 2 == config.count("  roles_to_train: []")
    assert [1, 1] == [config.count(f"  split: {split}\n") for split in ("train", "validation")]
    assert 'base_model: "Qwen/Qwen3-8B"\n' in config
    assert "seed: 7\n" in config
    assert "rl:" not in config


def test_without_a_validation_split_the_configuration_names_none(tmp_path: Path) -> None:
    export(AxolotlFormat(), tmp_path, [TRAITS["one call"]])
    assert "test_datasets" not in (tmp_path / "config.yaml").read_text()
    assert "validation" not in (tmp_path / "data" / "README.md").read_text()


def test_dpo_rows_are_texts_that_end_with_the_token_that_ends_an_answer(tmp_path: Path) -> None:
    row = make_row([user("Hi"), answer("Hello.")], rejected=answer("What?"))
    made = export(AxolotlFormat(), tmp_path, [row], FormatOptions(task="dpo", template=TEMPLATE))
    expected = {"prompt": "<user>Hi<end>\n<assistant>", "chosen": "Hello.<end>", "rejected": "What?<end>"}
    assert expected == made.only
    assert "rl: dpo\n" in (tmp_path / "config.yaml").read_text()


def test_dpo_refuses_a_row_without_a_second_answer_and_one_that_the_template_refuses(tmp_path: Path) -> None:
    picky = "{% if messages[0].content == 'Never' %}{{ raise_exception('no') }}{% endif %}" + TEMPLATE
    never = make_row([user("Never"), answer("Hello.")], rejected=answer("What?"))
    given = [TRAITS["one call"], never, PREFERENCE]
    made = export(AxolotlFormat(), tmp_path, given, FormatOptions(task="dpo", template=picky))
    assert (["format_cannot_say"] * 2, 1) == (made.dropped, len(made.places))


def test_dpo_without_a_chat_template_is_refused_beforehand(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="chat template") as error:
        AxolotlFormat().writer(tmp_path, FormatOptions(task="dpo"))
    assert "--template" in error.value.hint


def test_preferences_over_whole_turns_are_refused_beforehand(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="single answers"):
        AxolotlFormat().writer(tmp_path, FormatOptions(task="dpo", unit="trajectory", template=TEMPLATE))
