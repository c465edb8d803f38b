"""Writes the reports that are files: HTML, JUnit and Markdown, for their owner only: they hold what people said."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from tarx_toollog.errors import ToolLogError
from tarx_toollog.replay.reports.comparison import Comparison
from tarx_toollog.replay.reports.details import StepDetail
from tarx_toollog.replay.reports.report import Report
from tarx_toollog.replay.reports.report_html import report_html
from tarx_toollog.replay.reports.report_junit import report_junit
from tarx_toollog.replay.reports.report_markdown import report_markdown
from tarx_toollog.store.private import write_private


def write_pages(
    report: Report, steps: Sequence[StepDetail], files: Mapping[str, Path | None], compared: Comparison | None = None
) -> None:
    """Write a run into files; one that is there is replaced.

    Args:
        report: The figures of the run.
        steps: Its steps.
        files: ``html``, ``junit`` and ``md`` → where; None: nowhere.
        compared: The run beside another one; the HTML page begins with it.

    Raises:
        ToolLogError: A file cannot be written.
    """
    made = {
        "html": lambda: report_html(report, steps, compared),
        "junit": lambda: report_junit(report, steps),
        "md": lambda: report_markdown(report, steps),
    }
    for form, path in files.items():
        if path is None:
            continue
        text = made[form]()
        try:
            # Half a character, which a model may have said, cannot stand in a file of UTF-8.
            write_private(path, text.encode("utf-8", errors="replace"))
        except OSError as error:
            raise ToolLogError(f"cannot write {path}: {error.strerror}", hint="choose another place") from error
