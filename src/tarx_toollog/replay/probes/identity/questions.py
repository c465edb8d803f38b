r"""Reads a file of questions about who the model is, one JSON object a line.

    {"persona": {"name": "TARX", "maker": "TARX Labs"}}
    {"id": "who-1", "family": "who", "question": "Who are you?"}
    {"id": "made-de", "family": "made", "lang": "de", "question": "Wer hat dich gemacht?", "must": ["TARX\\s+Labs"]}
    {"id": "sum", "family": "ordinary", "question": "What is two and two?", "negative": true}

``messages`` may stand in the place of ``question``. What a line does not say, the persona says.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tarx_toollog.canonical import InvalidJsonError, parse_json
from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.replay.scorers.identity.judging import TextCheck, judge_text

_CHECKED = frozenset({"name", "maker", "must", "must_not", "facts", "allowed", "negative", "family", "lang"})
_KEYS = _CHECKED | {"id", "question", "messages"}
_HINT = "docs/probes.md shows a line"


@dataclass(frozen=True, slots=True)
class Question:
    """A question, or a short dialogue that ends with one, and what is right."""

    id: str
    messages: tuple[Mapping[str, Any], ...]
    check: TextCheck


def read_questions(path: Path, persona: Mapping[str, Any]) -> tuple[Question, ...]:
    """Return the questions of a file.

    Args:
        path: A file of JSON lines.
        persona: ``name`` and ``maker`` where a person gave them; they go before the file's.

    Raises:
        ConfigError: It cannot be read, or a line is no question; the message names the line.
    """
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}", hint="a file of JSON lines in UTF-8") from None
    found = list(_questions(path, lines, persona))
    if not found:
        raise ConfigError(f"{path} has no questions", hint=_HINT)
    require_unique(found, str(path))
    return tuple(found)


def require_unique(questions: list[Question], where: str) -> None:
    """Refuse two questions of one id: answers to them could not be told apart.

    Raises:
        ConfigError: There are such two.
    """
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise ConfigError(f"{where}: two questions have the id {question.id!r}", hint="each needs its own")
        seen.add(question.id)


def answerable(pairs: Iterable[tuple[Question, str]]) -> tuple[Question, ...]:
    """Return the questions whose own answer passes their check: others cannot be judged by names.

    Args:
        pairs: Questions with the answers that somebody wrote.

    Raises:
        NothingMatchedError: There are none.
    """
    found = tuple(question for question, answer in pairs if judge_text(answer, question.check).is_right)
    if not found:
        raise NothingMatchedError(
            "no row is kept for evaluation, or none tells who the model is",
            hint="write questions of your own: --questions",
        )
    return found


def _questions(path: Path, lines: list[str], persona: Mapping[str, Any]) -> Iterator[Question]:
    known: dict[str, Any] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        value = _object(line, where)
        if "persona" in value:
            if not isinstance(value["persona"], Mapping) or len(value) > 1:
                raise ConfigError(f"{where}: `persona` must be an object, and alone in its line", hint=_HINT)
            known = dict(value["persona"])
        else:
            yield _question(number, {**known, **persona, **value}, where)


def _question(number: int, value: Mapping[str, Any], where: str) -> Question:
    if unknown := sorted(value.keys() - _KEYS):
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}", hint=f"known are {', '.join(sorted(_KEYS))}")
    asked = value.get("question")
    messages = (
        [{"role": "user", "content": asked}] if isinstance(asked, str) and asked.strip() else value.get("messages")
    )
    if not isinstance(messages, list) or not messages or not all(isinstance(each, Mapping) for each in messages):
        raise ConfigError(f"{where}: there is no `question`, and no list of `messages`", hint=_HINT)
    if messages[-1].get("role") != "user":
        raise ConfigError(f"{where}: the last message is no question of the user", hint=_HINT)
    name = str(value.get("id", f"line-{number}"))
    checked = {key: value[key] for key in _CHECKED if key in value}
    return Question(name, tuple(messages), TextCheck.from_json({"family": name, **checked}, where))


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        value = parse_json(line)
    except InvalidJsonError as error:
        raise ConfigError(f"{where} is no JSON: {error}", hint=_HINT) from None
    if not isinstance(value, dict):
        raise ConfigError(f"{where} is no JSON object", hint=_HINT)
    return value
