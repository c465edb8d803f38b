"""What the queue proposes from the log alone, in which order, and its page."""

import re
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import httpx
import pytest

from tarx_toollog.replay.running.asking import Overrides
from tarx_toollog.replay.running.runner import RunRequest, replay
from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.replay.suites.label_queue import RUNS_DISAGREE, disputed_answers, queue
from tarx_toollog.store.answers.label_queue import LabelQueue, Proposal
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.labels import QUALITY, Labels, NewLabel
from tarx_toollog.store.log import ToolLog
from tests.support.web_pages import SCRIPT, served_pages
from tests.unit.replay.support import EVERY_SPLIT, Chat, calling, fake_model, saying

RECALL = ("recall", {"query": "home"})


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        yield opened


def often(log: ToolLog) -> None:
    """Log calls of a tool that nobody needs to look at: many, right, and in short chains."""
    chat = Chat(log, "often")
    for _ in range(20):
        chat.turn("often", calling(RECALL, RECALL, RECALL), saying("done"))


def proposed(log: ToolLog, limit: int = 20, disputed: tuple[str, ...] = ()) -> list[Proposal]:
    return LabelQueue(log).proposals(limit, disputed=disputed)


def keep_for(log: ToolLog, **splits: str) -> None:
    """Decide what chance has decided, by the client's own id."""
    with log.engine.begin() as connection:
        for name, split in splits.items():
            connection.exec_driver_sql("UPDATE conversation SET split = ? WHERE external_id = ?", (split, name))


def told(found: list[Proposal]) -> list[tuple[str, str]]:
    return [(one.reason, one.tool) for one in found]


@pytest.mark.parametrize(
    ("call", "result", "reason"),
    [
        (("recall", '{"query": '), "ok", "invalid"),
        (("recall", {"query": 5}), "ok", "schema"),
        (("nobody", {}), "ok", "not_offered"),
        (RECALL, '{"error": "no such place"}', "error"),
    ],
)
def test_a_call_that_went_wrong_is_proposed_and_says_how(
    log: ToolLog, call: tuple[str, object], result: str, reason: str
) -> None:
    often(log)
    Chat(log, "c").turn(SCRIPT, calling(call), saying("sorry"), result=result)

    (one,) = proposed(log)
    assert (reason, call[0], SCRIPT, 1, 1, 1) == (
        one.reason, one.tool, one.user_text, one.chain_length, one.turn_no, one.step_no
    )  # fmt: skip
    assert f"{one.exchange_uid}.0.0" == one.target.uid
    assert result == one.result


def test_a_call_in_the_text_of_an_answer_is_proposed(log: ToolLog) -> None:
    leaked = '<tool_call>{"name": "recall", "arguments": {"query": "x"}}</tool_call>'
    Chat(log, "c").turn("u", saying(leaked))
    assert [("leaked", "recall")] == told(proposed(log))


def test_tools_that_are_seldom_called_and_long_chains_are_proposed(log: ToolLog) -> None:
    often(log)
    Chat(log, "c").turn("seldom", calling(("save", {"title": "x"})), saying("done"))
    Chat(log, "d").turn("long", *[calling(RECALL) for _ in range(5)], saying("the end"))

    found = proposed(log)
    assert ("rare", "save") in told(found)
    deep = next(one for one in found if one.user_text == "long")
    assert ("deep", "exchange", "the end", 5) == (deep.reason, deep.target.type, deep.answer, deep.chain_length)
    assert ">".join(["recall"] * 5) == deep.signature
    assert "recall" not in [one.tool for one in found]


def test_of_the_same_failure_the_second_comes_after_that_of_another_tool(log: ToolLog) -> None:
    often(log)
    for number in range(3):
        Chat(log, f"n{number}").turn("u", calling(("nobody", {})), saying("done"))
    Chat(log, "c", tools=[]).turn("u", calling(RECALL), saying("done"))

    assert [("not_offered", "nobody"), ("not_offered", "recall")] == told(proposed(log, 2))


def test_a_page_shows_what_differs_though_one_reason_would_fill_it(log: ToolLog) -> None:
    often(log)
    Chat(log, "c").turn("u", calling(("recall", {"query": 5})), saying("done"))
    for number in range(6):
        Chat(log, f"n{number}").turn("u", calling((f"nobody{number}", {})), saying("done"))

    assert ("schema", "recall") in told(proposed(log, 3))


@pytest.mark.parametrize("on", ["call", "exchange"])
def test_what_a_person_looked_at_is_not_proposed_again_and_a_rule_is_no_person(log: ToolLog, on: str) -> None:
    Chat(log, "c").turn("u", calling(("nobody", {})), saying("done"))
    (one,) = proposed(log)

    def say(kind: str) -> int:
        target = ("tool_call", one.target.uid) if on == "call" else ("exchange", one.exchange_uid)
        new = NewLabel(*target, QUALITY, value_num=-1.0, annotator_kind=kind, annotator="x")  # type: ignore[arg-type]
        return Labels(log).add(new)

    say("rule")
    assert [one] == proposed(log)
    key = say("human")
    assert [] == proposed(log)
    Labels(log).withdraw(key, "x")
    assert [one] == proposed(log)


def test_what_runs_of_a_suite_disagree_about_comes_first(log: ToolLog) -> None:
    Chat(log, "c").turn("u", calling(RECALL), saying("done"))
    Chat(log, "d").turn("v", calling(("nobody", {})), saying("done"))
    build(log, "t", EVERY_SPLIT)
    assert [] == disputed_answers(log)
    for name, answer in (("right", calling(RECALL)), ("wrong", calling(("save", {"title": "x"})))):
        with fake_model(lambda body, answer=answer: answer) as served:  # type: ignore[misc]
            replay(log, RunRequest(name, "t", served.url, Overrides("tuned")))

    (uid, *others) = disputed_answers(log)
    assert [] == others
    first = proposed(log, disputed=(uid,))[0]
    assert ("disagreement", uid, "u") == (first.reason, first.target.uid, first.user_text)
    assert (uid, RUNS_DISAGREE) == (queue(log, EVERY_SPLIT)[0].exchange_uid, queue(log, EVERY_SPLIT)[0].reason)
    assert uid not in [one.exchange_uid for one in queue(log, replace(EVERY_SPLIT, tools=frozenset({"nobody"})))]


def test_filters_say_which_turns_are_looked_at(log: ToolLog) -> None:
    Chat(log, "c").turn("first", calling(("nobody", {})), saying("done"))
    Chat(log, "d").turn("second", calling(("somebody", {})), saying("done"))
    Chat(log, "e").turn("long", *[calling(RECALL) for _ in range(5)], saying("the end"))

    def told_of(**given: Any) -> list[str]:
        found = LabelQueue(log).proposals(20, filters=Filters.parse(**given))
        return sorted({one.user_text for one in found})

    assert ["first", "long", "second"] == told_of()
    assert ["first"] == told_of(tools=["nobody"])
    assert ["long"] == told_of(conversation="e")
    assert ["second"] == told_of(where="tool = 'somebody'")
    assert [] == told_of(until="2020-01-01")
    keep_for(log, c="dev", d="train", e="train")
    assert ["first"] == told_of(splits=["dev"])
    assert ["long", "second"] == told_of(splits=["train"])
    assert ["second"] == told_of(splits=["train"], tools=["somebody", "nobody"])


def test_many_turns_are_looked_at_from_the_latest_on(log: ToolLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tarx_toollog.store.few.FEW", 0)  # whatever it is, it is many
    Chat(log, "c").turn("first", calling(("nobody", {})), saying("done"))
    Chat(log, "d").turn("second", calling(("nobody", {})), saying("done"))
    found = LabelQueue(log).proposals(None, filters=Filters.parse(tools=["nobody"], since="1h", limit=1))
    assert ["first", "second"] == sorted(one.user_text for one in found)


def test_the_list_of_a_person_is_that_of_the_page_but_for_what_is_kept_for_evaluation(log: ToolLog) -> None:
    often(log)
    Chat(log, "c").turn("u", calling(RECALL), calling(("nobody", {})), saying("done"))
    Chat(log, "d").turn("long", *[calling(RECALL) for _ in range(5)], saying("the end"))
    page = proposed(log)

    found = queue(log, EVERY_SPLIT)
    assert [(one.exchange_uid, one.reason) for one in page] == [(one.exchange_uid, one.reason) for one in found]
    (entry,) = (one for one in found if one.reason == "not_offered")
    assert ("u", 1, 2, 3, ("recall", "nobody"), None) == (
        entry.user_text, entry.turn_no, entry.step_no, entry.depth, entry.tools, entry.runs_wrong
    )  # fmt: skip
    keep_for(log, often="dev", c="dev", d="eval")
    assert ["long"] == [one.user_text for one in queue(log)]
    assert found[:1] == queue(log, replace(EVERY_SPLIT, limit=1))


def test_an_empty_log_proposes_nothing(log: ToolLog) -> None:
    assert [] == proposed(log)


# ---- its page --------------------------------------------------------------------------------------------------------


@pytest.fixture
def client(log: ToolLog, tmp_path: Path) -> Iterator[httpx.Client]:
    for number in range(3):
        Chat(log, f"c{number}").turn(f"{SCRIPT} {number}", calling((f"nobody{number}", {})), saying("done"))
    with served_pages(tmp_path / "t.db") as url, httpx.Client(base_url=url, headers={"origin": url}) as client:
        yield client


def forms(page: str) -> list[dict[str, str]]:
    found = re.findall(r"<form .*?</form>", page, re.DOTALL)
    return [dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', form)) for form in found]


@pytest.mark.parametrize(
    ("verdict", "name", "value"), [("good", "quality", 1.0), ("bad", "quality", -1.0), ("skip", "skipped", None)]
)
def test_a_verdict_leads_to_the_next_and_is_not_asked_again(
    client: httpx.Client, log: ToolLog, verdict: str, name: str, value: float | None
) -> None:
    page = client.get("/labels/queue").text
    assert escape(SCRIPT) in page
    assert "<script>alert" not in page
    first, second, third = forms(page)
    sent = client.post("/labels", data={**first, "verdict": verdict})

    assert (303, f"/labels/queue?notice=labelled#e-{second['target_uid']}") == (
        sent.status_code, sent.headers["location"]
    )  # fmt: skip
    (row,) = Labels(log).labels()
    assert (name, value, "tool_call", first["target_uid"]) == (
        row.name, row.value_num, row.target_type, row.target_uid
    )  # fmt: skip
    assert [second["target_uid"], third["target_uid"]] == [
        form["target_uid"] for form in forms(client.get("/labels/queue").text)
    ]
    assert "/labels/queue" == third["back"]


def test_a_page_of_the_queue_is_light(log: ToolLog, client: httpx.Client) -> None:
    for number in range(40):
        arguments = {"text": "<" * 20_000}
        Chat(log, f"big{number}").turn(
            "&" * 20_000, calling((f"big{number}", arguments)), saying("x"), result="'" * 9999
        )
    assert 150_000 > len(client.get("/labels/queue").content)


def test_the_page_of_a_late_step_is_light_and_leads_to_what_it_leaves_out(client: httpx.Client, log: ToolLog) -> None:
    calls = [calling(("nobody", {"n": number, "text": "'" * 9_000})) for number in range(30)]
    Chat(log, "deep").turn("&" * 9_000, *calls, saying("'" * 9_000), result="'" * 9_000)
    last = max(log.trajectories(EVERY_SPLIT), key=lambda turn: len(turn.steps)).steps[-1]

    page = client.get(f"/labels/one?uid={last.exchange_uid}")

    assert (200, True) == (page.status_code, len(page.content) < 150_000)
    assert f'54 messages left out here: <a href="/exchanges/{last.exchange_uid}#request">show all</a>' in page.text
    assert 7 == page.text.count("<details") - len(last.tools)
    assert page.text.index("&amp;&amp;") < page.text.index("54 messages") < page.text.index("n\\&#34;: 29")
    assert "n\\&#34;: 26" not in page.text
    assert 'id="request"' in client.get(f"/exchanges/{last.exchange_uid}").text


def test_every_way_to_say_it_is_on_the_page_of_a_target(client: httpx.Client, log: ToolLog) -> None:
    target = forms(client.get("/labels/queue").text)[0]["target_uid"]
    address = f"/labels/one?uid={target}"
    page = client.get(address).text
    assert "recall" in page  # a tool that was offered, with its schema
    fields = forms(page)[-1]
    said = {
        "tool": "recall",
        "arguments": '{"query": "x"}',
        "name": "tone",
        "value": "0.5",
        "by": "eve",
        "comment": "c",
    }
    for verdict in ("call", "ask", "answer", "other"):
        sent = client.post("/labels", data={**fields, **said, "verdict": verdict})
        assert (303, f"{address}&notice=labelled") == (sent.status_code, sent.headers["location"])

    assert [("expected", {"answer": True}, None), ("tone", None, 0.5)] == [
        (row.name, row.correction, row.value_num) for row in Labels(log).labels()
    ]
    everything = Labels(log).labels(in_force=False)
    assert [{"name": "recall", "arguments": {"query": "x"}}, {"ask": True}] == [
        row.correction for row in everything[:2]
    ]
    page = client.get(address).text
    assert "2 earlier" in page
    taken = client.post(f"/labels/{everything[-1].id}/withdraw", data=forms(page)[1])
    assert f"{address}&notice=withdrawn" == taken.headers["location"]
    assert ["expected"] == [row.name for row in Labels(log).labels()]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"verdict": "call", "tool": "recall", "arguments": "{"}, "the arguments are not JSON"),
        ({"verdict": "call", "tool": "recall", "arguments": "[]"}, "not a JSON object"),
        ({"verdict": "call", "tool": " ", "arguments": "{}"}, "the correction is none"),
        ({"verdict": "other", "name": " ", "value": "1"}, "a label needs a name"),
        ({"verdict": "other", "name": "tone", "value": " "}, "a label needs a value"),
        ({"verdict": "good", "target_type": "dog"}, "does not say what it is about"),
        ({"verdict": "maybe"}, "the form says no verdict"),
    ],
)
def test_a_form_that_says_nothing_is_explained(
    client: httpx.Client, log: ToolLog, more: dict[str, str], said: str
) -> None:
    fields = forms(client.get("/labels/queue").text)[0]
    answer = client.post("/labels", data={**fields, **more})
    assert (400, True) == (answer.status_code, said in answer.text)
    assert [] == Labels(log).labels()
