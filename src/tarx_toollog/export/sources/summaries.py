"""Summaries of conversations, as calls of the tool that saves them.

In use, the model writes a summary as an argument of a call. So that is what is learned: not a text, but the call, with
the arguments in the form that the schema of the tool asks for.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tarx_toollog.canonical import content_hash
from tarx_toollog.errors import ConfigError
from tarx_toollog.export.example import Dropped, Example, Message, Origin, Refused
from tarx_toollog.export.normalise import Normaliser
from tarx_toollog.export.sources.chat import names_of, pieces_of, raw_messages, tool_list, tools_piece
from tarx_toollog.export.sources.jsonl_input import BadLineError, InputLine, Intake, optional_text, read_lines
from tarx_toollog.export.sources.log_sample import LogSample
from tarx_toollog.export.sources.synthetic import answer_problem

TOOL_NAME = "tarx_save_conversation"
REQUEST = "Please save this conversation."
"""What the user says where a conversation ends with an answer; a line may have its own ``request``."""
_OWN_KEYS = frozenset({"summary", "messages", "conversation", "conversations", "tools", "functions", "request"})
"""Keys of a line that are never arguments, whatever the parameters of the tool are called."""


@dataclass(frozen=True, slots=True)
class SummaryOptions:
    """How summaries become calls."""

    tool_name: str = TOOL_NAME
    tool: Mapping[str, Any] | None = None
    """Definition of the tool in canonical form; None takes the one that the log offered most."""


@dataclass(frozen=True, slots=True)
class _Draft:
    """A line, read."""

    line: int
    row: dict[str, Any]
    raws: list[Message]
    """The conversation, up to the answer that is to be the call."""
    tools: list[dict[str, Any]] | None
    cluster: str


def check_summaries(path: Path, intake: Intake) -> None:
    """Read a file without making anything of it, so that what is wrong with it is known before the log is read.

    Raises:
        ConfigError: Lines cannot be read.
    """
    for _ in _drafts(path, intake):
        pass
    intake.require_no_errors()


def summary_examples(
    path: Path, intake: Intake, normaliser: Normaliser, sample: LogSample, options: SummaryOptions
) -> Iterator[Example | Refused]:
    """Yield the summaries of a file as calls, and those that are left out with their reason.

    Args:
        path: A JSONL file (docs/export-sources.md).
        intake: Keeps what is to be told about the file.
        normaliser: Makes canonical messages; also cleans them.
        sample: Gives the definition of the tool, the tools offered beside it, and the system prompt.
        options: How summaries become calls.

    Raises:
        ConfigError: Lines cannot be read, raised when all of the file has been looked at; or nobody knows the tool.
    """
    borrowed = _borrowed_tools(sample, options)
    for draft in _drafts(path, intake):
        tools = draft.tools or borrowed
        if not tools:
            hint = f"give each line its `tools`, with the definition of {options.tool_name}"
            raise ConfigError(f"{path.name}: the log never offered {options.tool_name}", hint=hint)
        try:
            yield from _examples(draft, tools, intake, normaliser, sample, options.tool_name)
        except BadLineError as error:
            intake.error(draft.line, error)
    intake.require_examples()


def _borrowed_tools(sample: LogSample, options: SummaryOptions) -> list[dict[str, Any]]:
    """Return the tools for lines that have none: those of the log that hold the tool, with the given definition."""
    tools = list(sample.tools_with(options.tool_name) or ())
    if options.tool is None:
        return tools
    given = dict(options.tool)
    return [given if tool["function"]["name"] == options.tool_name else tool for tool in tools] or [given]


def _drafts(path: Path, intake: Intake) -> Iterator[_Draft]:
    for line in read_lines(path, intake):
        try:
            yield _draft(line)
        except BadLineError as error:
            intake.error(line.number, error)


def _draft(line: InputLine) -> _Draft:
    row, tools = line.value, tool_list(line.value)
    raws = raw_messages(row, names_of(tools))
    summary = row.get("summary")
    if not (isinstance(summary, dict) and summary) and not (isinstance(summary, str) and summary.strip()):
        raise BadLineError("there is no summary", "give `summary`: a text, or an object with the arguments")
    given = optional_text(row, "cluster", "family")
    # Two summaries of one conversation are never torn apart.
    cluster = f"summary:{given or content_hash('dialogue', raws).hex()}"
    if raws[-1].get("role") == "assistant":
        raws.append({"role": "user", "content": optional_text(row, "request") or REQUEST})
    return _Draft(line.number, row, raws, tools, cluster)


def _examples(
    draft: _Draft,
    tools: list[dict[str, Any]],
    intake: Intake,
    normaliser: Normaliser,
    sample: LogSample,
    tool_name: str,
) -> Iterator[Example | Refused]:
    tool = next((tool for tool in tools if tool["function"]["name"] == tool_name), None)
    if tool is None:
        raise BadLineError(f"its tools do not offer {tool_name}", f"put {tool_name} into `tools`, or leave them away")
    function = {"name": tool_name, "arguments": _arguments(draft.row, tool)}
    call: Message = {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}
    raws, origin = [*draft.raws, call], Origin(file=intake.file, line=draft.line)
    if sample.system_prompt and draft.raws[0].get("role") not in ("system", "developer"):
        raws.insert(0, {"role": "system", "content": sample.system_prompt})
    try:
        pieces, offered = pieces_of(raws, normaliser), tools_piece(tools, normaliser)
    except Dropped as dropped:
        problem: tuple[str, str] | None = (dropped.reason, "")
    else:
        problem = answer_problem(pieces[-1], tools)
    if problem is not None:
        intake.leave_out(draft.line, *problem)
        yield Refused("summary", origin, problem[0])
        return
    intake.examples += 1
    yield Example(pieces, offered, "summary", origin, cluster=draft.cluster)


def _arguments(row: Mapping[str, Any], tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that a line means: the object, or the text and what else the line has of them."""
    summary = row["summary"]
    if isinstance(summary, dict):
        return summary
    properties = (tool["function"].get("parameters") or {}).get("properties") or {}
    if "summary" not in properties:
        mend = "give `summary` as an object with the arguments"
        raise BadLineError(f"{tool['function']['name']} has no parameter `summary`", mend)
    others = {key: row[key] for key in properties if key in row and key not in _OWN_KEYS}
    return {
        key: summary if key == "summary" else others[key] for key in properties if key in others or key == "summary"
    }
