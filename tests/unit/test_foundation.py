"""Ids, canonical JSON, settings, registry and the public surface."""

import subprocess
import sys
import threading
from pathlib import Path
from uuid import UUID

import pytest

import tarx_toollog
from tarx_toollog.canonical import (
    InvalidJsonError,
    canonical_json,
    content_hash,
    join_surrogates,
    parse_arguments,
    parse_json,
)
from tarx_toollog.config import Settings, load_with_sources
from tarx_toollog.errors import ConfigError
from tarx_toollog.ids import uuid7
from tarx_toollog.registry import Registry


def test_ids_are_version_7_and_increase_also_when_the_clock_steps_back() -> None:
    ids = [uuid7() for _ in range(5000)] + [uuid7(now_ns=0) for _ in range(5000)]

    assert sorted(set(ids)) == ids
    assert {7} == {UUID(item).version for item in ids}


def test_ids_of_several_threads_are_unique() -> None:
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.extend(uuid7() for _ in range(2000))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 8000 == len(set(made))


def test_the_hash_recipe_does_not_change() -> None:
    # Stored hashes depend on it: a new recipe gets a new first byte.
    value = {"b": [1, 2.0, None], "a": "\ud800é"}

    assert "013ff2b77fae76c092c25ee7098419c53c" == content_hash("message", value).hex()
    assert b'{"a":"\\ud800\\u00e9","b":[1,2.0,null]}' == canonical_json(value)


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "", "nul", b"\xff\xfe"])
def test_what_is_not_json_raises_one_error(text: str | bytes) -> None:
    with pytest.raises(InvalidJsonError):
        parse_json(text)


def test_what_models_emit_is_read() -> None:
    assert 2**70 == parse_json(str(2**70))
    assert {"a": "\ud800"} == parse_json('{"a": "\\ud800"}')
    assert 1 == parse_json(b"\xef\xbb\xbf1")


@pytest.mark.parametrize(
    ("text", "complete", "expected"),
    [
        ('{"a": 1}', True, ({"a": 1}, "ok")),
        ("", True, ({}, "empty")),
        ("", False, (None, "incomplete")),
        ('{"a"', False, (None, "incomplete")),
        ('{"a"', True, (None, "invalid")),
        ("[1]", True, (None, "invalid")),
        ("null", True, (None, "invalid")),
    ],
)
def test_arguments_are_read_and_judged(text: str, complete: bool, expected: object) -> None:
    assert expected == parse_arguments(text, complete=complete)


def test_surrogate_pairs_split_over_two_pieces_are_joined() -> None:
    assert "😀" == join_surrogates("\ud83d" + "\ude00")
    assert "\ud83d" == join_surrogates("\ud83d")


def test_settings_know_where_each_value_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "config" / "toollog").mkdir(parents=True)
    (tmp_path / "config" / "toollog" / "toollog.toml").write_text("port = 1\nidle_ms = 2\nhost = 'h'\n")
    (tmp_path / "toollog.toml").write_text("port = 3\nidle_ms = 4\n")
    monkeypatch.setenv("TOOLLOG_PORT", "5")
    settings, sources = load_with_sources({"host": None, "max_delay_ms": 6})

    assert (5, 4, "h", 6) == (settings.port, settings.idle_ms, settings.host, settings.max_delay_ms)
    assert ["environment", str(tmp_path / "toollog.toml"), "argument", "default"] == [
        sources[name] for name in ("port", "idle_ms", "max_delay_ms", "enabled")
    ]
    assert sources["host"].startswith(str(tmp_path / "config"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [("TOOLLOG_PORT", "many", "'port' .from environment"), ("TOOLLOG_UPSTREAM", "localhost", "http://")],
)
def test_a_wrong_setting_is_named_with_its_source(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        Settings.load()


def test_an_unknown_setting_in_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toollog.toml").write_text("databse = 'x'\n")
    with pytest.raises(ConfigError, match="databse"):
        Settings.load()


def test_a_registry_names_what_it_knows() -> None:
    registry = Registry("tarx_toollog.test", "thing", {"one": 1})

    assert 1 == registry.get("one")
    with pytest.raises(ConfigError) as caught:
        registry.get("two")
    assert "known: one" == caught.value.hint


def test_every_public_name_can_be_imported() -> None:
    assert sorted(tarx_toollog.__all__) == tarx_toollog.__all__
    for name in tarx_toollog.__all__:
        assert getattr(tarx_toollog, name) is not None
    with pytest.raises(AttributeError):
        _ = tarx_toollog.nothing


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, time; start = time.perf_counter(); import tarx_toollog; took = time.perf_counter() - start;"
        "heavy = {'sqlalchemy', 'pydantic', 'httpx', 'starlette', 'fastapi', 'alembic', 'click', 'rich', 'aiohttp'};"
        "print(sorted(heavy & set(sys.modules)), took < 0.15)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[] True" == done.stdout.strip()
