from math import inf, nan
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.gate import GateOptions
from tarx_toollog.export.options import ExportOptions
from tarx_toollog.store.filters import Filters


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"task": "dpo", "unit": "trajectory"}, "preferences are about single answers", "--unit step"),
        ({"task": "kto", "unit": "trajectory"}, "preferences are about single answers", "--unit step"),
        ({"task": "dpo", "identity": (Path("a.jsonl"),)}, "hold no preferences", "--identity"),
        ({"variants": ("run",)}, "which only dpo learns", "--task dpo"),
        ({"tokens": "foo"}, "'foo' is not the URL", "--tokens server"),
        ({"tokens": "foo:8080"}, "'foo:8080' is not the URL", "http://"),
        ({"tokens": "http://[::1"}, "is not the URL", "http://"),
        ({"tokens": "http://here:port"}, "is not the URL", "http://"),
        ({"name": ""}, "'' is no name", "v1, v2"),
        ({"name": " \t"}, "is no name", "v1, v2"),
        ({"name": "a\nb"}, "is no name", "v1, v2"),
        ({"formats": ()}, "no format", "--for"),
        ({"near": 1.5}, "--near", "--near off"),
        ({"max_tokens": 0}, "--max-tokens", "25000"),
        ({"max_tokens": 2**31}, "--max-tokens must lie between 1 and 2147483647", "25000"),
        ({"max_steps": 2**31}, "--max-steps", "no limit"),
        ({"filters": Filters(limit=10**20)}, "--limit", "no limit"),
        ({"gate": GateOptions(min_feedback=nan)}, "--min-feedback must be a number, not nan", "not negative"),
        ({"gate": GateOptions(min_feedback=inf)}, "--min-feedback must be a number, not inf", "not negative"),
        ({"near": nan}, "--near", "--near off"),
        ({"negatives": nan}, "answers without a call", "0.2"),
        ({"base_model": ""}, "--base-model '' is no name", "leave it out"),
        ({"base_model": "a\nb"}, "--base-model", "leave it out"),
        ({"own_name": " "}, "--own-name ' ' is no name", "call itself"),
        ({"own_author": ""}, "--own-author '' is no name", "leave it out"),
        ({"parent": ""}, "--parent '' is no name", "toollog export list"),
        ({"template": ""}, "--template '' is no name", "trl:NAME"),
        ({"mix": "tool=much"}, "--mix", "tool=1"),
        ({"balance": "tool=3"}, "--balance", "tool:cap=N"),
        ({"negatives": 1.0}, "answers without a call", "0.2"),
    ],
)
def test_what_cannot_work_is_refused_with_a_hint(options: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ExportOptions(**options)

    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize("url", ["http://127.0.0.1:11435", "https://models.local/v1", "http://[::1]:8080"])
def test_the_url_of_a_server_may_count_tokens(url: str) -> None:
    assert url == ExportOptions(tokens=url).tokens


def test_files_are_kept_by_name_and_content(tmp_path: Path) -> None:
    for name, text in {"identity.jsonl": "1", "rules.toml": "2", "chat.jinja": "3"}.items():
        (tmp_path / name).write_text(text)

    kept = ExportOptions(
        identity=(tmp_path / "identity.jsonl",),
        redact_rules=tmp_path / "rules.toml",
        template=str(tmp_path / "chat.jinja"),
    ).as_json()

    assert (["identity.jsonl"], "rules.toml", "chat.jinja") == (
        kept["identity"],
        kept["redact_rules"],
        kept["template"],
    )
    assert ["identity.jsonl", "rules.toml", "chat.jinja"] == [one["file"] for one in kept["inputs"]]
    assert 3 == len({one["sha256"] for one in kept["inputs"]})
    assert str(tmp_path) not in str(kept)


@pytest.mark.parametrize("name", ["server", "trl:qwen3"])
def test_a_template_that_is_no_file_keeps_its_name(name: str) -> None:
    kept = ExportOptions(template=name).as_json()

    assert name == kept["template"]
    assert "inputs" not in kept


def test_a_file_that_has_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"identity\.jsonl cannot be read: No such file"):
        ExportOptions(identity=(tmp_path / "identity.jsonl",)).as_json()
