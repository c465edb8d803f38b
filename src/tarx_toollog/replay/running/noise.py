"""How much changes when the same model is asked the same again: the noise below which a difference means nothing.

At temperature 0 a server may still answer otherwise the second time: slots share batches, and sums in another order
round otherwise. A model that flips in 5 of 100 chains by itself cannot be told from one that is better in 5.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any

from tarx_toollog.replay.reports.comparison import Comparison, compare_runs
from tarx_toollog.replay.reports.flips import Flips, flips
from tarx_toollog.replay.reports.material import load
from tarx_toollog.replay.running.runner import RunRequest, request_like
from tarx_toollog.replay.scoring import scenarios_of
from tarx_toollog.store.replays import AGAIN, Replays

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

FORMAT = 1
"""Version of the JSON form."""
_LEAST = 10  # scenarios: fewer would see nothing


@dataclass(frozen=True, slots=True)
class Noise:
    """What flipped between right and wrong when a run was asked again."""

    run: str
    again: str
    flips: Flips
    comparison: Comparison

    def to_json(self) -> dict[str, Any]:
        """Return all parts."""
        return {
            "format": FORMAT,
            "run": self.run,
            "again": self.again,
            "chains_flipped": self.flips.chains.to_json(),
            "steps_flipped": self.flips.steps.to_json(),
            "attempts": self.flips.n_attempts,
            "doubts": list(self.comparison.doubts),
        }


def asked_again(log: "ToolLog", name: str, share: float) -> RunRequest:
    """Return the request for a run like ``name`` over a share of its scenarios: the first ones, a random sample.

    Raises:
        NothingMatchedError: There is no such run.
    """
    run = Replays(log).run(name)
    n_scenarios = len(scenarios_of(log, run))
    request = request_like(
        run,
        name=_free_name(f"{name}-again", (one.name for one in Replays(log).runs())),
        limit=min(n_scenarios, max(_LEAST, ceil(n_scenarios * share))),
        again=name,
    )
    return replace(request, attempts=run.params.get("attempts", 1))


def noise(log: "ToolLog", again: str) -> Noise:
    """Return what flipped between a run and the one that asked it again.

    Raises:
        NothingMatchedError: There is no such run, or nothing was judged in both.
    """
    first = str(Replays(log).run(again).params[AGAIN])
    return Noise(first, again, flips(load(log, first), load(log, again)), compare_runs(log, first, again))


def noise_text(found: Noise) -> str:
    """Return it as text."""
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Noise) -> Iterator[str]:
    yield f"asked again, {found.run} gives:"
    for name, share in (("chains", found.flips.chains), ("steps", found.flips.steps)):
        if share.estimate is not None:
            yield (
                f"    {share.numerator} of {share.denominator} {name} another verdict: "
                f"{share.estimate * 100:.1f} %  [{share.low * 100:.1f}–{share.high * 100:.1f}]"
            )
    if found.flips.n_attempts > 1:
        yield f"    counted at each of {found.flips.n_attempts} attempts, beside the same attempt of the other run"
    chains = found.flips.chains
    yield f"    in brackets: {chains.confidence * 100:g} % interval ({chains.method})"
    if chains.n_effective is not None:
        yield f"    the chains tell as much as {chains.n_effective:.0f} that have nothing to do with each other"
    if chains.weighted is not None:
        yield "    the share of chains counts each for as many turns of the log as it stands for"
    yield from (f"doubt: {doubt}" for doubt in found.comparison.doubts)
    yield "a difference between two models that is not larger than this says nothing about them"


def _free_name(wanted: str, taken: Iterable[str]) -> str:
    names, number, name = set(taken), 1, wanted
    while name in names:
        number += 1
        name = f"{wanted}-{number}"
    return name
