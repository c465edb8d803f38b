"""Any log: what every format says is what was logged, and a build that continues another moves nothing."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tarx_toollog.errors import NothingMatchedError
from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.pipeline import run_export
from tarx_toollog.store.log import ToolLog
from tests.unit.cli.samples import Chat, call, keep_for, write_log

TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ (m.tool_calls or [])|tojson }}{% endfor %}"
NAMES = st.sampled_from(["tarx_recall", "tarx_remember", "tarx_save_conversation"])
TEXTS = st.text(max_size=12) | st.sampled_from(
    ["\u2028", "a\nb", "null", "2026-01-01", "</tool_call>", "ä𝄞", '"', "{}"]
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXTS | st.floats(allow_nan=False, width=32)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=6
)
ARGUMENTS = st.dictionaries(st.text(min_size=1, max_size=5), VALUES, max_size=3)
STEPS = st.lists(st.tuples(TEXTS, st.lists(st.tuples(NAMES, ARGUMENTS), max_size=3)), min_size=1, max_size=4)
TOOLS = [
    {"type": "function", "function": {"name": name, "description": name, "parameters": {"type": "object"}}}
    for name in ("tarx_recall", "tarx_remember", "tarx_save_conversation")
]
Calls = list[tuple[str, Any]]


def chat(name: str, start_s: int, steps: list[tuple[str, list[tuple[str, dict[str, Any]]]]]) -> Chat:
    """Return a dialogue in which the model answers a user or results, with text and calls as drawn."""
    made = Chat(name, start_s=start_s, tools=TOOLS).user(f"{name} asks.")
    for number, (text, calls) in enumerate(steps):
        ids = [f"c{number}_{place}" for place in range(len(calls))]
        made.answer(f"So: {text}", *(call(n, json.dumps(a), i) for (n, a), i in zip(calls, ids, strict=True)))
        for call_id in ids:
            made.result(f"result of {call_id}", call_id)
        if not ids:
            made.user(f"{name} goes on with {number}.")
    return made


def lines(path: Path) -> list[dict[str, Any]]:
    # Not splitlines: U+2028 and its like are no ends of lines in JSONL.
    return [json.loads(line) for line in path.read_bytes().decode("utf-8").split("\n") if line]


def _functions(message: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for made in message.get("tool_calls") or ():
        arguments = made["function"]["arguments"]
        yield made["function"]["name"], json.loads(arguments) if isinstance(arguments, str) else arguments


def _sharegpt(turn: dict[str, str]) -> Iterator[tuple[str, Any]]:
    if turn["from"] != "function_call":
        return
    text = turn["value"].rpartition("\n<tool_call>\n")[2].removesuffix("\n</tool_call>")
    value = json.loads(text)
    for made in value if isinstance(value, list) else [value]:
        yield made["name"], made["arguments"]


def calls_of(row: dict[str, Any]) -> Calls:
    """Return the calls of the answer, in whatever form the format has."""
    if "conversations" in row:
        return list(_sharegpt(row["conversations"][-1]))
    if "completion" in row:
        return list(_functions(row["completion"][0]))
    return list(_functions(row["messages"][-1]))


FORMATS = ("mlx", "trl", "axolotl", "llamafactory", "unsloth", "openai", "mistral", "canonical")
ONCE = settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@ONCE
@given(st.lists(STEPS, min_size=1, max_size=4))
def test_every_format_of_any_log_says_the_calls_that_were_logged(
    dialogues: list[list[tuple[str, list[tuple[str, dict[str, Any]]]]]],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "chat.jinja").write_text(TEMPLATE)
        made = [chat(f"chat {number}", number * 100, steps) for number, steps in enumerate(dialogues)]
        with ToolLog.open(settings=write_log(folder / "log.db", *made)) as log:
            options = ExportOptions(FORMATS, near=None, redact="off", template=str(folder / "chat.jinja"))
            report = run_export(log, folder / "out", options, record=False)
            logged = {
                exchange.uid: [(one.name, json.loads(one.arguments or "{}")) for one in answer.message.tool_calls]
                for chat_ in made
                for exchange in chat_.exchanges
                if exchange.response is not None
                for answer in exchange.response.choices
            }
        files: dict[str, list[dict[str, Any]]] = {}
        for entry in lines(folder / "out/lineage.jsonl"):
            path = folder / "out" / entry["file"]
            if entry["file"] not in files:
                files[entry["file"]] = lines(path)
            assert logged[entry["exchange_uid"]] == calls_of(files[entry["file"]][entry["line"] - 1]), entry["file"]
        for format_name in FORMATS:
            counts = report.formats[format_name]
            assert report.n_examples == sum(counts.rows.values()) + sum(counts.dropped.values())


@ONCE
@given(st.lists(STEPS, min_size=1, max_size=5), st.lists(STEPS, max_size=5), st.randoms(use_true_random=False))
def test_a_build_that_continues_another_moves_none_of_its_examples(first: Any, more: Any, draw: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = [chat(f"chat {number}", number * 100, steps) for number, steps in enumerate(first)]
        later = [
            chat(f"later {number}", 9000 + number * 100, steps) for number, steps in enumerate([*more, *first[:2]])
        ]
        with ToolLog.open(settings=write_log(folder / "log.db", *made), read_only=False) as log:
            shuffle(log, draw)
            try:
                run_export(log, folder / "one", ExportOptions(("canonical",), decontaminate=False))
            except NothingMatchedError:
                return
            log.write([exchange for chat_ in later for exchange in chat_.exchanges])
            shuffle(log, draw)
            run_export(log, folder / "two", ExportOptions(("canonical",), parent="v1", decontaminate=False))
        before, after = splits(folder / "one"), splits(folder / "two")
        assert before == {example: after.get(example) for example in before}


def shuffle(log: ToolLog, draw: Any) -> None:
    """Give conversations other splits: the parent build has to win over a registry that somebody changed."""
    for (uid,) in list(log.query("SELECT uid FROM conversation ORDER BY id").rows):
        keep_for(log, draw.choice(["train", "dev"]), uid)


def splits(out: Path) -> dict[str, str]:
    return {row["example_id"]: row["split"] for path in out.rglob("canonical/*.jsonl") for row in lines(path)}
