"""Ends a run as soon as its gate is clear: most of an evaluation goes to models that are plainly good or plainly bad.

The interval may be looked at after every chain (``statistics.sequential``). It takes the first chain of each
conversation in the order of the run, as the sequential gate does, so that the run ends when that gate decides.
"""

from collections.abc import Iterable, Mapping

from tarx_toollog.replay.scenario import Scenario
from tarx_toollog.replay.statistics.sequential import any_time


class Stopping:
    """Watches the chains of a run.

    Args:
        bound: The share of right chains that is demanded.
        scenarios: Those of the run, by key.
    """

    def __init__(self, bound: float, scenarios: Mapping[int, Scenario]) -> None:
        self._bound = bound
        self._scenarios = scenarios
        self._steps: dict[int, dict[int, bool]] = {}
        self._first: dict[str, bool] = {}
        """Conversation → whether its first chain is right."""

    def see(self, results: Iterable[tuple[int, int, bool]]) -> None:
        """Take in results: key of a scenario, step, whether it was right."""
        for key, step_no, is_right in results:
            scenario, steps = self._scenarios[key], self._steps.setdefault(key, {})
            steps[step_no] = is_right
            if scenario.is_whole and len(steps) == len(scenario.steps):
                self._first.setdefault(scenario.conversation_uid, all(steps.values()))

    @property
    def is_decided(self) -> bool:
        """Whether the share is clearly at least the bound, or clearly below."""
        share = any_time(sum(self._first.values()), len(self._first), expected=self._bound)
        return share.low >= self._bound or share.high < self._bound
