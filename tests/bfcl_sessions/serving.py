"""Holds what ``Results`` serves against what the real classes say after the same calls.

    python -m tests.bfcl_sessions.serving

prints the figures as a table, in percent of the calls from the change on.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tarx_toollog.canonical import canonical_json
from tarx_toollog.replay.matching import Call
from tarx_toollog.replay.results import Diverged, RecordedCall, Recording, Results, Served
from tests.bfcl.ruler import python_of_bfcl
from tests.consumers.environments import run_in

Played = Mapping[str, Any]
Server = Callable[[Call], Served | Diverged | None]
Policy = Callable[[Recording], Server]
COLUMNS = ("right", "miss", "wrong")


@dataclass(slots=True)
class Tally:
    """What became of the calls of one kind of change."""

    calls: Counter[str] = field(default_factory=Counter)
    """Right, miss and wrong; and how those that are right were served."""
    early_wrong: int = 0
    """Calls before the change that were not served right."""
    trajectories: int = 0
    with_wrong: int = 0
    """Trajectories with a wrong result."""

    def shares(self) -> str:
        """Return the figures as the cells of a table."""
        n = sum(self.calls[column] for column in COLUMNS)
        cells = [f"{100 * self.calls[column] / n:.1f}" for column in COLUMNS]
        return " | ".join([*cells, f"{100 * self.with_wrong / self.trajectories:.1f}", str(n), str(self.trajectories)])


def play_sessions() -> Played:
    """Let the real classes play all sessions."""
    played: Played = json.loads(run_in(python_of_bfcl(), Path(__file__).parent / "oracle.py"))
    return played


def tally(played: Played, policy: Policy) -> dict[str, Tally]:
    """Serve every trajectory, and return what became of its calls, by kind of change."""
    tallies: dict[str, Tally] = {}
    for session in played["sessions"]:
        recording = recording_of(session, played["effects"])
        for trajectory in session["trajectories"]:
            count(tallies.setdefault(trajectory["kind"], Tally()), trajectory, policy(recording))
    return tallies


def count(figures: Tally, trajectory: Mapping[str, Any], serve: Server) -> None:
    """Serve the calls of one trajectory, and add them up."""
    wrong = 0
    for number, (name, arguments, text, is_error) in enumerate(trajectory["calls"]):
        served = serve(Call(name, arguments))
        if not isinstance(served, Served):
            verdict = "miss"
        else:
            # The words of a refusal are the package's own; that the call is refused is what counts.
            same = is_error if served.how == "schema_error" else (served.text, served.is_error) == (text, is_error)
            verdict = "right" if same else "wrong"
        if number < trajectory["start"]:
            figures.early_wrong += verdict != "right"
            continue
        figures.calls[verdict] += 1
        if verdict == "right" and isinstance(served, Served):
            figures.calls[served.how] += 1
        wrong += verdict == "wrong"
    figures.trajectories += 1
    figures.with_wrong += wrong > 0


def recording_of(session: Mapping[str, Any], effects: Mapping[str, Any]) -> Recording:
    """Return a session as a recording."""
    calls = (
        RecordedCall(name, arguments, text, is_error, effects[name])
        for name, arguments, text, is_error in session["recorded"]
    )
    return Recording(tuple(calls), session["schemas"])


def guarded(recording: Recording) -> Server:
    """The policy of the package."""
    return Results(recording).serve


def unguarded(recording: Recording) -> Server:
    """The n-th result of the same call, whatever was written before: what the guard is for."""
    results: dict[tuple[str, bytes], list[RecordedCall]] = {}
    for call in recording.calls:
        results.setdefault((call.name, canonical_json(call.arguments)), []).append(call)

    def serve(call: Call) -> Served | None:
        found = results.get((call.name, canonical_json(call.arguments)))
        if not found:
            return None
        recorded = found.pop(0) if len(found) > 1 else found[0]
        return Served(recorded.result_text, recorded.is_error, "exact")

    return serve


def main() -> None:
    played = play_sessions()
    print("| change | policy | right | miss | WRONG | trajectories with >= 1 wrong | calls | trajectories |")
    print("|---|---|---|---|---|---|---|---|")
    tables = {"exact, no guard": tally(played, unguarded), "guarded": tally(played, guarded)}
    for kind in tables["guarded"]:
        for name, table in tables.items():
            print(f"| {kind} | {name} | {table[kind].shares()} |")


if __name__ == "__main__":
    main()
