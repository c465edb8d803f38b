"""What must never stand in a training file: planted secrets and personal data, and what the model is tested with."""

import json
import random
import string
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.config import Settings
from tarx_toollog.export.formats import FORMATS
from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.pipeline import run_export
from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.log import ToolLog
from tests.unit.cli.samples import Chat, call, keep_for, write_log

JSON_QUERY = '{"query": "it"}'
N_EACH = 25
_DRAW = random.Random(7)
TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ m.tool_calls }}{% endfor %}{{ tools }}"


def _chars(alphabet: str, count: int) -> str:
    return "".join(_DRAW.choice(alphabet) for _ in range(count))


def _card() -> str:
    digits = [4, *(_DRAW.randrange(10) for _ in range(14))]
    doubled = [sum(divmod(digit * 2, 10)) if place % 2 == 0 else digit for place, digit in enumerate(digits)]
    return "".join(map(str, [*digits, -sum(doubled) % 10]))


# Put together here, so that scanners of code hosts do not take them for real.
_WORD = string.ascii_letters + string.digits
KINDS: dict[str, Callable[[], str]] = {
    "openai": lambda: "sk-" + "proj-" + _chars(_WORD, 40),
    "github": lambda: "gh" + "p_" + _chars(_WORD, 36),
    "aws": lambda: "AK" + "IA" + _chars(string.ascii_uppercase + "234567", 16),
    "huggingface": lambda: "hf" + "_" + _chars(string.ascii_letters, 34),
    "email": lambda: f"{_chars(string.ascii_lowercase, 9)}@{_chars(string.ascii_lowercase, 8)}.se",
    "card": _card,
    "phone": lambda: "+49 151 " + _chars("123456789", 8),
    "home": lambda: "/home/" + _chars(string.ascii_lowercase, 9),
}
CANARIES = [make() for _ in range(N_EACH) for make in KINDS.values()]


def planted(canaries: list[str]) -> Iterator[Chat]:
    """Yield chats that hold the canaries everywhere: prompts, arguments, results, answers, tools, failed calls."""
    for number in range(0, len(canaries), 8):
        system, said, argument, nested, result, answer, failed, tool = canaries[number : number + 8]
        described = {"type": "object", "properties": {"key": {"type": "string", "description": f"like {tool}"}}}
        tools = [{"type": "function", "function": {"name": "tarx_remember", "parameters": described}}]
        chat = Chat(f"chat {number}", start_s=number * 10, tools=tools)
        chat.messages[0]["content"] = f"You are TARX. The user is {system}."
        chat.user(f"Number {number}: remember {said} please, it is mine.")
        chat.answer(None, call("tarx_remember", json.dumps({"key": failed}), "c1")).result(f"error: {failed}", "c1")
        arguments = {"key": argument, "more": [{"of": {"it": nested}}]}
        chat.answer(None, call("tarx_remember", json.dumps(arguments), "c2"))
        chat.result(json.dumps({"saved": result, "number": number}), "c2")
        yield chat.answer(f"I saved {answer} for number {number}.")


def every_byte(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@pytest.fixture
def template(tmp_path: Path) -> str:
    (path := tmp_path / "chat.jinja").write_text(TEMPLATE)
    return str(path)


def test_none_of_200_planted_secrets_and_personal_strings_is_in_any_byte_of_any_format(
    tmp_path: Path, template: str
) -> None:
    assert 200 == len(set(CANARIES))
    settings = write_log(tmp_path / "log.db", split=None)
    with ToolLog.open(settings=settings.model_copy(update={"redact": "off"}), read_only=False) as log:
        log.write([exchange for chat in planted(CANARIES) for exchange in chat.exchanges])
        keep_for(log, "train")
        for task in ("sft", "kto", "dpo"):
            names = [one.name for one in FORMATS if task in one.tasks]
            report = run_export(log, tmp_path / task, ExportOptions(tuple(names), task=task, template=template))
            assert report.n_examples >= 25
    for task in ("sft", "kto", "dpo"):
        written = every_byte(tmp_path / task)
        assert [] == [canary for canary in CANARIES if canary.encode() in written]


def test_equal_values_have_equal_marks_so_that_chains_stay_learnable(tmp_path: Path) -> None:
    mail = CANARIES[4]
    chat = Chat("c").user(f"Remember my mail {mail}.")
    chat.answer(None, call("tarx_remember", json.dumps({"key": "mail", "value": mail}))).result("saved")
    with ToolLog.open(settings=write_log(tmp_path / "log.db", chat.answer(f"I know {mail} now."))) as log:
        run_export(log, tmp_path / "out", ExportOptions(("canonical",)), record=False)

    rows = [json.loads(line) for line in (tmp_path / "out/canonical/train.jsonl").read_text("utf-8").splitlines()]
    last = max(rows, key=lambda row: len(row["messages"]))["messages"]
    mark = last[2]["tool_calls"][0]["function"]["arguments"]["value"]
    assert mark.startswith("⟦EMAIL:")
    assert f"Remember my mail {mark}." == last[1]["content"]
    assert f"I know {mark} now." == last[4]["content"]


def test_an_answer_whose_redacted_arguments_break_their_schema_is_left_out(tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"to": {"type": "string", "pattern": "^[^@ ]+@[^@ ]+$"}}}
    tools = [{"type": "function", "function": {"name": "send", "parameters": schema}}]
    chat = Chat("c", tools=tools).user("Write.").answer(None, call("send", json.dumps({"to": CANARIES[4]})))
    chat.result("sent").answer("It is sent.")
    with ToolLog.open(settings=write_log(tmp_path / "log.db", chat)) as log:
        redacted = run_export(log, tmp_path / "out", ExportOptions(("canonical",)), record=False)
        kept = run_export(log, tmp_path / "off", ExportOptions(("canonical",), redact="off"), record=False)

    reasons = {reason: count for stage in redacted.stages for reason, count in stage.dropped.items()}
    assert ({"redaction_breaks_schema": 1}, 1, 2) == (reasons, redacted.n_examples, kept.n_examples)


def test_a_value_in_the_key_of_an_object_leaves_the_example_out(tmp_path: Path) -> None:
    mail = CANARIES[4]
    named = [
        {"type": "function", "function": {"name": "f", "parameters": {"properties": {mail: {}}, "type": "object"}}}
    ]
    settings = write_log(
        tmp_path / "log.db",
        Chat("argument").user("Do.").answer(None, call("tarx_recall", json.dumps({"query": "it", "of": {mail: 1}}))),
        Chat("result", start_s=50)
        .user("Do it.")
        .answer("", call("tarx_recall", JSON_QUERY))
        .result(f'[{{"{mail}": 1}}]')
        .answer("!"),
        Chat("tool", start_s=90, tools=named).user("Do it now.").answer("Done."),
    )
    with ToolLog.open(settings=settings) as log:
        report = run_export(log, tmp_path / "out", ExportOptions(("canonical",), near=None), record=False)

    reasons = {reason: count for stage in report.stages for reason, count in stage.dropped.items()}
    assert (3, 1) == (reasons["value_in_key"], report.n_examples)
    assert mail.encode() not in every_byte(tmp_path / "out")


def test_an_id_with_a_value_in_it_gets_another_name_in_the_call_and_its_result(tmp_path: Path) -> None:
    chat = Chat("c").user("Do.").answer("", call("tarx_recall", JSON_QUERY, CANARIES[4])).result("it", CANARIES[4])
    with ToolLog.open(settings=write_log(tmp_path / "log.db", chat.answer("Done."))) as log:
        run_export(log, tmp_path / "out", ExportOptions(("canonical",)), record=False)

    rows = [json.loads(line) for line in (tmp_path / "out/canonical/train.jsonl").read_text("utf-8").splitlines()]
    asked, answered = max(rows, key=lambda row: len(row["messages"]))["messages"][2:4]
    assert "call_2_0" == asked["tool_calls"][0]["id"] == answered["tool_call_id"]
    assert CANARIES[4].encode() not in every_byte(tmp_path / "out")


# ---- evaluation ------------------------------------------------------------------------------------------------------


QUESTIONS = (
    "Which trams stop at the Karlsplatz between seven and eight in the evening?",
    "Tell me the name of the plumber who repaired our boiler in February.",
    "What did I decide about the colour of the kitchen cupboards last week?",
)


def asked(name: str, question: str, *, start_s: int) -> Chat:
    chat = Chat(name, start_s=start_s).user(question)
    chat.answer(None, call("tarx_recall", json.dumps({"query": name})))
    return chat.result(json.dumps({"found": name})).answer(f"It is {name}.")


def in_other_words(question: str) -> list[str]:
    words = question.rstrip("?.").split()
    return [
        question.upper(),
        f"Hello TARX, a question: {question} Thank you very much in advance!",
        f"{' '.join(words)} …",
        " ".join([*words[1:], words[0]]),
    ]


def rows_of(log: ToolLog, out: Path, **options: Any) -> str:
    run_export(log, out, ExportOptions(("mlx", "canonical", "trl"), **options), record=False, force=True)
    return every_byte(out).decode()


@pytest.mark.parametrize("kept_by", ["registry", "scenario"])
def test_an_evaluation_question_is_in_no_training_file_even_in_other_words(tmp_path: Path, kept_by: str) -> None:
    chats, moments = [], cycle(range(0, 10_000, 20))
    for question in QUESTIONS:
        chats.append(asked(question.split()[1], question, start_s=next(moments)))
        chats += [asked(other.split()[2], other, start_s=next(moments)) for other in in_other_words(question)]
    chats += [asked(f"note{n}", f"Where is my note about topic {n}?", start_s=next(moments)) for n in range(6)]
    settings = write_log(tmp_path / "log.db", *chats)
    with ToolLog.open(settings=settings, read_only=False) as log:
        order = list(log.query("SELECT conversation_uid, user_text FROM v_chains").rows)
        tests = [uid for uid, text in order if text in QUESTIONS]
        assert len(QUESTIONS) == len(tests)
        if kept_by == "registry":
            keep_for(log, "eval", *tests)
        else:
            for uid in tests:
                every = frozenset({"train", "dev", "eval"})
                build(log, f"tests of {uid}", Filters(conversation=uid, splits=every))
        written = rows_of(log, tmp_path / "out").casefold()

    for question in QUESTIONS:
        told = " ".join(question.split()[1:-1]).rstrip("?.").casefold()
        assert told not in written
    assert "note about topic" in written


def test_no_conversation_is_in_two_splits(tmp_path: Path) -> None:
    """Twins of one dialogue in conversations of different splits: nobody is torn apart, and nobody is in both."""
    chats = [
        asked(f"thing{n % 5}", f"Where is thing number {n % 5}, the one I lost?", start_s=n * 20) for n in range(30)
    ]
    settings = write_log(tmp_path / "log.db", *chats)
    with ToolLog.open(settings=settings, read_only=False) as log:
        uids = [uid for (uid,) in log.query("SELECT uid FROM conversation ORDER BY id").rows]
        keep_for(log, "dev", *uids[::3])
        for near in (None, 0.8):
            run_export(log, tmp_path / str(near), ExportOptions(("canonical",), near=near, exact=False), record=False)

    for near in (None, 0.8):
        homes: dict[str, set[str]] = {}
        for line in (tmp_path / str(near) / "lineage.jsonl").read_text("utf-8").splitlines():
            entry = json.loads(line)
            homes.setdefault(entry["conversation_uid"], set()).add(entry["file"])
        assert homes
        assert {1} == {len(files) for files in homes.values()}


def test_settings_of_the_store_do_not_weaken_the_export(tmp_path: Path) -> None:
    """A store that keeps everything still exports nothing personal, unless somebody asks for it."""
    mail = CANARIES[4]
    settings = Settings(database=str(tmp_path / "log.db"), redact="off")
    chat = Chat("c").user(f"My mail is {mail}.").answer("Thank you.")
    with ToolLog.open(settings=settings, read_only=False) as log:
        log.write(chat.exchanges)
        keep_for(log, "train")
        assert mail not in rows_of(log, tmp_path / "out")
        assert mail in rows_of(log, tmp_path / "off", redact="off")
