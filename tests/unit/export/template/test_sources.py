"""Chat templates from files."""

import json
import sys
from pathlib import Path

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.template.sources import template_from_file, template_from_trl
from tests.unit.export.template.templates import served

TEXT = "{{ bos_token }}{{ messages[0].content }}"
HELLO = [{"role": "user", "content": "Hello"}]


def test_a_template_file_is_the_template(tmp_path: Path) -> None:
    path = tmp_path / "chat_template.jinja"
    path.write_text(TEXT, "utf-8")

    assert "Hello" == template_from_file(path).render(HELLO, None)
    assert "<s>Hello" == template_from_file(path, tokens={"bos_token": "<s>"}).render(HELLO, None)


@pytest.mark.parametrize("token", ["<s>", {"content": "<s>", "lstrip": False}])
def test_the_configuration_of_a_tokenizer_brings_its_tokens(tmp_path: Path, token: object) -> None:
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps({"chat_template": TEXT, "bos_token": token, "pad_token": None}), "utf-8")

    assert "<s>Hello" == template_from_file(path, tokens={"bos_token": "<other>"}).render(HELLO, None)


def test_what_a_real_server_says_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "props.json"
    path.write_text(json.dumps(served()), "utf-8")
    template = template_from_file(path)

    assert {"<|im_start|>", "<|im_end|>", "<|endoftext|>"} == template.special_tokens


@pytest.mark.parametrize(
    "props",
    [
        {"chat_template": "other", "chat_template_tool_use": TEXT},
        {"chat_template": [{"name": "default", "template": "other"}, {"name": "tool_use", "template": TEXT}]},
        {"chat_template": [{"name": "default", "template": TEXT}]},
    ],
)
def test_of_several_templates_it_is_the_one_for_tools(tmp_path: Path, props: dict[str, object]) -> None:
    path = tmp_path / "props.json"
    path.write_text(json.dumps(props), "utf-8")

    assert TEXT == template_from_file(path).text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer_config.json", "{}", r"there is no chat_template in tokenizer_config\.json"),
        ("tokenizer_config.json", "[]", "there is no chat_template"),
        ("tokenizer_config.json", "{", "is not JSON"),
        ("chat.jinja", "{% for", "syntax error"),
        ("chat.jinja", None, r"chat\.jinja cannot be read: No such file or directory$"),
    ],
)
def test_what_is_no_template_is_said_plainly(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content, "utf-8")

    with pytest.raises(ConfigError, match=message):
        template_from_file(tmp_path / name)


def test_a_template_in_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "chat.jinja"
    path.write_bytes("ä".encode("latin-1"))

    with pytest.raises(ConfigError, match=r"chat\.jinja is not UTF-8 \(byte 1\)$"):
        template_from_file(path)


def test_a_template_of_trl_is_read_without_importing_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "trl" / "chat_templates"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise ImportError('no torch')", "utf-8")
    (folder / "zebra.jinja").write_text(TEXT, "utf-8")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    assert TEXT == template_from_trl("zebra").text
    with pytest.raises(ConfigError, match="no chat template 'okapi'") as caught:
        template_from_trl("okapi")
    assert "there are: zebra" == caught.value.hint


def test_without_trl_its_templates_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [])

    with pytest.raises(ConfigError, match="trl is not installed"):
        template_from_trl("qwen3")
