"""BFCL's cases and BFCL's own checker, both from its installed package.

The package stands in an environment of its own, ``.venv-bfcl``; ``BFCL_PYTHON`` names the python of another one.
"""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tarx_toollog.replay.bfcl import CATEGORIES, BfclCase, Expects, read_case
from tarx_toollog.replay.bfcl.cases import tool_name
from tarx_toollog.replay.matching import Call
from tests.consumers.environments import python_of, read_in

Answer = Sequence[Call]


@dataclass(frozen=True, slots=True)
class Asked:
    """A case, and the lines that it was read from."""

    case: BfclCase
    row: dict[str, Any]
    answer: dict[str, Any]


def ask(category: str, row: dict[str, Any], answer: dict[str, Any] | None = None) -> Asked:
    return Asked(read_case(category, row, answer), row, answer or {})


def python_of_bfcl() -> Path:
    """Return the python that has BFCL; skip the test, or fail it in CI, when there is none."""
    given = os.environ.get("BFCL_PYTHON")
    return Path(given) if given else python_of(".venv-bfcl", "bfcl")


def lines_of(data: Path, category: str) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
    """Return each row of a category with its accepted answers."""
    name = f"BFCL_v4_{category}.json"
    answers = data / "possible_answer" / name
    accepted = {answer["id"]: answer for answer in _lines(answers)} if answers.exists() else {}
    return [(row, accepted.get(row["id"])) for row in _lines(data / name)]


def read_cases(python: Path) -> list[Asked]:
    """Return all cases of one turn."""
    data = Path(read_in(python, "read_bfcl.py", "data"))
    return [ask(category, *lines) for category in CATEGORIES for lines in lines_of(data, category)]


def with_calls(asked: Iterable[Asked]) -> list[Asked]:
    """Return the cases that say which calls are right."""
    return [one for one in asked if one.case.expects is Expects.CALLS]


def verdicts(python: Path, judged: Iterable[tuple[Asked, Sequence[Answer]]], folder: Path) -> list[list[bool]]:
    """Return for each answer to each case whether BFCL accepts it; one process judges them all."""
    valid: list[list[bool]] = read_in(python, "read_bfcl.py", "check", written(judged, folder))
    return valid


def seconds(python: Path, judged: Iterable[tuple[Asked, Sequence[Answer]]], folder: Path) -> float:
    """Return how long BFCL's checker takes for all answers, in seconds."""
    taken: float = read_in(python, "read_bfcl.py", "time", written(judged, folder))
    return taken


def written(judged: Iterable[tuple[Asked, Sequence[Answer]]], folder: Path) -> Path:
    """Write answers as BFCL has them; return the file."""
    file = folder / "answers.jsonl"
    with file.open("w", encoding="utf-8") as out:
        for asked, answers in judged:
            names = {tool_name(tool["name"]): tool["name"] for tool in asked.row["function"]}
            line = {
                "category": asked.case.category,
                "function": asked.row["function"],
                "ground_truth": asked.answer["ground_truth"],
                "outputs": [[{names.get(call.name, call.name): call.arguments} for call in made] for made in answers],
            }
            out.write(json.dumps(line) + "\n")
    return file


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
