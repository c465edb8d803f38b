"""``docs/torture.md`` says what the decoder does, and the figures beside it are those of the scripts."""

import json

from bench.decode import MOST_GROWTH, MOST_GROWTH_HOSTILE, SHAPES
from bench.torture import PAGE, PARTS, RESULTS, measure, page
from tests.support.torture import cases


def test_the_page_says_what_the_decoder_does() -> None:
    text = PAGE.read_text("utf-8")

    assert text == page(text)
    parts = [match[2] for match in PARTS.finditer(text)]
    assert ["counts", "peers", "quirks", "limits", "speed", "fuzz", "cases"] == parts


def test_a_case_that_comes_out_wrong_shows_on_the_page() -> None:
    text = PAGE.read_text("utf-8")
    call = cases()["chat/parallel_calls"].expect["calls"][0]
    name = call["name"]
    call["name"] = "another"
    try:
        changed, wrong = page(text), measure()["wrong"]
    finally:
        call["name"] = name

    assert ["chat/parallel_calls"] == wrong
    assert ["| OpenAI parallel, index 0 and 1 | **1 of 2 calls, `completed`** |"] == [
        line[:66] for line in changed.splitlines() if line not in text and line.startswith("| OpenAI parallel")
    ]
    assert "| NO |" in changed


def test_the_table_has_its_twenty_six_streams() -> None:
    marked = [case.table for case in cases().values() if case.table is not None]

    assert (26, 26) == (len(marked), len(set(marked)))


def test_the_figures_are_of_these_cases_and_shapes() -> None:
    torture = json.loads((RESULTS / "torture.json").read_text("utf-8"))
    speed = json.loads((RESULTS / "decode.json").read_text("utf-8"))

    assert measure() == {key: value for key, value in torture.items() if key != "python"}
    assert list(SHAPES) == list(speed["shapes"])
    assert speed["most_growth"] <= MOST_GROWTH
    assert speed["most_growth_hostile"] <= MOST_GROWTH_HOSTILE
