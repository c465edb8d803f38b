"""The page about cases that scorers of tool calls get wrong (``docs/replay-torture.md``), with our verdicts measured.

``python -m bench.scoring_torture`` writes the page anew.
"""

from pathlib import Path
from typing import Any

from tarx_toollog.canonical import json_text, parse_arguments
from tarx_toollog.model import LoggedCall, ToolCall
from tarx_toollog.replay.matching import Call, ExpectedCall, match_chain
from tarx_toollog.replay.results.recording import suggest_effect
from tarx_toollog.replay.scenario import Recorded, ScenarioStep
from tarx_toollog.replay.scorers.findings import LEAKED
from tarx_toollog.replay.scoring import judge
from tarx_toollog.store.replays import Answer
from tarx_toollog.store.verdicts import judge_call
from tarx_toollog.wire.openai_chat import tool_from_raw
from tests.support.scoring_cases import CASES, TOOLS, ScoringCase

PAGE = Path(__file__).parents[1] / "docs" / "replay-torture.md"
_RAW = [{"type": "function", "function": {"name": name, "parameters": schema}} for name, schema in TOOLS.items()]
_OFFERED = {tool.name: tool for tool in map(tool_from_raw, _RAW)}

_BEFORE = """# Cases that scorers get wrong

Each row is an answer of a model, and the verdict that a sensible person would give: pass, fail, or soft, which is a
fault that a patient tool forgives (the lenient profile passes it, the standard one does not). *Ours* is what
`toollog` says, with its failure code; this page is made by `python -m bench.scoring_torture`, and a test holds it
against the code.

Peers: agentevals (strict, unordered, superset: T is a match), deepeval 4.3.1 (default / ordered), ragas 0.4.3
(accuracy, strict / F1), the action check of tau2 (which accepts supersets by design; its main reward is the state of
a database). Their scoring functions were called directly, on cases of the same shape, with arguments compared, and
without a model as judge. A dash: not measured.

| case | sensible | ours | agentevals | deepeval | ragas | tau2 |
|---|---|---|---|---|---|---|
"""


def verdict(case: ScoringCase) -> tuple[str, str | None]:
    """Return our verdict on a case: pass, soft or fail; and the primary failure code."""
    return _of_step(case) if len(case.expected) == len(case.made) == 1 else _of_chain(case)


def page() -> str:
    """Return the page."""
    rows = []
    for case in CASES:
        given, code = verdict(case)
        ours = given if code is None else f"{given} (`{code}`)"
        peers = case.peers or ("–", "–", "–", "–")
        rows.append(f"| {' | '.join((case.name, case.sensible, f'**{ours}**', *peers))} |")
    return _BEFORE + "\n".join(rows) + "\n"


def _of_step(case: ScoringCase) -> tuple[str, str | None]:
    expected = tuple(Call(name, arguments) for name, arguments in case.expected[0])
    step = ScenarioStep(1, "", (), tuple(_RAW), {}, expected, Recorded({}, None, None))
    calls = tuple(_logged(name, arguments, case) for name, arguments in case.made[0])
    scores = judge(step, Answer(calls, case.text, finish_reason=case.finish_reason))
    code = scores["step"].detail.get("code")
    return _named(standard=scores["step"].value == 1.0, lenient=scores["step_lenient"].value == 1.0), code


def _of_chain(case: ScoringCase) -> tuple[str, str | None]:
    wanted = [(Call(*call), step) for step, calls in enumerate(case.expected) for call in calls]
    chain = [
        ExpectedCall(call, frozenset(case.needs.get(number, ())), step) for number, (call, step) in enumerate(wanted)
    ]
    made = [[Call(name, arguments) for name, arguments in calls] for calls in case.made]
    found = match_chain(chain, made, TOOLS, is_read=lambda name: suggest_effect(name) == "read")
    code = found.problems[0].code if found.problems else None
    return _named(standard=found.is_right, lenient=found.is_nearly_right), code


def _named(*, standard: bool, lenient: bool) -> str:
    return "pass" if standard else "soft" if lenient else "fail"


def _logged(name: str, arguments: Any, case: ScoringCase) -> LoggedCall:
    text = arguments if isinstance(arguments, str) else json_text(arguments)
    complete = case.finish_reason != "length"
    found = judge_call(ToolCall(name, text, "id", complete=complete), _OFFERED)
    state = parse_arguments(text, complete=complete).state
    origin = LEAKED if case.leaked else "native"
    return LoggedCall("u", name, text, state, found.schema_state, found.offered, complete, origin, "id")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
