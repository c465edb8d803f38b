"""The files that we write ourselves have no errors, under no template and under the one that is served."""

from pathlib import Path

import pytest

from tarx_toollog.export.example import Dropped, Row, Summary, Task
from tarx_toollog.export.formats import FORMATS
from tarx_toollog.export.formats.base import FormatOptions
from tarx_toollog.export.template.findings import LintOptions
from tarx_toollog.export.template.lint import lint_file
from tests.support.export_rows import GOOD, PREFERENCE, TRAITS
from tests.unit.export.template.templates import template

ROWS: dict[Task, list[Row]] = {"sft": list(TRAITS.values()), "dpo": [PREFERENCE], "kto": [GOOD]}
SERVED = template("md-json.jinja")
WIRE_FORMS = {"openai", "mistral", "axolotl"}


WRITTEN = [(one.name, task) for one in map(FORMATS.get, FORMATS.names()) for task in ROWS if task in one.tasks]


@pytest.mark.parametrize(("name", "task"), WRITTEN)
def test_a_file_of_ours_has_no_errors(tmp_path: Path, name: str, task: Task) -> None:
    writer = FORMATS.get(name).writer(tmp_path, FormatOptions(task=task, template=SERVED.text))
    written = 0
    for row in ROWS[task]:
        try:
            writer.add(row)
        except Dropped:
            continue
        written += 1
    writer.finish(Summary({"train": written}, max_tokens=1000, trained_tokens=1000))
    writer.close()
    options = LintOptions(wire_form=name in WIRE_FORMS)

    for chosen in (None, SERVED):
        [report] = [lint_file(path, template=chosen, options=options) for path in tmp_path.rglob("*.jsonl")]

        assert (written, []) == (report.rows, [f for f in report.findings if f.severity == "error"])
