"""Folders for Unsloth."""

from pathlib import Path

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.formats.base import FormatOptions
from tarx_toollog.export.formats.unsloth import UnslothFormat
from tests.support.export_rows import TRAITS, TRAJECTORY, export


def test_a_step_has_its_tools_as_a_list(tmp_path: Path) -> None:
    row = TRAITS["one call"]
    expected = {"prompt": row.prompt, "completion": [row.answer], "tools": row.tools}
    assert expected == export(UnslothFormat(), tmp_path, [row]).only


def test_the_card_types_all_three_columns_as_json(tmp_path: Path) -> None:
    export(UnslothFormat(), tmp_path, [TRAITS["one call"]])
    features = "".join(f"  - name: {name}\n    list: json\n" for name in ("prompt", "completion", "tools"))
    assert features in (tmp_path / "README.md").read_text()


def test_the_script_is_python_for_the_model_that_was_asked_for(tmp_path: Path) -> None:
    export(UnslothFormat(), tmp_path, [TRAITS["one call"]], FormatOptions(base_model="unsloth/Qwen3-8B"))
    script = (tmp_path / "sft.py").read_text()
    compile(script, "sft.py", "exec")
    assert 'MODEL = "unsloth/Qwen3-8B"\n' in script
    assert "@" not in script


def test_a_row_that_wants_another_message_learned_is_refused(tmp_path: Path) -> None:
    assert ["needs_mask"] == export(UnslothFormat(), tmp_path, [TRAJECTORY, TRAITS["one call"]]).dropped


@pytest.mark.parametrize("options", [FormatOptions(task="dpo"), FormatOptions(unit="trajectory")])
def test_what_it_has_no_form_for_is_refused_beforehand(options: FormatOptions, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unsloth has no"):
        UnslothFormat().writer(tmp_path, options)
