"""Every code of the lint is seen to fail: it has a file that raises it, and a twin that does not."""

import json
from pathlib import Path

import pytest

from tarx_toollog.export.template.codes import CODES, codes_table
from tarx_toollog.export.template.findings import LintOptions, LintReport
from tarx_toollog.export.template.lint import lint_files
from tests.unit.export.template.templates import LINT, ROOT


def first(*names: str) -> Path | None:
    return next((LINT / name for name in names if (LINT / name).exists()), None)


def linted(code: str, twin: str) -> LintReport:
    """Lint ``CODE.jsonl`` with what belongs to it; ``CODE.clean.…`` goes before ``CODE.…`` for the clean twin."""
    template = first(f"{code}{twin}.jinja", f"{code}.jinja")
    options = first(f"{code}{twin}.options.json", f"{code}.options.json")
    other = first(f"{code}.other.jsonl")
    return lint_files(
        [*([other] if other else []), LINT / f"{code}{twin}.jsonl"],
        template=template.read_text("utf-8") if template else None,
        options=LintOptions(**json.loads(options.read_text("utf-8"))) if options else None,
    )[-1]


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_file_that_raises_it_and_a_twin_that_does_not(code: str) -> None:
    failing, clean = linted(code, ""), linted(code, ".clean")

    assert code in failing.counts
    assert code not in clean.counts
    assert [finding for finding in clean.findings if CODES[finding.code].severity == "error"] == []


def test_every_fixture_belongs_to_a_code() -> None:
    assert set(CODES) == {path.name.split(".")[0] for path in LINT.iterdir()}


def test_every_code_says_what_is_wrong_and_how_to_mend_it() -> None:
    said = [text for code in CODES.values() for text in (code.what, code.mend)]

    assert [] == [text for text in said if not text.endswith((".", '."')) or not text[0].isupper() or len(text) > 160]
    assert len(CODES) == len({code.what for code in CODES.values()}), "each says something of its own"
    assert {("error", "warning")} == {tuple(sorted({code.severity for code in CODES.values()}))}


def test_the_page_has_the_table_of_the_codes() -> None:
    page = (ROOT / "docs" / "export-lint.md").read_text("utf-8")

    assert codes_table() in page
