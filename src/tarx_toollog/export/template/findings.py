"""What the lint says: findings, the options that they depend on, and the report of a file."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tarx_toollog.export.template.codes import CODES, Severity

MAX_DETAIL = 160
"""Characters of a detail: a report is read on a screen, and texts of chats are private."""
MAX_EXAMPLES = 20
"""Findings of one code that a report keeps; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong at one place."""

    code: str
    """A key of ``CODES``."""
    where: str = ""
    """Path inside the row, ``messages[2].tool_calls[0]``; empty for the row or the file itself."""
    detail: str = ""
    """What was found there: a value, a name, the words of an error."""
    line: int | None = None
    """From 1; None when no file was read, or when the whole file is meant."""

    @property
    def severity(self) -> Severity:
        """How bad it is."""
        return CODES[self.code].severity

    def as_json(self) -> dict[str, Any]:
        """Return it for a report: keys without a value are absent."""
        values = {
            "code": self.code,
            "severity": self.severity,
            "line": self.line,
            "where": self.where,
            "detail": self.detail,
        }
        return {key: value for key, value in values.items() if value not in (None, "")}


@dataclass(frozen=True, slots=True)
class LintOptions:
    """What the judgement of some codes depends on."""

    max_tokens: int = 2048
    """Rows that surely have more tokens are ``too_long``; the default is that of mlx-lm."""
    batch_size: int = 4
    """For ``few_rows`` and ``rows_left_over``; the default is that of mlx-lm."""
    chunk_bytes: int = 10 * 2**20
    """How much of a file Hugging Face ``datasets`` reads before it fixes the columns, for ``late_column``."""
    max_line_bytes: int = 64 * 2**20
    """Longer lines are not read: no context window holds them."""
    wire_form: bool = False
    """The readers of the file want it as it is on OpenAI's wire, and bring it into another form themselves: OpenAI,
    Mistral, Axolotl. Then arguments are strings, a call needs no content, and a result no name of its tool."""
    trajectories: bool = False
    """Every answer of a row is learned, not only the last: also look for ``trajectory_rewritten``."""
    served_sha: str | None = None
    """Hash of the template that the server answers with, for ``template_not_served``."""


@dataclass(frozen=True, slots=True)
class LintReport:
    """What was found in one file."""

    path: str
    shape: str | None
    """Kind of the rows, as the first one tells it; None when no row could be read."""
    rows: int
    """Lines that hold an object."""
    columns: tuple[str, ...]
    """Top-level keys, in the order in which they turned up."""
    counts: Mapping[str, int]
    """Code → how often it was found."""
    findings: tuple[Finding, ...]
    """At most ``MAX_EXAMPLES`` of each code, in the order of the lines."""
    template_sha: str | None = None
    """Hash of the template that the rows were rendered with."""

    @property
    def errors(self) -> int:
        """How many errors were found."""
        return sum(count for code, count in self.counts.items() if CODES[code].severity == "error")

    @property
    def warnings(self) -> int:
        """How many warnings were found."""
        return sum(self.counts.values()) - self.errors

    def as_json(self) -> dict[str, Any]:
        """Return the report for ``--json``."""
        return {
            "path": self.path,
            "shape": self.shape,
            "rows": self.rows,
            "columns": list(self.columns),
            "errors": self.errors,
            "warnings": self.warnings,
            "counts": dict(self.counts),
            "template_sha": self.template_sha,
            "findings": [finding.as_json() for finding in self.findings],
        }


@dataclass
class Collector:
    """Gathers findings in bounded memory."""

    counts: Counter[str] = field(default_factory=Counter)
    kept: list[Finding] = field(default_factory=list)

    def add(self, finding: Finding, line: int | None = None) -> None:
        """Take one finding; the first ``MAX_EXAMPLES`` of a code are kept."""
        self.counts[finding.code] += 1
        if self.counts[finding.code] <= MAX_EXAMPLES:
            self.kept.append(finding if line is None else replace(finding, line=line))

    def add_once(self, finding: Finding, line: int | None = None) -> None:
        """Take a finding that says the same of a whole file each time."""
        if not self.counts[finding.code]:
            self.add(finding, line)

    def add_all(self, findings: Iterable[Finding], line: int | None = None) -> None:
        """Take many."""
        for finding in findings:
            self.add(finding, line)


def short(value: Any) -> str:
    """Return a value as one short line for a detail."""
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(text[: 4 * MAX_DETAIL].split())
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")  # a lone surrogate cannot be printed
    return text if len(text) <= MAX_DETAIL else text[: MAX_DETAIL - 1] + "…"
