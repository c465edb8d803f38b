"""Cases that scorers get wrong: ours are all sensible, and the page says what the code does."""

import pytest

from bench.scoring_torture import PAGE, page, verdict
from tests.support.scoring_cases import CASES, ScoringCase


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_our_verdict_is_the_sensible_one_and_names_the_fault(case: ScoringCase) -> None:
    assert (case.sensible, case.code) == verdict(case)


def test_the_page_says_what_the_code_says() -> None:
    assert page() == PAGE.read_text("utf-8")
