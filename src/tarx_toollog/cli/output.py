"""How results leave: a table on a terminal, tab-separated when piped, or JSON, JSON lines, CSV.

What models emit is hostile text: control characters never reach a terminal, a cell never breaks a line of
the plain form, and a CSV cell never becomes a formula.
"""

import csv
import io
import json
import os
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TextIO

import click

from tarx_toollog.errors import ToolLogError

Format = Literal["auto", "json", "jsonl", "csv"]
Row = Mapping[str, Any]

# C0 and C1 controls, and the marks that reverse the direction of text: a terminal would obey them.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class Output:
    """Where results go, and in which form."""

    format: Format = "auto"
    path: Path | None = None
    """The file of ``-o``; None is stdout."""
    is_stream: bool = False
    """Whether rows go on coming: each is written at once, and never laid out as a table."""

    @property
    def is_for_people(self) -> bool:
        """Whether no format was asked for, so that readable text is right."""
        return self.format == "auto"


def emit_rows(
    rows: Iterable[Row],
    columns: Sequence[str],
    output: Output,
    *,
    spare: Sequence[str] = (),
    wrap: Collection[str] = (),
) -> int:
    """Write rows in the form asked for and return how many there were.

    Args:
        rows: The rows; keys that are not in ``columns`` are left out.
        columns: Keys of a row, in order; they are the titles, too.
        output: Form and place.
        spare: Columns that a narrow terminal does without; the first goes first.
        wrap: Columns of text that a narrow terminal breaks into lines rather than cut.
    """
    counted = _Counted(rows)
    with _opened(output.path) as stream:
        if output.format == "json":
            _write_json(stream, [_pick(row, columns) for row in counted])
        elif output.format == "jsonl":
            for row in counted:
                _write(stream, json_line(_pick(row, columns)) + "\n")
                if output.is_stream:
                    _flush(stream)
        elif output.format == "csv":
            _write_csv(stream, counted, columns, flush=output.is_stream)
        elif output.path is None and stream.isatty() and not output.is_stream:
            from tarx_toollog.cli.table import print_rows  # rich: only for a terminal

            print_rows(list(counted), columns, spare=spare, wrap=wrap)
        else:
            _write_plain(stream, counted, columns, flush=output.is_stream)
        _flush(stream)
    return counted.count


def emit_object(value: Mapping[str, Any], text: str, output: Output) -> None:
    """Write one thing: readable ``text``, or the ``value`` as JSON (as one CSV row of its plain fields)."""
    if output.format == "csv":
        plain = {key: item for key, item in value.items() if not isinstance(item, dict | list)}
        emit_rows([plain], list(plain), output)
        return
    with _opened(output.path) as stream:
        if output.format == "json":
            _write_json(stream, _json_ready(value))
        elif output.format == "jsonl":
            _write(stream, json_line(value) + "\n")
        else:
            _write(stream, safe_text(text).rstrip("\n") + "\n")
        _flush(stream)


def json_line(value: Any) -> str:
    """Return ``value`` as JSON on one line; text that UTF-8 cannot hold is escaped."""
    return _dumps(_json_ready(value), None)


def safe_text(text: str) -> str:
    """Return ``text`` with every character that a terminal would obey replaced; tab and newline stay."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def cell_text(value: Any) -> str:
    """Return a value as the text of one cell, on one line."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}" if abs(value) < 1 else f"{value:.1f}".removesuffix(".0")
    if isinstance(value, datetime):
        return _utc(value).strftime("%Y-%m-%d %H:%M:%S")
    text = value if isinstance(value, str) else json_line(value)
    return safe_text(text.replace("\r", "").replace("\n", "\\n").replace("\t", "\\t"))


def guard_cell(text: str) -> str:
    """Return a CSV cell that no spreadsheet takes for a formula; plain numbers stay numbers."""
    if text.startswith(_FORMULA) and not _NUMBER.fullmatch(text):
        return "'" + text
    return text


class _Counted:
    def __init__(self, rows: Iterable[Row]) -> None:
        self._rows = rows
        self.count = 0

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.count += 1
            yield row


class _opened:  # noqa: N801 - used like the function open
    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stream: TextIO | None = None

    def __enter__(self) -> TextIO:
        if self._path is None:
            if sys.stdout is None:  # the shell's `>&-`
                raise ToolLogError("the result cannot be written: stdout is closed", hint="write it to a file with >")
            return sys.stdout
        try:
            # What the log holds is private: files are for their owner only.
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            raise click.FileError(str(self._path), error.strerror) from error
        self._stream = open(descriptor, "w", encoding="utf-8", newline="")  # noqa: PTH123 - a descriptor
        return self._stream

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            with suppress(OSError):  # all was flushed; or what could not be is told already
                self._stream.close()


def _pick(row: Row, columns: Sequence[str]) -> dict[str, Any]:
    return {name: _json_ready(row.get(name)) for name in columns}


def _json_ready(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_ready(item) for item in value]
    if isinstance(value, datetime):
        return _utc(value).isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.hex()
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _dumps(value: Any, indent: int | None) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, indent=indent)
    return text


def _write(stream: TextIO, text: str) -> None:
    with _writing(stream):
        try:
            stream.write(text)
        except UnicodeEncodeError:  # a terminal that is not UTF-8
            encoding = stream.encoding or "ascii"
            stream.write(text.encode(encoding, "replace").decode(encoding))


def _flush(stream: TextIO) -> None:
    with _writing(stream):
        stream.flush()


@contextmanager
def _writing(stream: TextIO) -> Iterator[None]:
    """Turn a full disk into an error for people; a reader that has gone is no error, and passes."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        with suppress(OSError, ValueError):  # what is still buffered goes nowhere: the last flush must not fail again
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        message = f"the result cannot be written: {error.strerror}"
        raise ToolLogError(message, hint="free some space, or write it elsewhere") from error


def _write_json(stream: TextIO, value: Any) -> None:
    _write(stream, _dumps(value, 2) + "\n")


def _write_csv(stream: TextIO, rows: Iterable[Row], columns: Sequence[str], *, flush: bool) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([guard_cell(_csv_text(row.get(name))) for name in columns])
        _write(stream, buffer.getvalue())
        if flush:
            _flush(stream)
        buffer.seek(0)
        buffer.truncate()
    _write(stream, buffer.getvalue())


def _csv_text(value: Any) -> str:
    if value is None:
        return ""
    ready = _json_ready(value)
    if isinstance(ready, str):
        return ready.encode("utf-8", "replace").decode("utf-8")
    return _dumps(ready, None)


def _write_plain(stream: TextIO, rows: Iterable[Row], columns: Sequence[str], *, flush: bool) -> None:
    _write(stream, "\t".join(columns) + "\n")
    for row in rows:
        _write(stream, "\t".join(cell_text(row.get(name)) for name in columns) + "\n")
        if flush:
            _flush(stream)
