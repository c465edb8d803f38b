"""Refusals and questions: every text says of itself what it does, and ordinary texts do neither."""

import doctest
import json
import re
import time
import tomllib
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest

from tarx_toollog.replay.scorers import phrases
from tarx_toollog.replay.scorers.phrases import asks_back, has_question, is_refusal
from tests.support.captures import CAPTURES

WRITTEN = [json.loads(line) for line in (Path(__file__).parent / "answers.jsonl").read_text("utf-8").splitlines()]
ORDINARY = [
    json.loads(line)
    for path in sorted((CAPTURES.parent / "ordinary_texts").glob("*.jsonl"))
    for line in path.read_text("utf-8").splitlines()
]
MISSED = {"en-refuses-39", "en-refuses-40", "en-refuses-51", "de-refuses-32", "es-refuses-22"}
"""Refusals in words that are not known; a phrase that is found in them makes this list shorter."""


@pytest.mark.parametrize("answer", WRITTEN, ids=[answer["id"] for answer in WRITTEN])
def test_an_answer_is_taken_for_what_it_is(answer: dict[str, str]) -> None:
    says = "refuses" if is_refusal(answer["text"]) else "asks" if asks_back(answer["text"]) else "neither"
    assert ("neither" if answer["id"] in MISSED else answer["says"]) == says


def test_each_language_has_refusals_and_answers_that_look_like_one() -> None:
    kinds = {re.sub(r"-\d+$", "", answer["id"]) for answer in WRITTEN}
    assert {f"{of}-{says}" for of in ("en", "de", "fr", "es", "pt", "it") for says in ("refuses", "neither")} <= kinds


def test_ordinary_answers_refuse_nothing_and_ask_nothing_back() -> None:
    assert [] == [answer["id"] for answer in ORDINARY if is_refusal(answer["text"])]
    # It lists two tools and asks which of them to use.
    assert ["json-definitions-list"] == [answer["id"] for answer in ORDINARY if asks_back(answer["text"])]


@pytest.mark.parametrize(
    "text",
    [
        "> I can't open files.\n\nThat is what it says.",
        "`I can't open files`",
        "```\nI can't open files\n```",
        "He said: I can't open files.",
        "<think>I can't open files.</think>Done.",
        "<think>I can't open files",
    ],
)
def test_what_somebody_else_says_is_no_refusal(text: str) -> None:
    assert not is_refusal(text)


def test_what_follows_code_and_quotations_is_read_again() -> None:
    assert is_refusal("<think>Hm.</think>\n> Open it.\n\n```\nopen()\n```\nYou say “do it”, and I can't open files.")


def test_a_list_of_choices_belongs_to_its_question() -> None:
    assert asks_back("Which one?\n\n- Ana Silva\n- Ana Costa\n")
    assert not asks_back("Which one? I took the first.\n\n- Ana Silva")


def test_a_question_mark_of_an_address_or_of_code_asks_nothing() -> None:
    assert not has_question("See https://x.example/?a=1 and `a ? b : c` or a?b.")
    assert [True, True] == [has_question(text) for text in ("¿Qué ciudad?", "どの都市ですか？")]


@pytest.mark.parametrize("judge", [is_refusal, asks_back, has_question])
@pytest.mark.parametrize(
    "text", ["<think>" * 8000, "\n" * 40_000 + "x", '"' * 40_000, "ich kann " * 8000, "? !" * 9000, "\n- a" * 9000]
)
def test_a_text_of_repetitions_takes_no_long_time(judge: Callable[[str], bool], text: str) -> None:
    began = time.perf_counter()
    judge(text)
    assert time.perf_counter() - began < 2


def test_examples_in_the_docstrings_run() -> None:
    result = doctest.testmod(phrases)
    assert (0, True) == (result.failed, result.attempted > 0)


def test_every_phrase_of_a_refusal_has_a_denial_by_which_its_clause_is_found() -> None:
    text = files("tarx_toollog.replay.scorers").joinpath("phrases.toml").read_text("utf-8")
    dead = [
        phrase
        for language in tomllib.loads(text).values()
        for phrase in language["refuses"]
        if not any(word.strip() in phrase for word in language["denials"])
    ]
    assert [] == dead
