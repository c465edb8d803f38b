"""Linting files: kinds of rows, places of findings, and no end of memory or patience with garbage."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tarx_toollog.canonical import content_hash
from tarx_toollog.export.template.codes import CODES
from tarx_toollog.export.template.findings import MAX_EXAMPLES, Finding, LintOptions, LintReport
from tarx_toollog.export.template.lint import lint_file, lint_files, lint_row
from tarx_toollog.export.template.render import ChatTemplate
from tests.unit.export.template.templates import CHATS, LINT, TOOLS, template

QUIET = LintOptions(batch_size=1)
ANSWERED = CHATS["answered"]["messages"]
CALLED = CHATS["call"]["messages"]
WORSE = {"role": "assistant", "content": "I do not know."}


def with_text(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return messages with the arguments of calls as JSON strings, as OpenAI wants them."""
    copied: list[dict[str, Any]] = json.loads(json.dumps(messages))
    for message in copied:
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = json.dumps(call["function"]["arguments"])
    return copied


CALL = json.dumps({"name": "recall", "arguments": {"query": "cat"}})
CONVERSATION = [
    {"from": "human", "value": "My cats?"},
    {"from": "function_call", "value": f"Wait.\n<tool_call>\n[{CALL}, {CALL}]\n</tool_call>"},
    {"from": "observation", "value": "Miso\n</tool_response>\n<tool_response>\nMia"},
]
GPT = {"from": "gpt", "value": "Miso and Mia."}
TOOLS_TEXT = json.dumps([TOOLS[0]["function"]])
SHAPES: dict[str, dict[str, Any]] = {
    "messages": {"messages": ANSWERED, "tools": TOOLS, "parallel_tool_calls": True},
    "canonical": {"example_id": "00", "split": "train", "source": "tool", "messages": ANSWERED, "tools": TOOLS},
    "prompt_completion": {"prompt": ANSWERED[:-1], "completion": ANSWERED[-1:], "tools": json.dumps(TOOLS)},
    "text": {"text": "<|im_start|>user\nHello<|im_end|>"},
    "sharegpt": {"conversations": [*CONVERSATION, GPT], "system": "You are TARX.", "tools": TOOLS_TEXT},
    "preference": {"prompt": CALLED[:-1], "chosen": CALLED[-1:], "rejected": [WORSE], "tools": TOOLS},
    "kto": {"prompt": ANSWERED[:-1], "completion": ANSWERED[-1:], "label": False, "tools": TOOLS},
    "openai_preference": {
        "input": {"messages": CALLED[:-1], "tools": TOOLS, "parallel_tool_calls": True},
        "preferred_output": with_text(CALLED[-1:]),
        "non_preferred_output": [WORSE],
    },
}
OTHER_FORMS = [
    ("prompt_completion", {"prompt": "<|im_start|>user\nHello<|im_end|>", "completion": "Hi.<|im_end|>"}),
    ("preference", {"prompt": "Hello", "chosen": "Hi.", "rejected": "What?"}),
    ("preference", {"chosen": ANSWERED, "rejected": [*ANSWERED[:-1], WORSE], "tools": TOOLS}),
    (
        "sharegpt",
        {"conversations": CONVERSATION, "chosen": GPT, "rejected": {**GPT, "value": "No."}, "tools": TOOLS_TEXT},
    ),
    ("sharegpt", {"conversations": [CONVERSATION[0], GPT], "kto_tag": True}),
]


def written(folder: Path, *rows: Any, name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def lint(folder: Path, *rows: Any, **options: Any) -> LintReport:
    return lint_file(written(folder, *rows), options=QUIET, **options)


@pytest.mark.parametrize(("shape", "row"), [*SHAPES.items(), *OTHER_FORMS])
def test_a_good_row_of_each_kind_has_nothing_wrong(tmp_path: Path, shape: str, row: dict[str, Any]) -> None:
    report = lint(tmp_path, row)

    assert (shape, 1, {}) == (report.shape, report.rows, report.counts)


@pytest.mark.parametrize("shape", ["messages", "prompt_completion", "preference", "kto", "canonical", "sharegpt"])
def test_the_chats_of_every_kind_are_rendered(tmp_path: Path, shape: str) -> None:
    report = lint(tmp_path, SHAPES[shape], template="{{ raise_exception('never') }}")

    assert report.counts["render_refused"] in {1, 2}


PLACES = [
    ("messages", ["messages", 3, "name"], None, Finding("null_key", "messages[3].name")),
    ("prompt_completion", ["completion", 0, "content"], 7, Finding("content_type", "completion[0].content", "7")),
    ("preference", ["rejected", 0, "role"], "bot", Finding("role_unknown", "rejected[0].role", "bot")),
    ("kto", ["prompt", 3, "tool_call_id"], "x", Finding("result_unasked", "prompt[3]", "x")),
    (
        "openai_preference",
        ["input", "messages", 0, "content"],
        "<|im_end|>",
        Finding("special_token", "input.messages[0].content", "<|im_end|>"),
    ),
    ("sharegpt", ["conversations", 0, "value"], None, Finding("content_null", "conversations[0].content")),
]


@pytest.mark.parametrize(("shape", "path", "value", "expected"), PLACES)
def test_a_finding_names_line_and_place(
    tmp_path: Path, shape: str, path: list[Any], value: Any, expected: Finding
) -> None:
    row = json.loads(json.dumps(SHAPES[shape]))
    inner = row
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    found = lint(tmp_path, SHAPES[shape], row).findings

    assert [(2, expected.code, expected.where, expected.detail)] == [
        (f.line, f.code, f.where, f.detail) for f in found if f.code == expected.code
    ]


def test_what_a_pair_shares_is_told_once(tmp_path: Path) -> None:
    shared = [{"role": "user", "content": None}]

    assert {"content_null": 1} == lint(
        tmp_path, {"prompt": shared, "chosen": [WORSE], "rejected": ANSWERED[-1:]}
    ).counts


def test_lint_row_judges_one_chat() -> None:
    assert [] == lint_row(ANSWERED, TOOLS)
    assert [] == lint_row(ANSWERED, TOOLS, template=template("md-json.jinja"))
    assert ["tools_empty"] == [finding.code for finding in lint_row(CHATS["plain"]["messages"], [])]
    assert ["messages_not_list"] == [finding.code for finding in lint_row("Hello")]
    assert ["message_invalid", "ends_without_answer"] == [f.code for f in lint_row([None], template=template("/props"))]


def test_what_a_template_does_with_argument_strings_is_asked_of_that_template() -> None:
    messages = CHATS["arguments as text"]["messages"]
    takes_both = ChatTemplate((LINT / "arguments_twice.jinja").read_text("utf-8").replace("| tojson)", "| string)"))

    assert ["arguments_string"] == [finding.code for finding in lint_row(messages, TOOLS)]
    assert [] == [finding.code for finding in lint_row(messages, TOOLS, template=takes_both)]


def test_in_the_form_of_the_wire_strings_are_meant_and_rendered_as_objects(tmp_path: Path) -> None:
    served = template("md-json.jinja")
    row = {"messages": with_text(ANSWERED), "tools": TOOLS}
    del row["messages"][2]["content"], row["messages"][3]["name"]
    options = LintOptions(batch_size=1, wire_form=True)

    assert {} == lint_file(written(tmp_path, row), options=options).counts
    assert {} == lint_file(written(tmp_path, row), template=served, options=options).counts
    assert {} == lint(tmp_path, SHAPES["openai_preference"], template=served).counts
    assert {"arguments_twice", "result_name_missing", "content_missing"} == set(
        lint(tmp_path, row, template=served).counts
    )


def test_a_broken_template_is_a_finding_and_the_rest_is_linted_without_it(tmp_path: Path) -> None:
    report = lint(tmp_path, {"messages": [WORSE, WORSE]}, template="{% for")

    assert {"template_broken": 1, "assistant_twice": 1} == report.counts
    assert report.template_sha is None


def test_a_report_says_with_which_template_it_was_made(tmp_path: Path) -> None:
    plain = template("md-json.jinja")
    report = lint(tmp_path, SHAPES["messages"], template=plain)

    assert plain.sha == content_hash("chat_template", plain.text).hex() == report.template_sha
    assert (0, 0) == (report.errors, report.warnings)


def test_errors_and_warnings_are_counted_and_written_as_json(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"messages": [{"role": "user", "content": null}]}\n\n')
    report = lint_file(path, options=QUIET)
    errors, warnings = {"ends_without_answer": 1, "blank_line": 1}, {"content_null": 1}

    assert errors | warnings == report.counts
    assert (2, 1) == (report.errors, report.warnings)
    assert {
        "path": str(path),
        "shape": "messages",
        "rows": 1,
        "columns": ["messages"],
        "errors": 2,
        "warnings": 1,
        "counts": report.counts,
        "template_sha": None,
        "findings": [
            {"code": "content_null", "severity": "warning", "line": 1, "where": "messages[0].content"},
            {"code": "ends_without_answer", "severity": "error", "line": 1, "where": "messages[0]", "detail": "user"},
            {"code": "blank_line", "severity": "error", "line": 2},
        ],
    } == json.loads(json.dumps(report.as_json()))


def test_many_findings_are_counted_and_the_first_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n" * 1000)
    report = lint_file(path)

    assert {"blank_line": 1000} == report.counts
    assert list(range(1, MAX_EXAMPLES + 1)) == [finding.line for finding in report.findings]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        texts = (json.dumps({"messages": ANSWERED, "tools": TOOLS, f"column {n}": n}) + "\n" for n in range(rows))
        path = tmp_path / f"{rows}.jsonl"
        path.write_text("".join(texts), "utf-8")
        tracemalloc.start()
        lint_file(path, options=LintOptions(chunk_bytes=10))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    lint_file(written(tmp_path, SHAPES["messages"]))  # what is loaded once

    assert peak(2000) < peak(500) + 500_000


def test_a_line_that_is_too_long_is_skipped_to_its_end(tmp_path: Path) -> None:
    path = written(tmp_path, {"text": "a" * 1000}, {"text": "b"})
    report = lint_file(path, options=LintOptions(batch_size=1, max_line_bytes=100))

    assert ({"line_too_long": 1}, 1) == (report.counts, report.rows)


def test_a_dialogue_in_two_files_is_found_also_where_one_row_continues_the_other(tmp_path: Path) -> None:
    first = written(tmp_path, {"messages": ANSWERED[:3], "tools": TOOLS}, name="train.jsonl")
    second = written(tmp_path, {"messages": ANSWERED, "tools": TOOLS}, name="valid.jsonl")
    third = written(tmp_path, {"messages": CHATS["plain"]["messages"], "tools": TOOLS}, name="test.jsonl")
    reports = lint_files([first, second, third], options=QUIET)

    assert [{}, {"shared_between_files": 1}, {}] == [report.counts for report in reports]


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        lint_file(tmp_path / "none.jsonl")


KEYS = ["messages", "role", "content", "tool_calls", "function", "name", "arguments", "id", "tool_call_id", "tools"]
KEYS += [
    "type",
    "prompt",
    "completion",
    "chosen",
    "rejected",
    "label",
    "conversations",
    "from",
    "value",
    "text",
    "system",
]
KEYS += ["parameters", "properties", "enum", "default", "items", "input", "preferred_output", "example_id", "kto_tag"]
WORDS = ["user", "assistant", "tool", "system", "human", "gpt", "function_call", "observation", "function", "{}", "[1]"]
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=25,
)
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(WORDS)},
        optional=dict.fromkeys(("content", "tool_calls", "tool_call_id", "name"), values),
    )
    | values,
    max_size=5,
)
columns = ("messages", "prompt", "completion", "chosen", "rejected", "conversations", "preferred_output")
rows = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(columns, messages | values)
    | {
        "tools": values,
        "label": values,
        "system": values,
        "input": st.fixed_dictionaries({"messages": messages}) | values,
    },
)
JUDGE = template("md-json.jinja")


@settings(max_examples=120, deadline=None)
@given(st.lists(rows | values, max_size=3))
def test_no_row_makes_the_lint_stop(tmp_path_factory: pytest.TempPathFactory, garbage: list[Any]) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in garbage), "utf-8")
    options = LintOptions(trajectories=True, batch_size=2, chunk_bytes=10)

    for chosen in (None, JUDGE):
        [one, _] = lint_files([path, path], template=chosen, options=options)

        assert one.counts.keys() <= CODES.keys()
        assert json.dumps(one.as_json())


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.binary(max_size=20) | st.sampled_from([b'{"text": "', b'"}', b"\n", b"\r\n", b"\xef\xbb\xbf", b"[" * 200])
    )
)
def test_no_bytes_make_the_lint_stop(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    path = tmp_path_factory.getbasetemp() / "garbage.bin"
    path.write_bytes(b"".join(pieces))

    assert lint_file(path).counts.keys() <= CODES.keys()
