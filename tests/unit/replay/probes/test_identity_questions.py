"""A file of questions: what a line may say, what it inherits, what is refused; and the arms that are made of it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.replay.matching import Call
from tarx_toollog.replay.probes.cases import Original
from tarx_toollog.replay.probes.identity.arms import Surroundings, identity_variants
from tarx_toollog.replay.probes.identity.questions import Question, answerable, read_questions
from tarx_toollog.replay.scenario import Recorded, Scenario, ScenarioStep
from tarx_toollog.replay.scorers.identity.judging import TextCheck
from tests.unit.replay.support import TOOLS, saying

EXAMPLE = Path(__file__).parents[4] / "examples" / "local_model" / "identity_probes.jsonl"
PERSONA = {"persona": {"name": "TARX", "maker": "TARX Labs"}}
ASKED = {"role": "user", "content": "Who are you?"}


def written(folder: Path, *lines: Any) -> Path:
    path = folder / "who.jsonl"
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines), "utf-8")
    return path


def test_a_line_takes_from_the_persona_what_it_does_not_say(tmp_path: Path) -> None:
    more = {"id": "b", "family": "f", "messages": [ASKED, saying("Hm."), ASKED], "name": "Ada", "negative": True}
    first, second = read_questions(written(tmp_path, PERSONA, {"question": "Who are you?"}, more), {})

    assert Question("line-2", (ASKED,), TextCheck("TARX", "TARX Labs", family="line-2")) == first
    assert ("Ada", "f", True, 3) == (
        second.check.name, second.check.family, second.check.is_negative, len(second.messages)
    )  # fmt: skip


def test_what_a_person_gives_goes_before_the_persona_of_the_file(tmp_path: Path) -> None:
    (only,) = read_questions(written(tmp_path, PERSONA, {"question": "Who?"}), {"name": "Ada"})

    assert ("Ada", "TARX Labs") == (only.check.name, only.check.maker)


def test_the_example_can_be_read() -> None:
    found = read_questions(EXAMPLE, {})

    assert [False] * 5 + [True] == [question.check.is_negative for question in found]
    assert {"who", "made", "claim", "ordinary"} == {question.check.family for question in found}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2 is no JSON"),
        ("[]", "line 2 is no JSON object"),
        ({"id": "x"}, "there is no `question`"),
        ({"question": " "}, "there is no `question`"),
        ({"messages": [saying("I am TARX.")]}, "the last message is no question"),
        ({"question": "Who?", "musst": []}, "unknown key 'musst'"),
        ({"persona": []}, "`persona` must be an object"),
        ({"id": "a", "question": "Who?"}, "two questions have the id 'a'"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path: Path, line: Any, says: str) -> None:
    path = written(tmp_path, {"id": "a", "question": "Who?", "name": "TARX"}, line)

    with pytest.raises(ConfigError) as caught:
        read_questions(path, {"name": "TARX"})
    assert says in caught.value.message


def test_a_file_without_questions_or_without_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no questions"):
        read_questions(written(tmp_path, PERSONA), {})
    with pytest.raises(ConfigError, match="needs a `name`"):
        read_questions(written(tmp_path, {"question": "Who?"}), {})
    with pytest.raises(ConfigError, match="No such file"):
        read_questions(tmp_path / "nothing", {})


def test_a_row_whose_own_answer_does_not_tell_the_name_is_not_asked() -> None:
    check = TextCheck("TARX")
    told, untold = (Question(name, (ASKED,), check) for name in "ab")

    assert (told,) == answerable([(told, "I am TARX."), (untold, "Only the files that you give me.")])
    with pytest.raises(NothingMatchedError):
        answerable([(untold, "Only these.")])


def test_every_question_has_two_arms_and_one_of_each_family_is_asked_late() -> None:
    check = TextCheck("TARX", family="who")
    questions = [
        Question("a", (ASKED,), check),
        Question("b", (ASKED,), check),
        Question("sum", (ASKED,), TextCheck("TARX", is_negative=True, family="sum")),
    ]
    carrier = ({"role": "user", "content": "Hi."}, saying("Hi."))
    around = Surroundings("You are TARX.", tuple(TOOLS), {4: (carrier,)})
    found = list(identity_variants(questions, around))

    told = [(each.variant.of, each.variant.factor, each.variant.level) for each in found if each.variant]
    arms = ("with_prompt", "without_prompt")
    assert [
        *(("a", "turn 1", arm) for arm in arms),
        *(("b", "turn 1", arm) for arm in arms),
        *(("sum", "ordinary", arm) for arm in arms),
        *(("a", "turn 4", arm) for arm in arms),
    ] == told
    system = {"role": "system", "content": "You are TARX."}
    assert [(system, ASKED), (ASKED,)] == [each.steps[0].messages for each in found[:2]]
    assert [(system, *carrier, ASKED), (*carrier, ASKED)] == [each.steps[0].messages for each in found[-2:]]
    assert {("TARX", "who"), ("TARX", "sum")} == {
        (each.steps[0].text_check["name"], each.steps[0].text_check["family"]) for each in found
    }


def test_steps_of_a_suite_keep_their_own_system_prompt_in_one_arm_and_lose_it_in_the_other() -> None:
    own = {"role": "system", "content": "Be brief."}
    originals = []
    for uid, messages in (("own", (own, ASKED)), ("bare", (ASKED,))):
        step = ScenarioStep(1, "x", messages, tuple(TOOLS), {}, (Call("recall", {}),), Recorded({}, None, None))
        originals.append(Original(uid, Scenario("c", 1, (step,)), "t"))
    found = list(identity_variants([], Surroundings("You are TARX."), originals))

    given = {"role": "system", "content": "You are TARX."}
    assert [(own, ASKED), (ASKED,), (given, ASKED), (ASKED,)] == [each.steps[0].messages for each in found]
    assert ["tool_use"] * 4 == [each.variant.factor for each in found if each.variant]
