"""Pairs and judged answers, mined from logs of every kind: made at random, of other protocols, replayed for real."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from tarx_toollog import ToolLog
from tarx_toollog.export.example import Example, Piece, Refused
from tarx_toollog.export.gate import GateOptions, problem_of
from tarx_toollog.export.normalise import Normaliser
from tarx_toollog.export.reasons import REASONS
from tarx_toollog.export.sources.answers import is_possible, same_answer
from tarx_toollog.export.sources.steps import LogOptions
from tarx_toollog.export.sources.variants import variant_examples
from tarx_toollog.model import Exchange
from tarx_toollog.replay.running.asking import Overrides
from tarx_toollog.replay.running.runner import RunRequest, replay
from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.schema import conversation
from tarx_toollog.store.variants import Variants
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.raw import Begin, Chunk, End, RawExchange, ResponseStart
from tests.unit.cli.samples import JSON_TYPE, START_NS, TOOLS, Chat, call, write_log
from tests.unit.export.sources.mining import (
    LEAKED,
    Found,
    add_labels,
    brief,
    corrected_examples,
    dpo,
    examples,
    kto,
    on_call,
    on_exchange,
    said,
    written,
)
from tests.unit.replay import support

# ---- any log ---------------------------------------------------------------------------------------------------------

GOOD = ("tarx_remember", '{"key": "dog", "value": "Rex"}', "saved")
MOVES: dict[str, tuple[str, str, str]] = {
    "good": GOOD,
    "slow": (*GOOD[:2], "error: timed out"),
    "schema": ("tarx_remember", '{"key": "dog"}', "error: value is missing"),
    "error": ("tarx_remember", '{"key": "hound", "value": "Rex"}', "error: no such key"),
    "told": ("tarx_remember", '{"key": "dog", "value": "u-17"}', "error: try u-17"),
    "unknown": ("tarx_fly", "{}", "error: no such tool"),
    "broken": ("tarx_recall", '{"query": ', "error: no JSON"),
}
CORRECTIONS: list[Any] = [
    {"content": "Rex."},
    {"content": "Done."},
    {"name": "tarx_recall", "arguments": {"query": "dog"}},
    {"name": "tarx_recall", "arguments": {}},
    "no",
]
_turns = st.lists(st.lists(st.sampled_from([*MOVES, "leaked", "again", "cut"]), max_size=4), min_size=1, max_size=3)
_corrections = st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.sampled_from(CORRECTIONS)), max_size=3)


def chat_of(turns: list[list[str]]) -> Chat:
    """Return a chat in which the model does what the turns say, and then answers."""
    chat = Chat("random")
    for number, moves in enumerate(turns):
        chat.user(f"Remember my dog, {number}.")
        for place, move in enumerate(moves):
            call_id = f"c{number}_{place}"
            if move in MOVES:
                name, arguments, result = MOVES[move]
                chat.answer(None, call(name, arguments, call_id)).result(result, call_id)
            elif move == "leaked":
                chat.answer(LEAKED)
            elif move == "cut":
                chat.answer("I wi", finish="length")
            elif chat.messages[-1]["role"] == "assistant":
                chat.messages = chat.messages[:-1]
        chat.answer("Done.")
    return chat


@given(turns=_turns, corrections=_corrections)
def test_every_pair_has_two_answers_and_every_judged_answer_the_label_of_the_gate(
    turns: list[list[str]], corrections: list[tuple[int, bool, Any]]
) -> None:
    chat = chat_of(turns)
    labels = [
        (on_call if at_call else on_exchange)(chat, number % len(chat.exchanges), correction=correction)
        for number, at_call, correction in corrections
    ]
    with tempfile.TemporaryDirectory() as folder, written(Path(folder), chat, labels=labels) as log:
        trajectories = list(log.trajectories())
        steps = {step.exchange_uid: step for one in trajectories for step in one.steps}
        pairs, judged = dpo(log), kto(log)
        assert list(map(identity, pairs)) == list(map(identity, dpo(log)))

    for found in (pairs, judged):
        on_main_line = [item.origin.exchange_uid for item in found if item.origin.exchange_uid in steps]
        assert list(steps) == on_main_line  # each once, in order
        assert not {item.reason for item in found if isinstance(item, Refused)} - REASONS.keys()
    assert len({example.hash for example in examples(pairs)}) == len(examples(pairs))
    for example in examples(pairs):
        check_pair(example)
    for item in judged:
        problem = problem_of(steps[str(item.origin.exchange_uid)], GateOptions())
        if isinstance(item, Example):
            assert (problem is None) is item.label
        elif problem is None:
            assert item.reason in ("history_arguments", "no_answer")


def identity(item: Found) -> Any:
    return (item.hash if isinstance(item, Example) else item.reason), item.origin


def check_pair(example: Example) -> None:
    chosen, rejected = example.messages[-1], example.rejected
    assert rejected is not None
    assert not same_answer(chosen.value, rejected.value)
    assert is_possible(chosen.value, example.tools)
    assert example.tools is not None
    assert TOOLS == example.tools.value
    assert ["assistant", "assistant"] == [chosen.value["role"], rejected.value["role"]]
    for piece in (*example.messages, rejected):
        assert piece.value == json.loads(piece.text)
        assert piece.text == Piece(piece.value).text


# ---- other protocols -------------------------------------------------------------------------------------------------


def anthropic(number: int, messages: list[dict[str, Any]], content: list[dict[str, Any]]) -> Exchange:
    schema = TOOLS[1]["function"]
    tools = [{"name": schema["name"], "description": "Keep.", "input_schema": schema["parameters"]}]
    body = json.dumps({"model": "m", "max_tokens": 9, "messages": messages, "tools": tools}).encode()
    stop = "tool_use" if content[-1]["type"] == "tool_use" else "end_turn"
    answer = {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": "m", "content": content}
    data = json.dumps({**answer, "stop_reason": stop, "usage": {"input_tokens": 9, "output_tokens": 3}}).encode()
    begin = Begin(
        f"01a20000-0000-7000-8000-{number:012}", "proxy", "POST", "/v1/messages", START_NS + number * 10**9, JSON_TYPE,
        conversation_hint="a", hint_source="header", body_size=len(body),
    )  # fmt: skip
    response = ResponseStart(200, JSON_TYPE, 1)
    return decode(RawExchange(begin, body, response, (Chunk(2, data),), End(3, final_seen=True, body_size=len(data))))


def test_a_retry_and_a_correction_are_mined_from_another_protocol_too(tmp_path: Path) -> None:
    def use(number: int, given: dict[str, Any]) -> dict[str, Any]:
        return {"type": "tool_use", "id": f"toolu_{number}", "name": "tarx_remember", "input": given}

    def result(number: int, text: str, **keys: Any) -> dict[str, Any]:
        block = {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": text, **keys}
        return {"role": "user", "content": [block]}

    wrong, right = use(1, {"key": "dog"}), use(2, {"key": "dog", "value": "Rex"})
    first: list[dict[str, Any]] = [{"role": "user", "content": "Rex is my dog."}]
    second = [*first, {"role": "assistant", "content": [wrong]}, result(1, "value is missing", is_error=True)]
    third = [*second, {"role": "assistant", "content": [right]}, result(2, "ok")]
    made = [anthropic(1, first, [wrong]), anthropic(2, second, [right])]
    made.append(anthropic(3, third, [{"type": "text", "text": "Done."}]))
    chat = Chat("a")
    chat.exchanges = made
    with written(tmp_path, chat, labels=[on_exchange(chat, 2, correction={"content": "Noted."})]) as log:
        found = dpo(log)
        mended = list(corrected_examples(log.trajectories(), Normaliser(), LogOptions(), lambda: None))

    pair = ([("tarx_remember", right["input"])], [("tarx_remember", wrong["input"])])
    assert [pair, "no_pair", ("Noted.", "Done.")] == brief(found)
    assert ["Noted."] == [said(example.messages[-1].value) for example in examples(mended)]


# ---- answers beside the main line ------------------------------------------------------------------------------------


def test_what_a_workbench_was_answered_is_followed_where_its_own_answer_is(tmp_path: Path) -> None:
    """Each inbound exchange made an inner one, and said its answer in other words: the user goes on from those."""

    def told(end: str) -> Chat:
        chat = Chat("outer").user("What is two and two?").answer(f"Five{end}")
        chat.messages = chat.messages[:-1]
        return chat.answer(f"Four{end}").user("Thanks.").answer(f"Welcome{end}")

    chat = told("!")
    made: list[Exchange] = []
    for outer, inner in zip(chat.exchanges, told(".").exchanges, strict=True):
        asked = replace(inner, request=outer.request, leg="transport", outer_uid=outer.uid)
        made += [replace(outer, leg="middleware", started_ns=outer.started_ns - 10**8), asked]
    chat.exchanges = made
    with written(tmp_path, chat) as log:
        assert ["no_pair", ("Four.", "Five."), "no_pair"] == brief(dpo(log))


def test_two_exchanges_of_a_main_line_are_no_choice_between_their_answers(tmp_path: Path) -> None:
    chat = Chat("twice").user("Hello").answer("Hello!")
    chat.messages = chat.messages[:-1]
    with written(tmp_path, chat.answer("Good morning!")) as log:
        ids = [row[0] for row in log.query("SELECT id FROM exchange ORDER BY id").rows]
        found = Variants(log)
        assert [ids[1]] == list(found.others(ids[1:]))
        assert {} == found.others(ids)


def test_other_answers_are_found_for_as_many_exchanges_as_one_likes(tmp_path: Path) -> None:
    chat = Chat("long")
    for number in range(40):
        chat.user(f"Question {number}?").answer(f"Wrong {number}.")
        chat.messages = chat.messages[:-1]
        chat.answer(f"Right {number}.")
    with written(tmp_path, chat) as log:
        ids = [step.exchange_id for one in log.trajectories() for step in one.steps]
        found = Variants(log).others([*ids, *range(10_000, 10_400)])

    assert 40 == len(found)
    assert [True] * 39 + [False] == [other.is_left for others in found.values() for other in others]
    (last,) = found[ids[-1]]
    assert last.step.output is not None
    assert "Wrong 39." == last.step.output["content"]


def test_a_label_on_an_answer_beside_the_main_line_makes_it_the_worse_one(tmp_path: Path) -> None:
    chat = Chat("beside").user("What is two and two?").answer("Five.")
    chat.messages = chat.messages[:-1]
    settings = write_log(tmp_path / "t.db", chat.answer("Four."))
    found = []
    for labels in ([], [on_exchange(chat, 0, value_text="wrong")]):
        add_labels(settings, labels)
        with ToolLog.open(settings=settings) as log:
            found.append(brief(dpo(log))[1])

    assert ["not_preferred", ("Four.", "Five.")] == found


# ---- replays ---------------------------------------------------------------------------------------------------------


def test_two_models_that_were_replayed_on_one_scenario_give_pairs(tmp_path: Path) -> None:
    recall, other = ("recall", {"query": "home"}), ("recall", {"query": "work"})

    def handler(body: support.Json) -> support.Json:
        if support.results_since(body):
            return support.saying("In Porto.")
        return support.calling(other if body["model"] == "small" else recall)

    path = tmp_path / "t.db"
    with ToolLog.open(path, read_only=False) as log, support.fake_model(handler) as model:
        answers = (support.calling(recall), support.saying("In Porto."))
        support.Chat(log, "chat").turn("Where do I live?", *answers, result="Porto")
        with log.engine.begin() as connection:
            connection.execute(sa.update(conversation).values(split="train"))
        build(log, "t", Filters(splits=frozenset({"train"})))
        for name in ("small", "large"):
            replay(log, RunRequest(name, "t", model.url, Overrides(name)))
    with ToolLog.open(path) as log:
        found: list[Found] = list(variant_examples(log, ["small", "large"], Normaliser(), LogOptions(), lambda: None))

    assert [([recall], [other]), "no_pair", "no_pair", "no_pair"] == brief(found)
