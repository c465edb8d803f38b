"""Chat templates in the store: kept once, with the builds that serve them."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.model import EPOCH
from tarx_toollog.store.builds import Place, Probed, write_build, write_probe
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.templates import StoredTemplate, template_of
from tarx_toollog.wire.model_facts import ChatTemplate, ModelFacts
from tests.support.builders import START_NS, assistant, exchange, user

URL = "http://127.0.0.1:11435"
START = EPOCH + timedelta(microseconds=START_NS // 1000)
QWEN = ChatTemplate("{{ bos_token }}{{ messages }}\0\ud800", "{{ tools }}", bos_token="<s>", eos_token="</s>")
GO = ChatTemplate("{{ .Prompt }}", syntax="go")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        yield opened


def facts(file_name: str, template: ChatTemplate | None) -> ModelFacts:
    return ModelFacts(
        model="m-q4", file_name=file_name, template=template, chat_template_hash=template.hash if template else None
    )


def seen(log: ToolLog, found: ModelFacts, at_s: float = 0, label: str | None = None) -> None:
    with log.engine.begin() as connection:
        key = write_build(connection, found, URL, START + timedelta(seconds=at_s))
        connection.exec_driver_sql("UPDATE model_build SET label = ? WHERE id = ?", (label, key))


def n_templates(log: ToolLog) -> int:
    (row,) = log.query("SELECT COUNT(*) FROM chat_template").rows
    return int(row[0])


def test_a_template_is_kept_as_the_server_gave_it(log: ToolLog) -> None:
    seen(log, facts("a.gguf", QWEN))

    found = template_of(log.engine, "a.gguf")
    assert StoredTemplate("a.gguf", QWEN.hash, "jinja", QWEN.text, QWEN.tool_text, "<s>", "</s>") == found
    assert {"bos_token": "<s>", "eos_token": "</s>"} == found.tokens


def test_builds_that_serve_one_template_share_it(log: ToolLog) -> None:
    for name in ("a.gguf", "b.gguf", "a.gguf"):
        seen(log, facts(name, QWEN))
    seen(log, facts("c", GO))

    assert 2 == n_templates(log)
    ollama = template_of(log.engine, "c")
    assert ollama is not None
    assert ("go", {}) == (ollama.syntax, ollama.tokens)


def test_a_build_of_an_older_store_gets_its_template_when_it_is_seen_again(log: ToolLog) -> None:
    seen(log, replace(facts("a.gguf", QWEN), template=None))
    assert None is template_of(log.engine, "a.gguf")
    assert None is template_of(log.engine)

    seen(log, facts("a.gguf", QWEN), 60)
    found = template_of(log.engine, "a.gguf")
    assert found is not None
    assert QWEN.text == found.text
    assert [(1,)] == list(log.query("SELECT COUNT(*) FROM model_build").rows)


def test_a_server_without_a_template_leaves_none(log: ToolLog) -> None:
    seen(log, facts("a.gguf", None))

    assert 0 == n_templates(log)
    assert None is template_of(log.engine, "a.gguf")


def test_the_template_that_is_meant_is_the_one_of_the_build_that_answered_most(log: ToolLog) -> None:
    log.write([exchange([user(f"{at}")], assistant("ok"), at_s=at, upstream=URL) for at in (1000, 1001, 2000)])
    for at_s, found in ((1002, facts("most.gguf", QWEN)), (2000, facts("less.gguf", GO))):
        with log.engine.begin() as connection:
            write_probe(connection, Probed(Place(URL, "m-q4"), found, None, START + timedelta(seconds=at_s)))
    most = template_of(log.engine)
    assert most is not None
    assert ("most.gguf", QWEN.hash) == (most.build, most.hash)


def test_without_an_exchange_the_latest_build_is_meant(log: ToolLog) -> None:
    seen(log, facts("late.gguf", GO), 60)
    seen(log, facts("early.gguf", QWEN), 0)

    latest = template_of(log.engine)
    assert latest is not None
    assert "late.gguf" == latest.build


def test_builds_of_one_label_must_agree_on_the_template(log: ToolLog) -> None:
    seen(log, facts("a.gguf", QWEN), label="base")
    seen(log, facts("b.gguf", QWEN), label="base")
    agreed = template_of(log.engine, "base")
    assert agreed is not None
    assert ("base", QWEN.hash) == (agreed.build, agreed.hash)

    seen(log, facts("c.gguf", GO), label="base")
    with pytest.raises(ConfigError, match="several templates"):
        template_of(log.engine, "base")
    assert template_of(log.engine, "c.gguf") is not None


@pytest.mark.parametrize("name", ["nothing", ""])
def test_a_build_that_is_not_there_is_told(log: ToolLog, name: str) -> None:
    seen(log, facts("a.gguf", QWEN))
    with pytest.raises(NothingMatchedError, match="no build"):
        template_of(log.engine, name)
