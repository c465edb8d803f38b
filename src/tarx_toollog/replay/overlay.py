"""What lies over a suite: answers that somebody accepted as right beside those that it expects.

A suite never changes, so two figures of one suite may differ by what was accepted in between. ``accepted_overlay``
gives that a name, for reports to show.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tarx_toollog.canonical import canonical_json, content_hash, parse_arguments
from tarx_toollog.replay.matching import Call
from tarx_toollog.store.accepted import Accepted
from tarx_toollog.store.replays import Answer, Replays

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

Calls = tuple[Call, ...]
Overlay = Mapping[tuple[int, int], tuple[Calls, ...]]
"""Key of a scenario and step → answers that are accepted there; no calls mean an answer in text."""


@dataclass(frozen=True, slots=True)
class OverlayId:
    """Which answers are accepted beside what a suite expects."""

    n_answers: int
    hash: str
    """Of what was accepted where, in hexadecimal digits; empty where nothing was."""


def overlay(log: "ToolLog", tag: str) -> Overlay:
    """Return what is accepted beside what the scenarios of a suite expect."""
    found: dict[tuple[int, int], dict[bytes, Calls]] = defaultdict(dict)
    for scenario_id, _, step_no, calls in _accepted(log, tag):
        found[scenario_id, step_no][canonical_json(_essence(calls))] = calls
    return {place: tuple(by_essence.values()) for place, by_essence in found.items()}


def accepted_overlay(log: "ToolLog", tag: str) -> OverlayId:
    """Return how many answers are accepted beside what a suite expects, and the hash of what they are."""
    parts = {
        canonical_json([scenario_hash.hex(), step_no, _essence(calls)])
        for _, scenario_hash, step_no, calls in _accepted(log, tag)
    }
    if not parts:
        return OverlayId(0, "")
    return OverlayId(len(parts), content_hash("overlay", sorted(part.decode() for part in parts)).hex())


def calls_made(answer: Answer) -> Calls:
    """Return the calls of an answer, read."""
    return tuple(Call(call.name, parse_arguments(call.arguments, complete=call.complete).value) for call in answer.made)


def _accepted(log: "ToolLog", tag: str) -> list[tuple[int, bytes, int, Calls]]:
    """Return scenario, its content hash, step and calls of each accepted answer."""
    replays = Replays(log)
    return [
        (scenario_id, asked.scenario_hash, asked.step_no, calls_made(row.answer))
        for asked, scenario_id in Accepted(log).answers(tag)
        for row in replays.trials(asked.run_id, trial_id=asked.trial_id)
        if row.answer is not None
    ]


def _essence(calls: Calls) -> list[Any]:
    return sorted(([call.name, call.arguments] for call in calls), key=canonical_json)
