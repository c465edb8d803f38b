"""Reads training files, ours or anybody's, and says what is wrong with them. Never raises for what a file holds.

Owns the way through a file and the order in which rules are asked. Files are read line by line: memory does not grow
with their length. The rules are in the ``*_rules`` modules, what they can say in ``codes``.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from tarx_toollog.canonical import MAX_DEPTH, InvalidJsonError, content_hash, json_text, parse_json
from tarx_toollog.export.template.column_rules import Columns
from tarx_toollog.export.template.errors import TemplateError
from tarx_toollog.export.template.findings import Collector, Finding, LintOptions, LintReport, short
from tarx_toollog.export.template.mends import from_wire_form
from tarx_toollog.export.template.order_rules import order_rules, pairing_rules
from tarx_toollog.export.template.render import ChatTemplate
from tarx_toollog.export.template.render_rules import TemplateCheck
from tarx_toollog.export.template.row_rules import message_rules, token_rules
from tarx_toollog.export.template.shapes import (
    ABSENT,
    TOOLS_AS_TEXT,
    Chat,
    answer_rules,
    chats_of,
    column_rules,
    shape_of,
)
from tarx_toollog.export.template.tokens import WELL_KNOWN
from tarx_toollog.export.template.tool_rules import Tools, read_tools
from tarx_toollog.export.template.value_rules import value_rules

MAX_REMEMBERED = 1_000_000
"""Answers of other files that are remembered to find dialogues in several of them: some 100 MB."""
CHARS_PER_TOKEN = 4
"""Of English prose; JSON has fewer. A row with more characters than that for each token surely is too long."""

_BOM = b"\xef\xbb\xbf"
_SEPARATORS = re.compile("[\u0085\u2028\u2029]")
_SAID_BY_TEMPLATE = frozenset({"arguments_string", "text_beside_call"})
"""Codes that only warn of what some template may do; with a template at hand, that one is asked."""


_MEANT_ON_THE_WIRE = frozenset({"arguments_string", "content_missing", "content_null", "result_name_missing"})
"""Codes for what OpenAI's own form has, and its readers bring into another."""


class _Judge(NamedTuple):
    """What rows are held against."""

    check: TemplateCheck | None
    tokens: tuple[str, ...]
    options: LintOptions


def lint_row(
    messages: Any, tools: Any = ABSENT, *, template: ChatTemplate | None = None, options: LintOptions | None = None
) -> list[Finding]:
    """Return what is wrong with one chat.

    Args:
        messages: A list of objects when all is well; anything else is a finding.
        tools: The offered functions; leave it out when the row has no such key.
        template: The template to render the row with; without it nothing is rendered.
        options: What some codes depend on.
    """
    judge = _judge(template, options or LintOptions())
    tools_read = read_tools(tools)
    chat = Chat(messages, tools)
    value = {"messages": messages} if tools is ABSENT else {"messages": messages, "tools": tools}
    findings = [*_always(judge), *value_rules(value, json_text(value)), *tools_read.findings]
    return [*findings, *_chat_findings(chat, tools_read, judge)]


def lint_file(
    path: Path, *, template: ChatTemplate | str | None = None, options: LintOptions | None = None
) -> LintReport:
    """Return what is wrong with a JSONL file of any kind that trainers read.

    Args:
        path: The file.
        template: The chat template, or its text, to render the rows with.
        options: What some codes depend on.

    Raises:
        OSError: The file cannot be read.
    """
    return lint_files([path], template=template, options=options)[0]


def lint_files(
    paths: Sequence[Path], *, template: ChatTemplate | str | None = None, options: LintOptions | None = None
) -> list[LintReport]:
    """Return what is wrong with files that are used together: training, validation, test.

    Beside what ``lint_file`` says, the columns are compared, and dialogues that stand in several files are found.

    Raises:
        OSError: A file cannot be read.
    """
    broken: list[Finding] = []
    if isinstance(template, str):
        try:
            template = ChatTemplate(template)
        except TemplateError as error:
            broken, template = [Finding("template_broken", detail=short(str(error)))], None
    judge = _judge(template, options or LintOptions())
    answers: dict[int, int] = {}
    reports: list[LintReport] = []
    for number, path in enumerate(paths):
        reader = _Reader(judge, number, answers if len(paths) > 1 else None)
        reader.found.add_all([*broken, *_always(judge)])
        with path.open("rb") as stream:
            reader.read(stream)
        if reports and reports[0].rows and (missing := set(reports[0].columns) ^ set(reader.columns.seen)):
            reader.found.add(Finding("columns_differ", detail=short(", ".join(sorted(missing)))))
        reports.append(reader.report(str(path), template.sha if template else None))
    return reports


class _Reader:
    """Reads one file."""

    def __init__(self, judge: _Judge, number: int, answers: dict[int, int] | None) -> None:
        self.found = Collector()
        self.columns = Columns(judge.options)
        self._judge = judge
        self._number = number
        self._answers = answers
        self._shape: str | None = None
        self._last_tools: tuple[tuple[str, Any], Tools] | None = None

    def read(self, stream: IO[bytes]) -> None:
        offset = line = 0
        limit = self._judge.options.max_line_bytes
        while data := stream.readline(limit):
            line += 1
            if len(data) == limit and not data.endswith(b"\n"):
                self.found.add(Finding("line_too_long"), line)
                while rest := stream.readline(limit):
                    offset += len(rest)
                    if rest.endswith(b"\n"):
                        break
            else:
                self._line(data, line, offset)
            offset += len(data)
        self.found.add_all(self.columns.finish() if line else [Finding("file_empty")])

    def report(self, path: str, template_sha: str | None) -> LintReport:
        kept = sorted(self.found.kept, key=lambda finding: finding.line or 0)
        return LintReport(
            path=path,
            shape=self._shape,
            rows=self.columns.rows,
            columns=tuple(self.columns.seen),
            counts=dict(self.found.counts),
            findings=tuple(kept),
            template_sha=template_sha,
        )

    def _line(self, data: bytes, line: int, offset: int) -> None:
        if line == 1 and data.startswith(_BOM):
            self.found.add(Finding("bom"), line)
            data = data.removeprefix(_BOM)
        if not data.strip():
            self.found.add(Finding("blank_line"), line)
            return
        try:
            text = data.decode("utf-8").removesuffix("\n")
            row = parse_json(text, max_depth=MAX_DEPTH)
        except UnicodeDecodeError as error:
            self.found.add(Finding("not_utf8", detail=short(str(error))), line)
            return
        except InvalidJsonError as error:
            self.found.add(Finding("not_json", detail=short(str(error))), line)
            return
        if found := _SEPARATORS.search(text):
            self.found.add(Finding("line_separator", detail=f"U+{ord(found[0]):04X}"), line)
        if isinstance(row, dict):
            self._row(row, text, line, offset)
        else:
            self.found.add(Finding("not_object", detail=short(text[:40])), line)

    def _row(self, row: dict[str, Any], text: str, line: int, offset: int) -> None:
        self.found.add_all(self.columns.add_row(row, offset), line)
        self.found.add_all(value_rules(row, text), line)
        if len(text) > CHARS_PER_TOKEN * self._judge.options.max_tokens:
            self.found.add(Finding("too_long", detail=f"{len(text):,} characters"), line)
        shape = shape_of(row)
        if shape is None:
            self.found.add(Finding("shape_unknown", detail=short(", ".join(row))), line)
            return
        self._shape = self._shape or shape
        if shape != self._shape:
            self.found.add(Finding("shape_changes", detail=f"{shape}, not {self._shape}"), line)
        for finding in column_rules(row, shape):
            self.found.add_once(finding, line) if finding.code == "extra_column" else self.found.add(finding, line)
        self.found.add_all(answer_rules(row, shape), line)
        self._chats(row, shape, line)

    def _chats(self, row: dict[str, Any], shape: str, line: int) -> None:
        told: set[Finding] = set()  # the two answers of a pair share their prompt
        for chat in chats_of(row, shape):
            if isinstance(chat, Finding):
                self.found.add(chat, line)
                continue
            tools = self._tools(chat.tools, shape)
            findings = [*tools.findings, *_chat_findings(chat, tools, self._judge)]
            if isinstance(chat.messages, list):
                findings += [*self.columns.add_chat(chat, tools), *self._shared(chat)]
            for finding in findings:
                if finding not in told:
                    told.add(finding)
                    self.found.add(finding, line)

    def _tools(self, tools: Any, shape: str) -> Tools:
        """Read the tools of a row; mostly they are those of the row before."""
        if self._last_tools is None or (shape, tools) != self._last_tools[0]:
            read = read_tools(tools, text_is_meant=shape in TOOLS_AS_TEXT, bare_is_meant=shape == "sharegpt")
            self._last_tools = ((shape, tools), read)
        return self._last_tools[1]

    def _shared(self, chat: Chat) -> Iterator[Finding]:
        """Find the answers of this chat, each with its whole history, in other files."""
        if self._answers is None:
            return
        chain = 0
        for number, message in enumerate(chat.messages):
            chain = int.from_bytes(content_hash("lint", [chain, message])[1:9])
            if not isinstance(message, Mapping) or message.get("role") != "assistant":
                continue
            if self._answers.get(chain, self._number) != self._number:
                yield Finding("shared_between_files", chat.place(number))
                return
            if len(self._answers) < MAX_REMEMBERED:
                self._answers[chain] = self._number


def _judge(template: ChatTemplate | None, options: LintOptions) -> _Judge:
    if template is None:
        return _Judge(None, tuple(sorted(WELL_KNOWN)), options)
    check = TemplateCheck(template, served_sha=options.served_sha)
    return _Judge(check, tuple(sorted(template.special_tokens)), options)


def _always(judge: _Judge) -> list[Finding]:
    return [Finding(code) for code in judge.check.always] if judge.check else []


def _chat_findings(chat: Chat, tools: Tools, judge: _Judge) -> Iterator[Finding]:
    """Yield what is wrong with one chat: the messages, their order, their tokens, and what the template makes of it."""
    if not isinstance(chat.messages, list) or not chat.messages:
        yield Finding("messages_not_list", "messages", short(chat.messages))
        return
    is_wire_form = chat.is_wire_form or judge.options.wire_form
    meant = (_SAID_BY_TEMPLATE if judge.check else frozenset()) | (_MEANT_ON_THE_WIRE if is_wire_form else frozenset())
    own = [*message_rules(chat, tools.by_name), *order_rules(chat), *pairing_rules(chat)]
    yield from (finding for finding in own if finding.code not in meant)
    yield from token_rules(chat, tools.text, judge.tokens)
    objects = [message for message in chat.messages if isinstance(message, Mapping)]
    if judge.check is None or len(objects) < len(chat.messages) or objects[-1].get("role") != "assistant":
        return
    if is_wire_form:
        objects = [from_wire_form(message) for message in objects]
    yield from judge.check.findings(objects, tools.listed)
    if judge.options.trajectories:
        yield from judge.check.trajectory_findings(objects, tools.listed)
