"""Each line of the fixture is wrong in one way, and is told so with its number and a remedy."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.example import Example, Origin, Piece
from tarx_toollog.export.normalise import Normaliser
from tarx_toollog.export.sources.identity_file import IdentityNames, read_identity
from tarx_toollog.export.sources.jsonl_input import Intake
from tarx_toollog.export.sources.log_sample import LogSample
from tarx_toollog.export.sources.summaries import SummaryOptions, summary_examples
from tarx_toollog.export.sources.synthetic import synthetic_examples

FIXTURE = Path(__file__).parents[3] / "export_fixtures" / "sources" / "bad_lines.jsonl"
CASES = [json.loads(line) for line in FIXTURE.read_text("utf-8").splitlines()]
SAVE = {"name": "tarx_save_conversation", "parameters": {"properties": {"summary": {"type": "string"}}}}


def read_summaries(path: Path, intake: Intake) -> None:
    sample, user = LogSample(), Piece({"role": "user", "content": "Hi"})
    sample.observe(Example((user,), Piece([{"type": "function", "function": SAVE}]), "chat", Origin()))
    list(summary_examples(path, intake, Normaliser(), sample, SummaryOptions()))


READERS: dict[str, Callable[[Path, Intake], object]] = {
    "synthetic": lambda path, intake: list(synthetic_examples(path, intake, Normaliser())),
    "summary": read_summaries,
    "identity": lambda path, intake: read_identity(path, IdentityNames(), intake),
}


@pytest.mark.parametrize("case", CASES, ids=[f"{case['kind']}: {case['message']}" for case in CASES])
def test_a_line_that_cannot_be_read_is_told_with_its_number_and_a_remedy(tmp_path: Path, case: dict[str, Any]) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n" + json.dumps(case["row"]) + "\n", "utf-8")

    with pytest.raises(ConfigError) as caught:
        READERS[case["kind"]](path, Intake(path.name))

    first, line = caught.value.message.splitlines()
    assert "rows.jsonl: 1 error" == first
    assert re.fullmatch(rf"  - line 2: {re.escape(case['message'])}.*; \w.+", line), line
