"""The simulator of docs/extending.md, installed and used in the place of its tool."""

import json
from pathlib import Path

from tests.docs.test_extending import installed, run

__all__ = ["installed"]  # the fixture


def test_a_simulator_is_found_and_answers_what_the_log_does_not_hold(installed: Path) -> None:
    found = json.loads(run(installed, "-c", "from tests.docs.test_extending_simulator import use; use()"))

    assert [
        ["exact", "12"],
        ["simulated", "19"],
        ["diverged", "the log does not show how many coins there were"],
    ] == found


def use() -> None:
    """Put the calls of a model to what one turn recorded, and to what another turn did not; print what came back."""
    from tarx_toollog.replay.matching import Call
    from tarx_toollog.replay.results import SIMULATORS, Diverged, RecordedCall, Recording, Results

    simulators = [SIMULATORS.get("pip_purse")]
    first = RecordedCall("pip_put", {"coins": 2}, "12", False, "write")
    known = Results(Recording((first,), {"pip_put": None}), simulators)
    unknown = Results(Recording((), {"pip_put": None}), simulators)
    answers = [known.serve(first.call), known.serve(Call("pip_put", {"coins": 7})), unknown.serve(first.call)]
    told = [
        ["diverged", answer.why.rpartition(": ")[2]] if isinstance(answer, Diverged) else [answer.how, answer.text]
        for answer in answers
    ]
    print(json.dumps(told))
