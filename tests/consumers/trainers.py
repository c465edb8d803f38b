"""What the tests of the real trainers share: how they are run, on which rows, and what has to come out."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.export.example import Row
from tarx_toollog.export.template.render import ChatTemplate
from tests.consumers.environments import HERE, completion_of, run_in
from tests.support.export_rows import CLOCK, TRAITS, answer, call, make_row, user

NEED_TRAINERS = [
    pytest.mark.trainers,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.environ.get("TOOLLOG_TRAINERS") != "1", reason="make test-trainers runs it"),
]
"""Marks of tests that need three gigabytes of trainers, and minutes."""

FRAGILE = make_row([user("Now"), answer("", call("c", "clock", t=0.7, pi=3.141592653589793, tiny=1e-12))], [CLOCK])
"""Numbers that come out otherwise where they go through Arrow as JSON."""
NULLS = make_row([user("Now"), answer("", call("c", "clock", a=None, b={"c": None}, at="2026-11-23"))], [CLOCK])
"""Nulls that are meant, and text that looks like a date."""
TRAINED = [*TRAITS.values(), FRAGILE, NULLS]
"""What trainers learn from."""
HELD_OUT = [make_row([user("Hello?"), answer("Yes?")], split="dev")]


def read_with(python: Path, script: str, *arguments: str | Path) -> Any:
    """Run a script of this folder where trainers are installed, and return the JSON in its last line."""
    printed = run_in(
        python,
        HERE / script,
        *arguments,
        PYTHONPATH=str(HERE / "stubs"),
        AXOLOTL_DO_NOT_TRACK="1",
        DISABLE_VERSION_CHECK="1",  # LLaMA-Factory's, of packages that it does not use here
    )
    return json.loads(printed.splitlines()[-1])


def all_answers(row: Row) -> tuple[int, ...]:
    """Return the places of all answers of the assistant."""
    return tuple(place for place, message in enumerate(row.messages) if message["role"] == "assistant")


def said(given: Iterable[Row], end: str = "\n") -> Counter[str]:
    """Return what the model said in the last message of each row, and how often."""
    return Counter(completion_of(row.answer) + end for row in given)


def learned(rows: Iterable[Mapping[str, Any]], name: str = "learned") -> Counter[str]:
    """Return what a trainer learns, and how often."""
    return Counter(row[name] for row in rows)


def prompts(given: Iterable[Row]) -> Counter[str]:
    """Return the prompt of each row as the tiny model's chat template writes it."""
    template = ChatTemplate((HERE / "chat_template.jinja").read_text())
    return Counter(template.prompt_and_answer(row.messages, row.tools or None).prompt for row in given)
