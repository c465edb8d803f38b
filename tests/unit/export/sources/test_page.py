"""The files that docs/export-sources.md shows can be read, and become what the page says."""

import re
from pathlib import Path

import pytest

from tarx_toollog.export.balance import parse_balance
from tarx_toollog.export.example import Example, Origin, Piece, Refused
from tarx_toollog.export.mix import MAX_COPIES, parse_mix
from tarx_toollog.export.normalise import Normaliser
from tarx_toollog.export.sources.identity import IdentityOptions, SystemShares, identity_examples
from tarx_toollog.export.sources.identity_file import IdentityNames, read_identity
from tarx_toollog.export.sources.jsonl_input import LISTED, Intake
from tarx_toollog.export.sources.log_sample import LogSample
from tarx_toollog.export.sources.summaries import SummaryOptions, summary_examples
from tarx_toollog.export.sources.synthetic import synthetic_examples

PAGE = (Path(__file__).parents[4] / "docs" / "export-sources.md").read_text("utf-8")
FILES = dict(re.findall(r"^`(\w+\.jsonl)`:\n\n```jsonl\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
SAVE = {
    "type": "function",
    "function": {
        "name": "tarx_save_conversation",
        "parameters": {
            "type": "object",
            "properties": {"summary": {"type": "string"}, "tags": {"type": "array"}},
            "additionalProperties": False,
        },
    },
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


def sample() -> LogSample:
    found, user = LogSample(), Piece({"role": "user", "content": "Hi"})
    found.observe(Example((user,), Piece([SAVE]), "chat", Origin()))
    return found


def examples(found: list[Example | Refused]) -> list[Example]:
    assert [] == [one for one in found if isinstance(one, Refused)]
    return [one for one in found if isinstance(one, Example)]


def test_the_identity_file_of_the_page_is_read_without_a_warning(folder: Path) -> None:
    intake = Intake("identity.jsonl")
    rows = read_identity(folder / "identity.jsonl", IdentityNames("TARX", "TARX Labs"), intake)
    found = examples(list(identity_examples(rows, intake, Normaliser(), sample(), IdentityOptions())))

    assert FILES["identity.jsonl"].count("\n") == len(rows) == len(found)
    assert ({}, 1, 1) == (intake.warnings, intake.kinds["system_given"], sum(row.is_negative for row in rows))
    assert [] == [row.answer for row in rows if "{{" in row.answer]


def test_the_summaries_of_the_page_are_calls(folder: Path) -> None:
    intake = Intake("summaries.jsonl")
    found = summary_examples(folder / "summaries.jsonl", intake, Normaliser(), sample(), SummaryOptions())
    calls = [one.messages[-1].value["tool_calls"][0]["function"]["arguments"] for one in examples(list(found))]

    assert [{"summary"}, {"summary", "tags"}, {"summary", "tags"}] == [set(call) for call in calls]


def test_the_dialogues_of_the_page_pass_every_gate(folder: Path) -> None:
    intake = Intake("dialogues.jsonl")
    found = examples(list(synthetic_examples(folder / "dialogues.jsonl", intake, Normaliser())))

    assert [1, 1, 2, 2, 3, 3, 4] == [one.origin.line for one in found]
    assert [1, 0, 1, 0, 2, 0, 0] == [len(one.messages[-1].value.get("tool_calls", ())) for one in found]


def test_the_defaults_and_limits_on_the_page_are_those_of_the_code() -> None:
    shares, options = SystemShares(), IdentityOptions()
    defaults = (shares.own, shares.none, shares.generic, shares.other_name, options.tools_share, options.chain_share)

    assert [f"{share:g}" for share in defaults] == re.findall(r"\| ([\d.]+) \|$", PAGE, re.MULTILINE)
    assert f"that takes, up to {MAX_COPIES} |" in PAGE
    assert "first ten are listed" in PAGE.replace("\n", " ")
    assert 10 == LISTED


def test_every_specification_on_the_page_can_be_read() -> None:
    command = PAGE[: PAGE.index("The log is")]
    mixes = [*re.findall(r"--mix (\S+)", command), *re.findall(r"`((?:summary|identity|synthetic|chat)=[^`]+)`", PAGE)]
    balances = re.findall(r"(?:`|--balance )((?:tool:cap|conversation:cap|negatives)=[^`\s]+)", PAGE)

    assert (10, 4) == (len([parse_mix(text) for text in mixes]), len([parse_balance(text) for text in balances]))
