import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from tarx_toollog.export.example import Example
from tarx_toollog.export.gate import GateOptions
from tarx_toollog.export.normalise import Normaliser
from tarx_toollog.export.redact import MARK
from tarx_toollog.export.sources.pairs import dpo_examples
from tarx_toollog.export.sources.steps import LogOptions
from tests.unit.cli.samples import TOOLS, Chat, bad_chat, call, good_chat, tool
from tests.unit.export.sources.mining import (
    LEAKED,
    RECALL,
    again,
    brief,
    dpo,
    examples,
    mined,
    on_exchange,
    retried,
    said,
    written,
)

DOG = {"key": "dog", "value": "Rex"}
DOG_TEXT = json.dumps(DOG)
WITHOUT_VALUE = '{"key": "dog"}'


def pair_of(folder: Path, chat: Chat, **how: Any) -> Example:
    (example,) = examples(mined(folder, chat, **how))
    return example


# ---- a wrong call and its retry --------------------------------------------------------------------------------------


def test_a_call_against_its_schema_is_set_against_its_retry_with_the_prompt_of_the_wrong_one(tmp_path: Path) -> None:
    chat = retried(WITHOUT_VALUE, "error: value is missing", DOG_TEXT)
    with written(tmp_path, chat) as log:
        found, (trajectory,) = dpo(log), log.trajectories()

    wrong = ("tarx_remember", {"key": "dog"})
    assert [([("tarx_remember", DOG)], [wrong]), "no_pair", "no_pair"] == brief(found)
    example = examples(found)[0]
    assert ["system", "user", "assistant"] == [piece.value["role"] for piece in example.messages]
    assert chat.exchanges[0].uid == example.origin.exchange_uid
    assert (1, 1) == (example.origin.turn_no, example.origin.step_no)
    assert ("tool", trajectory.split) == (example.source, example.registry)
    assert example.tools is not None
    assert TOOLS == example.tools.value
    assert (100, 10) == (example.input_tokens, example.output_tokens)


def test_the_calls_of_both_answers_have_the_same_ids(tmp_path: Path) -> None:
    example = pair_of(tmp_path, retried(WITHOUT_VALUE, "error: value is missing", DOG_TEXT))

    assert example.rejected is not None
    for answer in (example.messages[-1].value, example.rejected.value):
        assert ["c1"] == [made["id"] for made in answer["tool_calls"]]


def test_an_error_is_set_against_the_retry_with_other_arguments_that_went_well(tmp_path: Path) -> None:
    first = '{"key": "hound", "value": "Rex"}'

    assert ([("tarx_remember", DOG)], [("tarx_remember", json.loads(first))]) in brief(
        mined(tmp_path, retried(first, "error: not possible", DOG_TEXT))
    )


def test_a_call_that_went_well_when_it_was_repeated_was_not_wrong(tmp_path: Path) -> None:
    assert ["same_again", "no_pair", "no_pair"] == brief(
        mined(tmp_path, retried(DOG_TEXT, "error: timed out", DOG_TEXT))
    )


def test_a_retry_whose_own_result_was_never_seen_did_not_go_well(tmp_path: Path) -> None:
    chat = Chat("left").user("Remember that Rex is my dog.")
    chat.answer(None, call("tarx_remember", '{"key": "hound", "value": "Rex"}', "c1")).result("error: no", "c1")
    chat.answer(None, call("tarx_remember", DOG_TEXT, "c2"))

    assert ["not_mended", "no_pair"] == brief(mined(tmp_path, chat))


def test_a_tool_that_was_not_offered_is_set_against_the_call_that_took_its_place(tmp_path: Path) -> None:
    chat = Chat("typo").user("What is my cat called?")
    chat.answer(None, call("tarx_recal", RECALL, "c1")).result("error: no such tool", "c1")
    chat.answer(None, call("tarx_recall", RECALL, "c2")).result("Miez", "c2").answer("Miez.")

    cat = {"query": "cat"}
    assert ([("tarx_recall", cat)], [("tarx_recal", cat)]) == brief(mined(tmp_path, chat))[0]


def test_a_text_after_a_wrong_call_is_no_retry(tmp_path: Path) -> None:
    chat = Chat("fly").user("Fly.").answer(None, call("tarx_fly", "{}", "c3")).result("error: no such tool", "c3")

    assert ["not_mended", "no_pair"] == brief(mined(tmp_path, chat.answer("I cannot fly.")))


def test_every_wrong_answer_of_a_row_is_set_against_the_first_good_one(tmp_path: Path) -> None:
    chat = Chat("row").user("Remember that Rex is my dog.")
    chat.answer(None, call("tarx_remember", WITHOUT_VALUE, "c1")).result("error: value is missing", "c1")
    chat.answer(None, call("tarx_remember", '{"value": "Rex"}', "c2")).result("error: key is missing", "c2")
    chat.answer(None, call("tarx_remember", DOG_TEXT, "c3")).result("ok", "c3").answer("Done.")
    found = mined(tmp_path, chat)

    good = [("tarx_remember", DOG)]
    assert [
        (good, [("tarx_remember", {"key": "dog"})]),
        (good, [("tarx_remember", {"value": "Rex"})]),
        "no_pair",
        "no_pair",
    ] == brief(found)
    assert [3, 5] == [len(example.messages) for example in examples(found)]


def test_what_is_looked_up_between_an_error_and_the_same_call_makes_it_another_task(tmp_path: Path) -> None:
    chat = Chat("between").user("Remember that Rex is my dog.")
    chat.answer(None, call("tarx_remember", WITHOUT_VALUE, "c1")).result("error: value is missing", "c1")
    chat.answer(None, call("tarx_recall", '{"query": "dog"}', "c2")).result("Rex", "c2")
    chat.answer(None, call("tarx_remember", DOG_TEXT, "c3")).result("ok", "c3").answer("Done.")

    assert ["not_mended", "no_pair", "no_pair", "no_pair"] == brief(mined(tmp_path, chat))


def test_a_retry_that_repeats_only_the_part_that_failed_is_no_whole_answer(tmp_path: Path) -> None:
    chat = Chat("part").user("Remember that Rex is my dog, and look for my cat.")
    chat.answer(None, call("tarx_recall", RECALL, "c1"), call("tarx_remember", WITHOUT_VALUE, "c2"))
    chat.result("Miez", "c1").result("error: value is missing", "c2")
    chat.answer(None, call("tarx_remember", DOG_TEXT, "c3")).result("ok", "c3").answer("Done.")

    assert ["not_mended", "no_pair", "no_pair"] == brief(mined(tmp_path, chat))


def test_a_retry_that_needs_what_only_the_error_told_is_refused(tmp_path: Path) -> None:
    told = retried(WITHOUT_VALUE, "error: value is missing, the last one was Rex", DOG_TEXT, user="Remember my dog.")
    made_up = retried(WITHOUT_VALUE, "error: value is missing", DOG_TEXT, user="Remember my dog.")

    assert "needs_error" == brief(mined(tmp_path, told))[0]
    (tmp_path / "other").mkdir()
    assert 1 == len(examples(mined(tmp_path / "other", made_up)))


def test_the_text_of_a_retry_speaks_of_the_error_and_is_not_taken(tmp_path: Path) -> None:
    chat = Chat("sorry").user("Remember that Rex is my dog.")
    chat.answer("I will.", call("tarx_remember", WITHOUT_VALUE, "c1")).result("error: value is missing", "c1")
    chat.answer("Sorry, once more.", call("tarx_remember", DOG_TEXT, "c2")).result("ok", "c2").answer("Done.")
    example = pair_of(tmp_path, chat)

    assert ["I will.", ("tarx_remember", DOG)] == said(example.messages[-1].value)
    assert ("retry_text_left_out",) == example.notes
    assert (100, None) == (example.input_tokens, example.output_tokens)


def test_what_was_thought_is_left_out_of_both_answers_of_a_retry(tmp_path: Path) -> None:
    chat = Chat("thought").user("Remember that Rex is my dog.")
    chat.answer("", call("tarx_remember", WITHOUT_VALUE, "c1"), reasoning_content="Easy.")
    chat.result("error: value is missing", "c1")
    chat.answer("", call("tarx_remember", DOG_TEXT, "c2"), reasoning_content="It failed.").result("ok", "c2")
    example = pair_of(tmp_path, chat.answer("Done."), keep_reasoning=True)

    assert example.rejected is not None
    assert "thought" not in example.messages[-1].text + example.rejected.text
    assert "reasoning_content" not in example.messages[-1].text + example.rejected.text
    assert ("reasoning_left_out",) == example.notes
    assert example.output_tokens is None


def test_a_retry_must_fit_the_tools_that_were_offered_to_the_wrong_answer(tmp_path: Path) -> None:
    chat = Chat("later").user("Remember that Rex is my dog.")
    chat.answer(None, call("tarx_keep", DOG_TEXT, "c1")).result("error: no such tool", "c1")
    chat.tools = [*TOOLS, tool("tarx_keep", key="string", value="string")]
    chat.answer(None, call("tarx_keep", DOG_TEXT, "c2")).result("ok", "c2").answer("Done.")

    assert "same_again" == brief(mined(tmp_path, chat))[0]
    chat = Chat("later").user("Remember that Rex is my dog.")
    chat.answer(None, call("tarx_hold", DOG_TEXT, "c1")).result("error: no such tool", "c1")
    chat.tools = [*TOOLS, tool("tarx_keep", key="string", value="string")]
    chat.answer(None, call("tarx_keep", DOG_TEXT, "c2")).result("ok", "c2").answer("Done.")
    (tmp_path / "other").mkdir()
    assert "not_mended" == brief(mined(tmp_path / "other", chat))[0]


def test_arguments_that_are_no_json_cannot_be_written_as_a_rejected_answer(tmp_path: Path) -> None:
    found = mined(tmp_path, retried('{"key": "dog"', "error: not JSON", DOG_TEXT))

    assert "invalid_arguments" == brief(found)[0]


def test_a_mark_that_breaks_the_schema_of_the_better_answer_refuses_the_pair(tmp_path: Path) -> None:
    chat = Chat("mark", tools=[tool("tarx_remember", key="string", value="string")])
    chat.tools[0]["function"]["parameters"]["properties"]["value"]["pattern"] = "^[A-Z][a-z]+$"
    chat.user("Remember that Rex is my dog.").answer(None, call("tarx_remember", WITHOUT_VALUE, "c1"))
    chat.result("error: value is missing", "c1").answer(None, call("tarx_remember", DOG_TEXT, "c2")).result("ok", "c2")
    with written(tmp_path, chat.answer("Done.")) as log:
        clean = Normaliser(lambda message: json.loads(json.dumps(message).replace("Rex", f"{MARK}NAME:1")))
        found = list(dpo_examples(log.trajectories(), clean, LogOptions(), lambda: None))

    assert "redaction_breaks_schema" == brief(found)[0]


def test_the_same_pair_is_given_once(tmp_path: Path) -> None:
    first = retried(WITHOUT_VALUE, "error: value is missing", DOG_TEXT)
    second = retried(WITHOUT_VALUE, "error: value is missing", DOG_TEXT)
    second.name = "second"
    second.exchanges = [
        replace(one, conversation_hint="second", started_ns=one.started_ns + 10**12) for one in second.exchanges
    ]
    found = mined(tmp_path, first, second)

    assert 1 == len(examples(found))
    assert 1 == brief(found).count("duplicate")


def test_good_chats_give_no_pair_and_every_step_is_counted(tmp_path: Path) -> None:
    counted: list[None] = []
    with written(tmp_path, good_chat(), bad_chat()) as log:
        options = LogOptions()
        found = list(dpo_examples(log.trajectories(), Normaliser(), options, lambda: counted.append(None)))

    assert 9 == len(found) == len(counted)
    assert ["no_pair"] * 4 == brief(found)[:4]
    assert "not_completed" == brief(found)[-1]


# ---- corrections -----------------------------------------------------------------------------------------------------


def test_a_corrected_answer_is_set_against_the_logged_one(tmp_path: Path) -> None:
    chat = Chat("corrected").user("What is my cat called?").answer("I do not know.")
    labels = [on_exchange(chat, 0, correction={"name": "tarx_recall", "arguments": {"query": "cat"}})]
    example = pair_of(tmp_path, chat, labels=labels)

    assert example.rejected is not None
    assert [("tarx_recall", {"query": "cat"})] == said(example.messages[-1].value)
    assert "I do not know." == said(example.rejected.value)
    assert 1.0 == example.quality


def test_a_correction_that_says_what_was_said_is_no_pair(tmp_path: Path) -> None:
    chat = Chat("corrected").user("Hello").answer("Hello!")

    found = mined(tmp_path, chat, labels=[on_exchange(chat, 0, correction={"content": "Hello!"})])
    assert ["same_answer"] == brief(found)


def test_an_answer_that_was_cut_off_is_not_set_against_its_correction(tmp_path: Path) -> None:
    chat = Chat("corrected").user("Hello").answer("Hel", finish="length")

    found = mined(tmp_path, chat, labels=[on_exchange(chat, 0, correction={"content": "Hello!"})])
    assert ["cut_by_length"] == brief(found)


def test_an_answer_that_is_only_labelled_bad_has_no_better_one(tmp_path: Path) -> None:
    chat = Chat("bad").user("Hello").answer("Go away.")

    assert ["labelled_bad"] == brief(mined(tmp_path, chat, labels=[on_exchange(chat, 0, value_num=-1.0)]))


def test_feedback_that_is_too_low_makes_an_answer_bad(tmp_path: Path) -> None:
    chat = Chat("low").user("Hello").answer("Hello!")
    with written(tmp_path, chat, labels=[on_exchange(chat, 0, value_num=0.2)]) as log:
        assert ["labelled_bad"] == brief(dpo(log, gate=GateOptions(min_feedback=0.5)))
        assert ["no_pair"] == brief(dpo(log))


# ---- answers that were asked for again -------------------------------------------------------------------------------


def regenerated(first: tuple[Any, ...], second: tuple[Any, ...], *, goes_on: bool = True) -> Chat:
    """Return a chat whose first answer was asked for again; the dialogue goes on from the second."""
    chat = Chat("again").user("What is two and two?").answer(*first)
    again(chat).answer(*second)
    return chat.user("Thanks.").answer("You are welcome.") if goes_on else chat


def test_a_call_that_nobody_needed_is_set_against_the_answer_that_was_followed(tmp_path: Path) -> None:
    chat = regenerated((None, call("tarx_recall", '{"query": "two"}')), ("Four.",))
    found = mined(tmp_path, chat)

    assert ["no_pair", ("Four.", [("tarx_recall", {"query": "two"})]), "no_pair"] == brief(found)
    (example,) = examples(found)
    assert chat.exchanges[0].uid == example.origin.exchange_uid
    assert 10 == example.output_tokens


def test_a_call_that_was_carried_out_before_it_was_left_is_left_all_the_same(tmp_path: Path) -> None:
    chat = Chat("again").user("What is two and two?")
    asked = chat.messages
    chat.answer(None, call("tarx_recall", '{"query": "two"}')).result("nothing").answer("I do not know.")
    chat.messages = asked
    chat.answer("Four.").user("Thanks.").answer("You are welcome.")

    assert ("Four.", [("tarx_recall", {"query": "two"})]) in brief(mined(tmp_path, chat))


def test_while_nobody_has_gone_on_neither_answer_is_better(tmp_path: Path) -> None:
    assert ["no_pair", "not_preferred"] == brief(mined(tmp_path, regenerated(("Five.",), ("Four.",), goes_on=False)))


def test_when_the_user_went_on_from_both_neither_answer_is_better(tmp_path: Path) -> None:
    chat = Chat("again").user("What is two and two?").answer("Five.")
    first = [*chat.messages]
    again(chat).answer("Four.").user("Thanks.").answer("You are welcome.")
    chat.messages = first
    chat.user("Sure?").answer("Yes.")

    assert ["no_pair", "not_preferred", "no_pair"] == brief(mined(tmp_path, chat))


def test_an_answer_that_is_plainly_wrong_is_worse_although_nobody_has_gone_on(tmp_path: Path) -> None:
    chat = Chat("again").user("What is my cat called?").answer(LEAKED)
    again(chat).answer(None, call("tarx_recall", RECALL)).result("Miez").answer("Miez.")

    assert ["no_pair", ([("tarx_recall", {"query": "cat"})], LEAKED), "no_pair"] == brief(mined(tmp_path, chat))


def test_answers_that_were_asked_for_in_another_way_are_not_compared(tmp_path: Path) -> None:
    found = {}
    for name, changes in (("sampling", {"temperature": 0.9}), ("steering", {"tool_choice": "none"})):
        chat = regenerated(("Five.",), ("Four.",))
        request = chat.exchanges[0].request
        assert request is not None
        params = {**request.params, **changes}
        chat.exchanges[0] = replace(chat.exchanges[0], request=replace(request, params=params))
        (tmp_path / name).mkdir()
        found[name] = brief(mined(tmp_path / name, chat))[1]

    assert {"sampling": ("Four.", "Five."), "steering": "not_preferred"} == found


def test_the_same_answer_again_is_no_pair(tmp_path: Path) -> None:
    assert "same_answer" == brief(mined(tmp_path, regenerated(("Four.",), ("Four. ",))))[1]


def test_an_answer_that_somebody_praised_is_not_worse_for_being_left(tmp_path: Path) -> None:
    chat = regenerated(("Five.",), ("Four.",))

    found = mined(tmp_path, chat, labels=[on_exchange(chat, 0, value_num=1.0)])
    assert "not_preferred" == brief(found)[1]


def test_an_answer_that_fails_the_gate_is_never_the_better_one(tmp_path: Path) -> None:
    chat = regenerated(("Five.",), (None, call("tarx_fly", "{}")))

    assert "not_preferred" == brief(mined(tmp_path, chat))[1]


def test_a_request_that_brought_no_answer_is_no_other_answer(tmp_path: Path) -> None:
    chat = Chat("again").user("What is two and two?").answer("Four.", cut=True)
    again(chat).answer("Four.").user("Thanks.").answer("You are welcome.")

    assert ["no_pair", "no_pair"] == brief(mined(tmp_path, chat))


def test_an_answer_that_was_cut_and_asked_for_again_is_not_worse(tmp_path: Path) -> None:
    chat = Chat("again").user("What is two and two?").answer("Fo", finish="length")
    again(chat).answer("Four.").user("Thanks.").answer("You are welcome.")

    assert ["no_pair", "cut_by_length", "no_pair"] == brief(mined(tmp_path, chat))


def test_without_a_way_to_find_them_other_answers_are_left_out(tmp_path: Path) -> None:
    with written(tmp_path, regenerated(("Five.",), ("Four.",))) as log:
        found = list(dpo_examples(log.trajectories(), Normaliser(), LogOptions(), lambda: None))

    assert ["no_pair", "no_pair"] == brief(found)


def test_thoughts_stay_in_a_pair_only_where_both_answers_have_some(tmp_path: Path) -> None:
    found = {}
    for name, thought in (("one", None), ("both", "Hm.")):
        chat = Chat("again").user("What is two and two?").answer("Five.", reasoning_content=thought)
        again(chat).answer("Four.", reasoning_content="Two more.").user("Thanks.").answer("You are welcome.")
        (tmp_path / name).mkdir()
        example = pair_of(tmp_path / name, chat, keep_reasoning=True)
        assert example.rejected is not None
        answers = (example.messages[-1], example.rejected)
        found[name] = [one.value.get("reasoning_content") for one in answers], example.notes, example.output_tokens

    assert {
        "one": ([None, None], ("reasoning_left_out",), None),
        "both": (["Two more.", "Hm."], (), 10),
    } == found
