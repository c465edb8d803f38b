"""Dialogues that were made and not logged: each answer passes the gates that a logged one passes.

Owns the gate for answers that no server has judged. A dialogue is read from ``messages`` and ``tools``, or from
sharegpt ``conversations`` (``sources.chat``). An answer that fails is not learned and stays as context: the answer
after it may show how to recover.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

from tarx_toollog.canonical import content_hash
from tarx_toollog.export.documents import text_of
from tarx_toollog.export.example import Dropped, Example, Message, Origin, Piece, Refused, Unit
from tarx_toollog.export.normalise import Normaliser, Place
from tarx_toollog.export.redact import MARK
from tarx_toollog.export.sources.chat import names_of, places, raw_messages, tool_list, tools_piece
from tarx_toollog.export.sources.jsonl_input import BadLineError, InputLine, Intake, optional_text, read_lines
from tarx_toollog.store.results import judge_result
from tarx_toollog.store.verdicts import check_schema
from tarx_toollog.wire.text_calls import find_calls


class Problem(NamedTuple):
    """Why an answer is not fit to be learned."""

    reason: str
    """A key of ``reasons.REASONS``."""
    detail: str = ""
    """What exactly, for a person."""


def synthetic_examples(
    path: Path, intake: Intake, normaliser: Normaliser, unit: Unit = "step"
) -> Iterator[Example | Refused]:
    """Yield the answers of a file of dialogues, and those that are left out with their reason.

    Args:
        path: A JSONL file (docs/export-sources.md).
        intake: Keeps what is to be told about the file.
        normaliser: Makes canonical messages; also cleans them.
        unit: ``step`` gives an example for each answer, ``trajectory`` one for each dialogue.

    Raises:
        ConfigError: Lines cannot be read; raised when all of the file has been looked at.
    """
    for line in read_lines(path, intake):
        try:
            yield from _dialogue(line, intake, normaliser, unit)
        except BadLineError as error:
            intake.error(line.number, error)
    intake.require_examples()


def _dialogue(line: InputLine, intake: Intake, normaliser: Normaliser, unit: Unit) -> Iterator[Example | Refused]:
    tools = tool_list(line.value)
    raws = raw_messages(line.value, names_of(tools))
    answers = [place for place, raw in enumerate(raws) if raw.get("role") == "assistant"]
    if not answers:
        raise BadLineError("there is no answer in it", "give a message of the assistant")
    seen = places(raws, normaliser)
    origin, cluster = Origin(file=intake.file, line=line.number), _cluster(line.value, raws)
    (offered, unsaid), good = _offered(tools, normaliser), []
    for place in answers:
        problem = None if _is_context(raws[place]) else unsaid or _problem(raws, seen, place, tools or ())
        if problem is not None:
            intake.leave_out(line.number, *problem)
            yield Refused("synthetic", origin, problem.reason)
        elif not _is_context(raws[place]):
            good.append(place)
    if unit == "step":
        found = [Example(seen[place].pieces, offered, "synthetic", origin, cluster=cluster) for place in good]
    else:
        targets = tuple(good)
        found = [
            Example(seen[place].pieces, offered, "synthetic", origin, targets, cluster=cluster) for place in good[-1:]
        ]
    intake.examples += len(found)
    yield from found


def _offered(tools: Sequence[dict[str, Any]] | None, normaliser: Normaliser) -> tuple[Piece | None, Problem | None]:
    """Return the tools as examples hold them, or why they must not be written."""
    try:
        return tools_piece(tools, normaliser), None
    except Dropped as dropped:
        return None, Problem(dropped.reason)


def _is_context(raw: Mapping[str, Any]) -> bool:
    """Say whether the file itself marks an answer as not to be learned (OpenAI's ``weight``, Axolotl's ``train``)."""
    return raw.get("weight") == 0 or raw.get("train") is False


def _cluster(row: dict[str, Any], raws: Sequence[Message]) -> str:
    """Return the name of the group of all examples of this dialogue, and of others that the file groups with it."""
    given = optional_text(row, "cluster", "family")
    return f"synthetic:{given or content_hash('dialogue', list(raws)).hex()}"


def _problem(
    raws: Sequence[Message], seen: Sequence[Place], place: int, tools: Sequence[Mapping[str, Any]]
) -> Problem | None:
    reason = seen[place].problem
    if reason is not None:
        if reason == "arguments":
            is_its_own = place == 0 or seen[place - 1].problem is None
            reason = "invalid_arguments" if is_its_own else "history_arguments"
        return Problem(reason)
    answer = seen[place].pieces[-1]
    return answer_problem(answer, tools) or _result_problem(raws, seen, place)


def answer_problem(answer: Piece, tools: Sequence[Mapping[str, Any]]) -> Problem | None:
    """Return why an answer is not fit to be learned, as far as it can be told from itself and the offered tools.

    Args:
        answer: The message, in canonical form.
        tools: The offered tools, in canonical form.
    """
    message = answer.value
    calls = message.get("tool_calls", ())
    if not calls and not message["content"].strip():
        return Problem("no_answer")
    if find_calls(message["content"], names_of(tools)):
        return Problem("not_native_call")
    schemas: dict[str, Any] = {}
    for tool in tools:
        schemas.setdefault(tool["function"]["name"], tool["function"].get("parameters"))
    for call in calls:
        name = call["function"]["name"]
        if name not in schemas:
            return Problem("tool_not_offered", f"{name} is not among the tools of the line")
        state, errors = check_schema(call["function"]["arguments"], schemas[name] or {})
        if state == "fail":
            is_marked = MARK in answer.text
            detail = f"{name}: {'; '.join(errors or ())}"
            return Problem("redaction_breaks_schema" if is_marked else "schema_failure", detail)
    return None


def _result_problem(raws: Sequence[Message], seen: Sequence[Place], place: int) -> Problem | None:
    """Hold calls against what came back. A dialogue may end with calls; one that goes on must have their results."""
    calls = seen[place].pieces[-1].value.get("tool_calls", ())
    if not calls or place + 1 == len(raws):
        return None
    results = list(takewhile(lambda raw: raw.get("role") == "tool", raws[place + 1 :]))
    if len(results) < len(calls):
        return Problem("no_result", f"{len(calls)} calls and {len(results)} results")
    # What is told of a result goes into the manifest, so it is the cleaned one; one that cannot be written has none.
    cleaned = [piece.value["content"] for piece in seen[place + len(results)].pieces[place + 1 :]]
    for number, result in enumerate(results):
        if judge_result(text_of(result)).is_error:
            return Problem("error_result", "".join(cleaned[number : number + 1])[:200])
    return None
