"""Files beside the log, and what the model is tested with: what is compared, what is left out, what is told of it."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.pipeline import run_export
from tarx_toollog.export.report import ExportReport
from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.log import ToolLog
from tests.unit.cli.samples import TOOLS, Chat, call, good_chat, run, tool, write_log
from tests.unit.export.sources.mining import add_labels, on_exchange

SAVE = tool("tarx_save_conversation", title="string", summary="string")
MAIL = "anna.karlsson@northwind-mail.se"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    with ToolLog.open(settings=write_log(tmp_path / "log.db", good_chat()), read_only=False) as opened:
        yield opened


def export(log: ToolLog, out: Path, **options: Any) -> ExportReport:
    return run_export(log, out, ExportOptions(**{"formats": ("canonical",), **options}))


def jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def dropped(report: ExportReport) -> Counter[str]:
    return Counter({reason: count for stage in report.stages for reason, count in stage.dropped.items()})


def splits(out: Path, source: str) -> Counter[str]:
    """Return how many rows of a source are in which split."""
    rows = (json.loads(line) for path in (out / "canonical").glob("*.jsonl") for line in path.read_bytes().splitlines())
    return Counter(row["split"] for row in rows if row["source"] == source)


def said(question: str, answer: str, **more: Any) -> dict[str, Any]:
    chat = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": chat, **more}


# ---- what the model is tested with -----------------------------------------------------------------------------------


def about_mail(name: str, question: str, start_s: int) -> Chat:
    chat = Chat(name, start_s=start_s).user(question)
    chat.answer(None, call("tarx_recall", json.dumps({"query": MAIL})))
    return chat.result('{"found": "a colleague"}').answer("A colleague of yours.")


@pytest.mark.parametrize("redact", ["all", "off"])
def test_a_question_with_redacted_values_is_found_again_in_a_scenario(tmp_path: Path, redact: Any) -> None:
    question = f"Who is {MAIL}, and where did we meet last?"
    others = [Chat(it, start_s=n).user(f"Where did I put my {it}?").answer("Hm.") for n, it in enumerate(THINGS)]
    chats = (about_mail("a", question, 50), about_mail("b", f"{question} Thanks!", 99), *others)
    with ToolLog.open(settings=write_log(tmp_path / "log.db", *chats), read_only=False) as log:
        uid, _ = {one.conversation_uid: None for one in log.trajectories() if one.signature}
        build(log, "tests", Filters(conversation=uid, splits=frozenset({"train"})))

        report = export(log, tmp_path / "out", redact=redact)

    assert {"in_scenario": 2, "near_scenario": 2} == {
        reason: count for reason, count in dropped(report).items() if reason.endswith("scenario")
    }


# ---- synthetic dialogues ---------------------------------------------------------------------------------------------


def test_what_is_told_of_a_result_is_redacted_like_the_row(log: ToolLog, tmp_path: Path) -> None:
    asked = {"role": "assistant", "content": "", "tool_calls": [call("tarx_recall", '{"query": "x"}')]}
    result = {"role": "tool", "tool_call_id": "call_1", "content": f"error: the mailbox of {MAIL} is full"}
    failed = {"messages": [{"role": "user", "content": "Look."}, asked, result, said("", "It is.")["messages"][1]]}
    made = jsonl(tmp_path / "made.jsonl", {**failed, "tools": TOOLS})

    report = export(log, tmp_path / "out", synthetic=(made,))

    assert 1 == dropped(report)["error_result"]
    (remark,) = report.imports[0]["remarks"]
    assert remark["message"].startswith("error: the mailbox of \u27e6EMAIL:")
    assert [] == [path.name for path in (tmp_path / "out").rglob("*") if path.is_file() and MAIL in path.read_text()]


def test_a_tool_that_must_not_be_written_leaves_the_answers_of_its_line_out(log: ToolLog, tmp_path: Path) -> None:
    named = {"tools": [tool("find", **{MAIL: "string"})]}
    made = jsonl(tmp_path / "made.jsonl", said("Hi there.", "Hello.", **named), said("Who?", "I."))

    report = export(log, tmp_path / "out", synthetic=(made,))

    assert (1, {"value_in_key": 1}) == (dropped(report)["value_in_key"], report.imports[0]["left_out"])


# ---- near duplicates -------------------------------------------------------------------------------------------------

GARDEN = "Please tell me which vegetables I should plant in the shady corner of my garden in early spring"
THINGS = ("bike", "keys", "lamp", "passport")


@pytest.mark.parametrize("source", ["synthetic", "summaries"])
def test_of_rows_of_a_file_that_are_nearly_the_same_one_is_kept(log: ToolLog, tmp_path: Path, source: str) -> None:
    more = {} if source == "synthetic" else {"summary": "Spinach in the shade.", "title": "Spinach", "tools": [SAVE]}
    lines = [said(GARDEN + "!" * n, "Spinach and radishes grow well in the shade.", **more) for n in range(30)]

    report = export(log, tmp_path / "out", **{source: (jsonl(tmp_path / "rows.jsonl", *lines),)})

    assert 29 == dropped(report)["near_duplicate"]


def test_a_group_stays_together_when_some_of_it_are_near_duplicates(log: ToolLog, tmp_path: Path) -> None:
    lines = [
        said(f"{GARDEN}, in bed {n}{mark}", "Spinach.", cluster=f"bed {n % 20}") for n in range(40) for mark in ".!"
    ]

    report = export(log, tmp_path / "out", synthetic=(jsonl(tmp_path / "rows.jsonl", *lines),))

    files: dict[str, set[str]] = {}
    for line in (tmp_path / "out/lineage.jsonl").read_text("utf-8").splitlines():
        entry = json.loads(line)
        if entry["source"] == "synthetic":
            files.setdefault(lines[entry["from_line"] - 1]["cluster"], set()).add(entry["file"])
    assert 40 == dropped(report)["near_duplicate"]
    assert {1} == {len(names) for names in files.values()}
    assert {"canonical/train.jsonl", "canonical/dev.jsonl"} == set().union(*files.values())


def test_identity_rows_that_differ_in_what_is_not_compared_are_all_kept(log: ToolLog, tmp_path: Path) -> None:
    systems = ("You are TARX.", "You are TARX, at home.", "")
    rows = [{"question": "Who are you?", "answer": "I am TARX.", "system": system} for system in systems]
    different = [{**row, "answer": f"I am TARX{'!' * n}"} for n, row in enumerate(rows)]

    report = export(log, tmp_path / "out", identity=(jsonl(tmp_path / "rows.jsonl", *different),))

    assert 0 == dropped(report)["near_duplicate"]
    assert 3 <= splits(tmp_path / "out", "identity").total()


@pytest.mark.parametrize("source", ["synthetic", "log", "praised"])
def test_a_row_that_is_nearly_an_identity_row_makes_way_for_it(tmp_path: Path, source: str) -> None:
    question, answer = (
        "Tell me, please: who are you, and who has made you?",
        "I am TARX, and I run on your own machine.",
    )
    logged = (
        Chat("c", tools=[], start_s=50).user(question + "!").answer("Somebody." if source == "synthetic" else answer)
    )
    asked = jsonl(tmp_path / "identity.jsonl", {"question": question, "answer": answer, "tools": []})
    made = jsonl(tmp_path / "made.jsonl", said(question + "?", answer), said("What is new?", "Nothing much."))
    settings = write_log(tmp_path / "log.db", good_chat(), logged)
    if source == "praised":
        add_labels(settings, [on_exchange(logged, 0, value_num=1.0)])
    with ToolLog.open(settings=settings) as log:
        files = {"synthetic": (made,)} if source == "synthetic" else {}
        report = export(log, tmp_path / "out", identity=(asked,), **files)

    assert 1 == dropped(report)["near_duplicate"]
    assert splits(tmp_path / "out", "identity").total() >= 1


# ---- what is said about files ----------------------------------------------------------------------------------------


def refusal(tmp_path: Path, *options: str) -> list[str]:
    """Return what is said of an export that is refused."""
    done = run("--database", str(tmp_path / "log.db"), "export", "run", str(tmp_path / "out"), *options)
    assert 2 == done.exit_code
    lines: list[str] = done.stderr.splitlines()
    return lines[next(place for place, line in enumerate(lines) if line.startswith("error: ")) :]


def test_each_line_that_cannot_be_read_has_a_line_of_its_own(log: ToolLog, tmp_path: Path) -> None:
    (path := tmp_path / "made.jsonl").write_text('no\n{"messages": []}\n')

    assert [
        "error: made.jsonl: 2 errors",
        "  - line 1: not JSON: expecting value at column 1; write one JSON object a line",
        "  - line 2: no list of messages; give `messages`, a list that is not empty",
        "hint: mend what is listed; nothing of the file was imported",
    ] == refusal(tmp_path, "--synthetic", str(path))


def test_summaries_that_all_break_the_schema_are_told_with_what_is_wrong(tmp_path: Path) -> None:
    chat = Chat("c", tools=[*TOOLS, SAVE]).user("Hello there.").answer("Hello.")
    write_log(tmp_path / "log.db", chat)
    path = jsonl(
        tmp_path / "summaries.jsonl", *[said("Hi.", "Yo.", summary=f"The user said hi {n}.") for n in range(12)]
    )

    first, *listed, more, hint = refusal(tmp_path, "--summaries", str(path))

    assert first.startswith("error: summaries.jsonl: no answer is fit to be learned (12 × schema_failure")
    assert [
        f"  - line {n}: tarx_save_conversation: (root): 'title' is a required property" for n in range(1, 11)
    ] == listed
    assert ("  - and 2 more", "hint: mend what is listed, or leave the file away") == (more, hint)


def test_a_missing_author_is_told_with_the_option_that_names_one(log: ToolLog, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "identity.jsonl", {"question": "Who made you?", "answer": "{{author}} made me, TARX."})

    _, told, _ = refusal(tmp_path, "--identity", str(path))

    assert "  - line 1: nobody says what {{author}} is; name who makes it with --own-author, or write it out" == told


def test_a_tool_that_nobody_knows_is_to_be_given_in_the_lines(log: ToolLog, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "summaries.jsonl", said("Hi.", "Yo.", summary="The user said hi."))

    assert [
        "error: summaries.jsonl: the log never offered tarx_save_conversation",
        "hint: give each line its `tools`, with the definition of tarx_save_conversation",
    ] == refusal(tmp_path, "--summaries", str(path))
