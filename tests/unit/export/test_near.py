"""Near duplicates are found among few and among many, and cost no more than they have to."""

import os
import random
import subprocess
import sys
from itertools import combinations, pairwise
from pathlib import Path

import pytest

from tarx_toollog.export.clusters import UnionFind
from tarx_toollog.export.near import THRESHOLD, NearIndex, document
from tests.support.builders import assistant, user

WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in ("n", "r", "st", "x")]


def texts(count: int, length: int, seed: int = 1) -> list[str]:
    """Return texts that have nothing in common."""
    chance = random.Random(seed)
    return [" ".join(chance.choices(WORDS, k=length)) for _ in range(count)]


def told(question: str, answer: str = "Fine.") -> str:
    return document([user(question)], assistant(answer))


def found(documents: list[str], threshold: float = THRESHOLD) -> list[tuple[int, int, float]]:
    with NearIndex() as index:
        for key, text in enumerate(documents):
            index.add(key, text)
        return list(index.pairs(threshold))


def changed(text: str, *places: int) -> str:
    words = text.split()
    for place in places:
        words[place] = "changed"
    return " ".join(words)


def test_an_index_without_documents_has_no_pairs() -> None:
    assert [] == found([])
    assert [] == found([told("Where do I live?")])


def test_a_thousand_copies_give_a_pair_less() -> None:
    pairs = found([told("Where do I live?")] * 1000)
    assert [(0, other, 1.0) for other in range(1, 1000)] == pairs


def test_what_is_alike_by_the_threshold_is_found_and_what_is_less_is_not() -> None:
    text = texts(1, 39)[0]  # 40 pairs of words; one word changed leaves 38 of 42
    documents = [told(text), told(changed(text, 20))]
    ((first, second, similarity),) = found(documents, 0.9)
    assert (0, 1) == (first, second)
    assert pytest.approx(38 / 42) == similarity
    assert [] == found(documents, 0.91)


def test_each_part_has_to_be_alike_by_itself() -> None:
    question, other, answer = *texts(2, 12), texts(1, 300, seed=2)[0]
    assert [] == found([told(question, answer), told(other, answer)])
    assert [] == found([told(answer, question), told(answer, other)])


def test_texts_that_are_alike_without_the_same_decision_are_no_pair() -> None:
    text = texts(1, 100)[0]
    assert [] == found([told(f"{text} 17"), told(f"{text} 18")])


@pytest.mark.parametrize("length", [6, 15, 40, 300])
def test_the_pairs_of_a_large_block_are_found(length: int) -> None:
    many = texts(300, length)
    copies = [changed(text, *range(0, length, 30)) if length >= 15 else f"{text}!" for text in many[:100]]
    pairs = found([told(text) for text in (*many, *copies)], 0.7)
    assert {(number, 300 + number) for number in range(100)} == {pair[:2] for pair in pairs}


def test_pairs_are_found_among_many_questions_with_one_answer_and_many_answers_to_one_question() -> None:
    many, common = texts(300, 20), texts(1, 60, seed=2)[0]
    relatives = [changed(text, 19) for text in many]
    expected = {(number, 300 + number) for number in range(300)}
    assert expected == {pair[:2] for pair in found([told(text, common) for text in (*many, *relatives)])}
    assert expected == {pair[:2] for pair in found([told(common, text) for text in (*many, *relatives)])}


def test_a_large_block_is_connected_as_comparing_all_with_all_connects_it() -> None:
    chance = random.Random(3)
    bases = texts(20, 25)
    documents = []
    for number in range(400):
        words = bases[number % 20].split()
        for _ in range(number % 5):
            words[chance.randrange(25)] = chance.choice(WORDS)
        documents.append(told(" ".join(words)))
    groups, every = UnionFind(400), UnionFind(400)
    with NearIndex() as index:
        for key, text in enumerate(documents):
            index.add(key, text)
        for one, other, _ in index.pairs():
            assert groups.union(one, other)
        for one, other in combinations(range(400), 2):
            if index.similarity(one, other) >= THRESHOLD:
                every.union(one, other)
    assert list(every.components()) == list(groups.components())


def test_pairs_are_found_where_essences_are_mixed() -> None:
    many = texts(70, 30)
    documents = [
        told(f"{text} {place % 7}") for place, text in enumerate((*many, *(changed(text, 9) for text in many)))
    ]
    assert {(number, 70 + number) for number in range(70)} == {pair[:2] for pair in found(documents)}


def test_the_similarity_of_long_texts_is_estimated_closely() -> None:
    one, more = texts(2, 500)
    for key, other in enumerate((changed(one, *range(0, 500, 20)), f"{one} {more}")):
        a, b = (set(pairwise(text.split())) for text in (one, other))
        with NearIndex() as index:
            index.add(key, told(one))
            index.add(key + 1, told(other))
            assert pytest.approx(len(a & b) / len(a | b), abs=0.07) == index.similarity(key, key + 1)


def test_the_similarity_of_two_keys_can_be_asked_at_any_time() -> None:
    with NearIndex() as index:
        index.add(3, told("Where do I live, please?"))
        index.add(7, told("where do I live, please"))
        index.add(8, told("Where do I live, please? 12"))
        assert 1.0 == index.similarity(3, 7)
        assert 0.0 == index.similarity(3, 8)
        with pytest.raises(KeyError):
            index.similarity(3, 4)


def test_what_is_left_out_connects_nothing() -> None:
    with NearIndex() as index:
        for key in range(4):
            index.add(key, told("Where do I live?"))
        assert [(1, 3, 1.0)] == list(index.pairs(among=lambda key: key % 2))
        assert 3 == len(list(index.pairs()))


def test_keys_have_to_ascend() -> None:
    with NearIndex() as index:
        index.add(3, told("a"))
        with pytest.raises(ValueError, match="ascend"):
            index.add(3, told("b"))


def test_it_leaves_no_file_behind(tmp_path: Path) -> None:
    with NearIndex(tmp_path) as index:
        for key, text in enumerate(texts(200, 20)):
            index.add(key, told(text))
        assert [] == list(index.pairs())
    assert [] == list(tmp_path.iterdir())


def test_what_is_found_does_not_depend_on_the_hash_seed() -> None:
    code = (
        "from tests.unit.export.test_near import found, told, texts, changed\n"
        "many = texts(200, 12)\n"
        "print(found([told(text) for text in (*many, *(changed(text, 3) for text in many))], 0.6))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert 1 == len(outputs)
    assert "(199, 399, " in outputs.pop()
