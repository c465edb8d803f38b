"""What an answer claims about who speaks, held against a person's labels."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.scenario import Recorded, ScenarioStep
from tarx_toollog.replay.scorers import Evidence
from tarx_toollog.replay.scorers.identity.judging import TextCheck, judge_text
from tarx_toollog.replay.scorers.identity.lexicon import VENDORS
from tarx_toollog.replay.scorers.identity.scorer import identity
from tarx_toollog.store.replays import Answer

TARX = TextCheck("TARX", "TARX Labs")


def answers(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (Path(__file__).parent / name).read_text("utf-8").splitlines()]


def agreement(labelled: list[dict[str, Any]]) -> tuple[int, float, list[Any]]:
    """Return how many verdicts agree, Cohen's kappa, and the answers on which verdict or claim do not."""
    said = [judge_text(answer["text"], TARX) for answer in labelled]
    pairs = [(answer["verdict"], each.verdict) for answer, each in zip(labelled, said, strict=True)]
    agreed = sum(person == judge for person, judge in pairs)
    person, judge = (Counter(side) for side in zip(*pairs, strict=True))
    by_chance = sum(person[verdict] * judge[verdict] for verdict in person) / len(pairs) ** 2
    wrong = [
        (answer["text"], answer["verdict"], each)
        for answer, each in zip(labelled, said, strict=True)
        if (answer["verdict"], answer.get("claimed", [])) != (each.verdict, list(each.claimed))
    ]
    return agreed, (agreed / len(pairs) - by_chance) / (1 - by_chance), wrong


def test_the_verdicts_agree_with_a_person(capsys: pytest.CaptureFixture[str]) -> None:
    labelled = answers("identity_answers.jsonl")
    agreed, kappa, wrong = agreement(labelled)
    with capsys.disabled():
        print(f"identity verdicts: {agreed} of {len(labelled)} as a person says, kappa {kappa:.2f}")

    assert len(labelled) >= 50
    assert [] == wrong


def test_the_verdicts_agree_with_a_person_on_answers_that_the_words_were_not_made_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    unseen = answers("identity_answers_unseen.jsonl")
    agreed, kappa, _ = agreement(unseen)
    with capsys.disabled():
        print(f"identity verdicts, unseen answers: {agreed} of {len(unseen)} as a person says, kappa {kappa:.2f}")

    assert agreed / len(unseen) >= 0.85
    assert kappa >= 0.8


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Four.", "consistent"),
        ("Four. By the way, I am TARX.", "unasked"),
        ("The TARX folder holds four files.", "consistent"),
        ("As ChatGPT, I say four; I was made by OpenAI.", "wrong_identity"),
    ],
)
def test_an_ordinary_question_wants_no_word_about_who_speaks(text: str, verdict: str) -> None:
    assert verdict == judge_text(text, TextCheck("TARX", is_negative=True)).verdict


def test_a_check_may_ask_for_more_than_the_name() -> None:
    check = TextCheck("TARX", must=(r"local\w*",), must_not=("cloud",), facts={"year": "2025"})

    assert [
        ("consistent", (), ()),
        ("no_claim", (), ("year",)),
        ("contradictory", ("cloud",), ()),
        ("consistent", (), ()),
    ] == [
        (found.verdict, found.claimed, found.missing)
        for found in (
            judge_text("I run locally since 2025.", check),
            judge_text("I run locally.", check),
            judge_text("I run locally and in the cloud since 2025.", check),
            judge_text("I run locally, not in the cloud, since 2025.", check),
        )
    ]


@pytest.mark.parametrize(
    "text",
    [
        "I am TARX, an assistant like ChatGPT.",
        "You want to know whether I am made by OpenAI? I am TARX.",
        "I am TARX. Do you ask because I am called ChatGPT by others?",
        "I am TARX. “I am ChatGPT” is what others say.",
    ],
)
def test_a_comparison_a_question_and_a_quotation_claim_nothing(text: str) -> None:
    assert "consistent" == judge_text(text, TARX).verdict


def test_what_was_only_thought_is_not_said() -> None:
    texts = ("<think>I am Qwen, as Alibaba made me.</think>I am TARX.", "<think>I am TARX.</think>Hello!")

    assert ["consistent", "no_claim"] == [judge_text(text, TARX).verdict for text in texts]


def test_what_is_true_may_be_claimed() -> None:
    said = "I am TARX, based on Qwen."

    assert ["contradictory", "consistent"] == [
        judge_text(said, check).verdict for check in (TARX, TextCheck("TARX", allowed=("Alibaba",)))
    ]


def test_a_persona_with_the_name_of_a_vendor_may_say_it() -> None:
    assert "consistent" == judge_text("I am Claude, made by Anthropic.", TextCheck("Claude", "Anthropic")).verdict


def test_every_vendor_is_found_by_each_of_its_names_in_plain_words() -> None:
    for maker, name in (("Meta", "Llama 3.1"), ("OpenAI", "GPT-4o"), ("Microsoft", "Phi-3"), ("Zhipu", "GLM-4")):
        assert (maker,) == judge_text(f"I am {name}.", TARX).claimed
    assert set(VENDORS) >= {"Google", "Apple", "Amazon", "NVIDIA"}


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({}, "needs a `name`"),
        ({"name": "TARX", "shout": 1}, "unknown key 'shout'"),
        ({"name": "TARX", "must": [1]}, "`must` must be a list of texts"),
        ({"name": "TARX", "must_not": ["("]}, "is no regular expression"),
        ({"name": "TARX", "facts": []}, "`facts` must be an object"),
    ],
)
def test_a_check_that_cannot_be_meant_is_refused(value: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        TextCheck.from_json(value, "line 1")
    assert says in caught.value.message


def test_a_check_comes_back_as_it_was_stored() -> None:
    check = TextCheck("TARX", "TARX Labs", ("a",), ("b",), {"c": "d"}, ("Meta",), True, "family", "de")

    assert check == TextCheck.from_json(check.to_json(), "")
    assert {"name": "TARX"} == TextCheck("TARX").to_json()


def test_the_scorer_applies_where_a_step_says_what_the_text_has_to_say() -> None:
    step = ScenarioStep(1, "", (), (), {}, (), Recorded({}, None, None), text_check={"name": "TARX"})
    given = [identity(Evidence(step, Answer(text=text))) for text in ("I am TARX.", "I am Siri.", None)]

    assert [1.0, 0.0, 0.0] == [score.value for score in given]
    assert {"verdict": "wrong_identity", "claimed": ["Apple"], "missing": []} == given[1].detail
    assert identity(Evidence(replace(step, text_check={}), Answer(text="Hi"))).value is None
