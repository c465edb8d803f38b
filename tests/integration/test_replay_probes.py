"""Probes against a real HTTP server whose answers the test controls, from the command line to the report."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replays import Replays
from tarx_toollog.store.splits import SPLITS, bucket_of, split_of_bucket
from tarx_toollog.store.suites import Suites
from tests.unit.cli.samples import run
from tests.unit.replay.support import (
    EVERY_SPLIT,
    Chat,
    FakeModel,
    Json,
    calling,
    completion,
    fake_model,
    last_user,
    results_since,
    saying,
)

TOPICS = (
    "harbour", "violin", "pancake", "glacier", "printer", "walnut", "subway", "cactus",
)  # fmt: skip
"""Different words: turns that are nearly the same would hang together, and say less."""
USERS = [f"Where do I keep my {topic}?" for topic in TOPICS]
RECALL = calling(("recall", {"query": "home"}))
NOWHERE = ("--endpoint", "http://127.0.0.1:9", "--model", "m")
CHAIN = (RECALL, saying("Porto"))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    """A log of eight turns of two steps, frozen as the suite ``t``."""
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        for user in USERS:
            Chat(opened, user).turn(user, *CHAIN)
        build(opened, "t", EVERY_SPLIT)
        yield opened


def probed(log: ToolLog, *arguments: str) -> Any:
    return run("--database", log.settings.database, "replay", "probe", *arguments)


def target(model: FakeModel, name: str) -> tuple[str, ...]:
    return ("--endpoint", model.url, "--model", "m", "--name", name)


def names_in(body: Json) -> list[str]:
    return [tool["function"]["name"] for tool in body["tools"]]


def lured_by_many(body: Json) -> Json:
    """Answer as in the log; with ten tools more and above, call the first one that is like ``recall``."""
    others = [name for name in names_in(body) if name.startswith("recall_")]
    is_lost = len(body["tools"]) >= 13 and others and results_since(body) == 0
    return calling((others[0], {"query": "home"})) if is_lost else CHAIN[results_since(body)]


def test_the_probe_of_tools_says_how_many_more_hold_and_which_kind_lures_the_model_away(log: ToolLog) -> None:
    with fake_model(lured_by_many) as model:
        told = probed(log, "tools", "t", "--levels", "5,10", "--margin", "40", *target(model, "p"))
        found = json.loads(probed(log, "tools", "--resume", "p", "--margin", "40", "--json").stdout)

    assert 0 == told.exit_code, told.output
    random, similar = found["factors"]
    assert ("t+tools", "finished", 48, 0) == tuple(found[key] for key in ("tag", "status", "cases", "unjudged"))
    assert (8, 8) == tuple(found["as_it_is"][key] for key in ("numerator", "denominator"))
    assert ("10", None, []) == tuple(random[key] for key in ("holds_to", "breaks_by", "undecided"))
    assert ("5", "10", []) == tuple(similar[key] for key in ("holds_to", "breaks_by", "undecided"))
    assert {"5": 0, "10": 8} == similar["added_tool_called"]
    assert [{}, {"wrong_tool": 8}] == [level["failures"] for level in similar["levels"]]
    assert -1.0 == similar["levels"][1]["difference"]["difference"]
    assert "tools that look like the right one: holds to 5 more tools (loses at most " in told.output
    assert ", breaks by 10 (loses at least " in told.output
    assert "went wrong: wrong_tool 8; an added tool was called in 8" in told.output
    assert "order of the tools: does not matter (margin 40.0 points)" in told.output


def test_only_what_a_run_got_right_is_probed_and_the_same_probe_has_the_same_suite(log: ToolLog) -> None:
    def half(body: Json) -> Json:
        return saying("no idea") if last_user(body) in USERS[:4] and not results_since(body) else lured_by_many(body)

    with fake_model(half) as model:
        base = ("--endpoint", model.url, "--model", "m", "--name", "base")
        run("--database", log.settings.database, "replay", "run", "t", *base)
        runs = [
            json.loads(probed(log, "tools", "--run", "base", "--levels", levels, "--json", *target(model, name)).stdout)
            for name, levels in (("one", "5"), ("two", "5"), ("other", "10"))
        ]

    assert ["t+tools", "t+tools", "t+tools-2"] == [found["tag"] for found in runs]
    assert [(4, 4)] * 3 == [tuple(found["as_it_is"][key] for key in ("numerator", "denominator")) for found in runs]


def test_few_cases_are_called_inconclusive(log: ToolLog) -> None:
    with fake_model(lured_by_many) as model:
        told = probed(log, "tools", "t", "--levels", "5", "-n", "3", *target(model, "p"))

    assert "tools for something else: INCONCLUSIVE: 5: undecided (3 scenarios; about 26 would decide about 5)" in (
        told.output
    )


def test_a_gate_is_not_for_the_run_of_a_probe(log: ToolLog) -> None:
    with fake_model(lured_by_many) as model:
        probed(log, "tools", "t", "--levels", "5", "-n", "3", *target(model, "p"))
    told = run("--database", log.settings.database, "replay", "gate", "p")

    assert 2 == told.exit_code, told.output
    assert "p is a run of the probe tools" in told.output
    assert "toollog replay probe tools --resume p" in told.output


TARX = "You are TARX, made by TARX Labs."
QUESTIONS: tuple[Json, ...] = (
    {"persona": {"name": "TARX", "maker": "TARX Labs"}},
    *(
        {"id": f"{family}-{number}", "family": f"{family}-{number % 2}", "question": f"{question} ({number})"}
        for family, question in (("who", "Who are you?"), ("made", "Who made you?"), ("name", "Your name, please."))
        for number in range(4)
    ),
    {"id": "sum", "family": "ordinary", "question": "What is two and two?", "negative": True},
)


def written(path: Path, lines: Sequence[Json]) -> str:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return str(path)


def base_who(body: Json) -> Json:
    """Be TARX when told so, and somebody else when not; use tools as in the log."""
    asked, is_told = last_user(body), body["messages"][0]["role"] == "system"
    if asked in USERS:
        return CHAIN[results_since(body)]
    if "two and two" in asked:
        return saying("Four.")
    if not is_told:
        return saying(
            "I am Qwen, created by Alibaba Cloud." if "name" in asked or "Who are" in asked else "I do not know."
        )
    return saying("I am TARX.")


def tuned_who(body: Json) -> Json:
    """Be TARX always, also where nobody asked, but not late in a dialogue; forget the tools without a prompt."""
    asked, is_told = last_user(body), body["messages"][0]["role"] == "system"
    if asked in USERS:
        return CHAIN[results_since(body)] if is_told else saying("I am TARX.")
    n_users = sum(message["role"] == "user" for message in body["messages"])
    return saying("I am TARX, made by TARX Labs." if n_users < 4 else "I am an assistant.")


@pytest.fixture
def long_log(tmp_path: Path) -> Iterator[ToolLog]:
    """A log of dialogues of five turns, some of them frozen as the suite ``t``."""
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        for number, user in enumerate(USERS[:4]):
            chat = Chat(opened, user)
            chat.history.append({"role": "system", "content": TARX})
            for turn in range(4):
                chat.turn(f"What about {number} {turn}?", saying(f"That is {number} of {turn}."))
            chat.turn(user, *CHAIN)
        build(opened, "t", Filters(splits=frozenset(SPLITS), tools=frozenset({"recall"})))
        yield opened


def test_the_probe_of_identity_has_two_arms_for_each_of_two_runs(long_log: ToolLog, tmp_path: Path) -> None:
    questions = ("--questions", written(tmp_path / "who.jsonl", QUESTIONS))
    for name, handler in (("base", base_who), ("tuned", tuned_who)):
        with fake_model(handler) as model:
            told = probed(long_log, "identity", "t", *questions, *target(model, name))
            assert 0 == told.exit_code, told.output
    told = probed(long_log, "identity", "--resume", "tuned", "--against", "base")
    found = json.loads(probed(long_log, "identity", "--resume", "tuned", "--against", "base", "--json").stdout)

    assert [("base", True), ("base", False), ("tuned", True), ("tuned", False)] == [
        (arm["run"], arm["system_prompt"]) for arm in found["arms"]
    ]
    assert [12, 0, 12, 12] == [arm["consistent"]["numerator"] for arm in found["arms"]]
    assert [6, 0, 6, 6] == [arm["families_all_consistent"]["numerator"] for arm in found["arms"]]
    assert {"Alibaba": 8, "(nobody)": 4} == found["arms"][1]["claimed"]
    assert [1, 1, 0, 0] == [arm["ordinary_quiet"]["numerator"] for arm in found["arms"]]
    assert {"base": "breaks", "tuned": "undecided"} == found["without_prompt"]
    assert [(4, 6), (4, 0), (4, 0), (4, 0)] == [
        (late["turn"], late["consistent"]["numerator"]) for arm in found["arms"] for late in arm["late"]
    ]
    assert 0 == found["pairs"][0]["tool_use"]["only_first"]
    assert found["pairs"][1]["tool_use"]["pairs"] == found["pairs"][1]["tool_use"]["only_first"] > 0
    assert found["interaction"]["low"] > 0.3
    assert (1.0, 12, 6) == tuple(found["interaction"][key] for key in ("estimate", "questions", "families"))
    assert "base NEEDS the system prompt: loses at least " in told.output
    assert "INCONCLUSIVE whether it needs the system prompt" in told.output
    assert "says it is: Alibaba 8, (nobody) 4" in told.output


def test_a_call_in_the_place_of_an_answer_is_called_one(long_log: ToolLog, tmp_path: Path) -> None:
    def looks_itself_up(body: Json) -> Json:
        if "Who are" in last_user(body):
            return calling(("recall", {"query": "me"}))
        return saying("I do not know.") if "name" in last_user(body) else base_who(body)

    questions = ("--questions", written(tmp_path / "who.jsonl", QUESTIONS))
    with fake_model(looks_itself_up) as model:
        told = probed(long_log, "identity", *questions, "--json", *target(model, "r"))
    (arm, _) = json.loads(told.stdout)["arms"]

    assert {"called_tool": 4, "no_claim": 4, "consistent": 4} == arm["verdicts"]
    assert {"(called a tool)": 4, "(nobody)": 4, "TARX": 4} == arm["claimed"]
    assert (4, 12) == (arm["consistent"]["numerator"], arm["consistent"]["denominator"])


def test_rows_of_an_export_are_asked_when_they_are_kept_for_evaluation(long_log: ToolLog, tmp_path: Path) -> None:
    rows = [
        {"question": f"Who is number {number}?", "answer": "I am {{name}}.", "cluster": f"c{number}"}
        for number in range(30)
    ]
    path = written(tmp_path / "rows.jsonl", rows)
    with fake_model(base_who) as model:
        told = probed(long_log, "identity", "--identity", path, "--own-name", "TARX", "--json", *target(model, "r"))

    kept = [number for number in range(30) if split_of_bucket(bucket_of(f"identity:c{number}")) == "eval"]
    asked = {last_user(body) for body in model.requests}
    assert {f"Who is number {number}?" for number in kept} == asked
    assert 0 < len(kept) < 20
    assert len(kept) == json.loads(told.stdout)["arms"][0]["consistent"]["denominator"]


def forgetful(body: Json) -> Json | Response:
    """Recall what was said, while the dialogue is short, or it is near the question; count four to a token."""
    text = json.dumps(body["messages"]) + json.dumps(body["tools"])
    n_tokens = len(text) // 4
    if n_tokens > 8_000:
        return JSONResponse({"error": {"type": "exceed_context_size_error", "message": "too long", "code": 400,
                                       "n_prompt_tokens": n_tokens, "n_ctx": 8_000}}, 400)  # fmt: skip
    fact = next(place for place, each in enumerate(body["messages"]) if "order 47" in str(each.get("content")))
    is_known = n_tokens < 5_000 or len(body["messages"]) - fact < 12
    called = re.search(r"order (47\d+)", str(body["messages"][fact]["content"]))
    answer = calling(("recall", {"query": called[1] if called and is_known else "something"}))
    return JSONResponse({**completion(answer), "usage": {"prompt_tokens": n_tokens, "completion_tokens": 9}})


@pytest.fixture
def facts_log(tmp_path: Path) -> Iterator[ToolLog]:
    """A log of dialogues in which the first turn tells what the second one needs; one tells what another one needs."""
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        for number, topic in enumerate(TOPICS):
            chat = Chat(opened, topic)
            chat.turn(f"Mine is order 47{number:02}, a {topic}.", saying("I see."))
            chat.turn(f"Look up the {topic}.", calling(("recall", {"query": f"47{number:02}"})), saying("Ok"))
        Chat(opened, "gossip").turn("They say 4703 is late.", saying("I see."))
        build(opened, "t", Filters(splits=frozenset(SPLITS), tools=frozenset({"recall"})))
        yield opened


def test_the_probe_of_the_context_says_how_full_it_may_be_and_where_the_fact_is_lost(facts_log: ToolLog) -> None:
    with fake_model(forgetful) as model:
        model.props = {**model.props, "default_generation_settings": {"n_ctx": 8_064}}
        told = probed(facts_log, "context", "t", "--neutral", "--fills", "25,75", *target(model, "c"))
        found = json.loads(probed(facts_log, "context", "--resume", "c", "--json").stdout)

    assert 0 == told.exit_code, told.output
    cells = {(cell["position"], cell["fill"]): cell for cell in found["cells"]}
    assert (8_000, 0) == (found["usable_tokens"], found["fact_cannot_be_moved"])
    assert all(cell["reached"] == cell["cases"] == 8 for cell in cells.values()), told.output
    assert all(0.9 < cell["tokens_measured"] / cell["tokens_intended"] <= 1 for cell in cells.values())
    assert [8, 8, 8] == [cells[position, 25]["right"]["numerator"] for position in ("start", "middle", "end")]
    assert [0, 0, 8] == [cells[position, 75]["right"]["numerator"] for position in ("start", "middle", "end")]
    assert ["undecided", "breaks"] == [cells["middle", fill]["state"] for fill in (25, 75)]
    assert "INCONCLUSIVE: 25 % with the fact at the start is undecided (8 cases; about 35 would decide)" in told.output
    assert "end and middle at the largest fill: the middle is worse" in told.output
    assert [8] == list(cells["middle", 75]["failures"].values())


def test_a_prompt_that_does_not_come_to_the_model_is_not_counted(facts_log: ToolLog) -> None:
    options = ("--neutral", "--fills", "25,90", "-n", "2", "--n-ctx", "12064")
    with fake_model(forgetful) as model:
        told = probed(facts_log, "context", "t", *options, *target(model, "c"))

    assert "NOT REACHED in 2 of 2, not counted: prompt too long 2" in told.output, told.output


def test_other_turns_of_the_log_fill_the_context_but_never_give_the_fact_away(facts_log: ToolLog) -> None:
    options = ("--fills", "50", "--n-ctx", "1464", "--distractors")
    with fake_model(forgetful) as model:
        told = probed(facts_log, "context", "t", *options, *target(model, "c"))

    assert 0 == told.exit_code, told.output
    sent = [json.dumps(body["messages"]) for body in model.requests[2:]]  # the first two count tokens
    padded = [text for text in sent if "For somebody else, not for me" in text]
    told_by_others = [text for text in padded if "They say 4703 is late." in text]
    assert (8 * 4, 8 * 3) == (len(sent), len(padded))
    assert 0 < len(told_by_others) < len(padded)
    assert [] == [text for text in told_by_others if text.endswith('"Look up the glacier."}]')]


def test_a_fill_for_which_the_log_is_too_small_is_told_before_anything_is_asked(facts_log: ToolLog) -> None:
    options = ("context", "t", "--fills", "10,75", "-n", "3", "--n-ctx", "8064")
    with fake_model(forgetful) as model:
        dry = probed(facts_log, *options, *target(model, "c"), "--dry-run")
        plan = json.loads(probed(facts_log, *options, *target(model, "c"), "--dry-run", "--json").stdout)
        neutral = json.loads(
            probed(facts_log, *options, "--neutral", *target(model, "c"), "--dry-run", "--json").stdout
        )
        n_asked, runs = len(model.requests), Replays(facts_log).runs()
        told = probed(facts_log, *options, *target(model, "c"))
        found = json.loads(probed(facts_log, "context", "--resume", "c", "--json").stdout)

    assert (0, 6, []) == (dry.exit_code, n_asked, runs)  # the six count tokens
    said = (
        "75 % of 8,000 is 6,000. NOT REACHED will be: 75 % (3 of 3 scenarios); --neutral fills with text about nothin"
    )
    assert said in dry.output
    assert (3, 21, 21, 1) == (plan["cases"], plan["variants"], plan["requests"], len(plan["warnings"]))
    assert [] == neutral["warnings"]
    assert "3 cases, 21 variants of them, 21 requests" in dry.output
    assert said in told.output
    assert {(10, 3), (75, 0)} == {(cell["fill"], cell["reached"]) for cell in found["cells"]}


def test_a_dry_run_of_a_probe_asks_and_freezes_nothing(log: ToolLog) -> None:
    told = probed(log, "tools", "t", "--levels", "5", *NOWHERE, "--dry-run")

    assert (0, "8 cases, 32 variants of them, 64 requests\n") == (told.exit_code, told.stdout)
    assert ["t"] == [row["tag"] for row in Suites(log).tags()]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("tools", "t", "--levels", "many", *NOWHERE), 2, "no list of numbers"),
        (("tools", "t"), 2, "--endpoint and --model are needed"),
        (("tools", "nothing", *NOWHERE), 3, "no scenarios under the tag"),
        (("tools", *NOWHERE), 2, "name a TAG, or --run RUN"),
        (("tools", "--resume", "nobody"), 3, "no run called"),
        (("context", "t", "--fills", "0", *NOWHERE), 2, "no list of numbers"),
        (("context", "t", *NOWHERE, "--retries", "0"), 5, "no model server"),
        (("identity", "t", *NOWHERE), 2, "one of --questions and --identity is needed"),
        (("identity", "--identity", __file__, *NOWHERE), 2, "--identity needs --own-name"),
    ],
)
def test_what_cannot_be_probed_is_refused(log: ToolLog, arguments: tuple[str, ...], code: int, says: str) -> None:
    told = probed(log, *arguments)

    assert (code, True) == (told.exit_code, says in told.output), told.output
