import json
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog import ToolLog
from tarx_toollog.export.normalise import Normaliser
from tarx_toollog.export.redact import MARK
from tarx_toollog.export.sources.pairs import kto_examples
from tarx_toollog.export.sources.steps import LogOptions
from tests.unit.cli.samples import Chat, call, good_chat, tool, write_log
from tests.unit.export.sources.mining import (
    LEAKED,
    RECALL,
    add_labels,
    examples,
    judged,
    kto,
    labelled,
    on_call,
    on_exchange,
    retried,
    written,
)

DOG_TEXT = '{"key": "dog", "value": "Rex"}'
WITHOUT_VALUE = '{"key": "dog"}'


def test_what_passes_the_gate_is_good_and_what_is_itself_wrong_is_bad(tmp_path: Path) -> None:
    chat = Chat("kinds").user("a").answer("Good.")
    chat.user("b").answer(None, call("tarx_fly", "{}", "c1")).result("error: no such tool", "c1").answer("No.")
    chat.user("c").answer(None, call("tarx_remember", WITHOUT_VALUE, "c2")).result("error: no value", "c2").answer(
        "No."
    )
    chat.user("d").answer(LEAKED).user("e").answer(None, call("tarx_recall", "{", "c3"))

    assert [True, False, True, False, True, False, "invalid_arguments"] == labelled(judged(tmp_path, chat))


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (DOG_TEXT, False),
        ('{"key": "hound", "value": "Rex"}', "same_again"),
        ('{"key": "id-7", "value": "Rex"}', "needs_error"),
    ],
)
def test_an_error_counts_against_a_call_only_when_a_retry_mended_it(tmp_path: Path, second: str, expected: Any) -> None:
    chat = retried('{"key": "hound", "value": "Rex"}', "error: no such key, try id-7", second)

    assert expected == labelled(judged(tmp_path, chat))[0]


def test_an_error_that_nothing_mended_says_nothing_about_its_call(tmp_path: Path) -> None:
    chat = Chat("e").user("Cat?").answer(None, call("tarx_recall", RECALL)).result("error: disk full").answer("Sorry.")

    assert ["not_mended", True] == labelled(judged(tmp_path, chat))


def test_a_label_on_an_answer_or_on_its_call_makes_it_bad(tmp_path: Path) -> None:
    chat = good_chat()
    labels = [on_exchange(chat, 1, value_text="wrong"), on_call(chat, 2, value_num=-1.0)]
    assert [True, False, False, True] == labelled(judged(tmp_path, chat, labels=labels))


def test_a_label_on_the_conversation_says_nothing_about_one_answer(tmp_path: Path) -> None:
    settings = write_log(tmp_path / "t.db", good_chat())
    with ToolLog.open(settings=settings) as log:
        uid = next(log.trajectories()).conversation_uid
    add_labels(settings, [{"target_type": "conversation", "target_uid": uid, "value_num": -1.0}])
    with ToolLog.open(settings=settings) as log:
        assert ["labelled_bad"] * 4 == labelled(kto(log))


def test_a_mark_that_breaks_a_schema_spoils_a_good_answer_and_not_a_bad_one(tmp_path: Path) -> None:
    chat = Chat("mark", tools=[tool("tarx_recall", query="string")])
    chat.tools[0]["function"]["parameters"]["properties"]["query"]["maxLength"] = 3
    chat.user("Cat?").answer(None, call("tarx_recall", RECALL, "c1")).result("Miez", "c1")
    chat.answer(None, call("tarx_recall", '{"query": "a cat"}', "c2")).result("no", "c2").answer("Miez.")
    clean = Normaliser(lambda message: json.loads(json.dumps(message).replace("cat", f"{MARK}NAME:1")))
    with written(tmp_path, chat) as log:
        found = list(kto_examples(log.trajectories(), clean, LogOptions(), lambda: None))

    assert ["redaction_breaks_schema", False, True] == labelled(found)


def test_a_judged_answer_has_the_tokens_that_the_server_counted(tmp_path: Path) -> None:
    (example, *_) = examples(judged(tmp_path, good_chat()))

    assert (100, 10, None) == (example.input_tokens, example.output_tokens, example.rejected)
