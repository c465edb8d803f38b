"""One endpoint at work on a run: asks it with patience, and knows when it is gone.

*Theory.* What comes back says something about the model of the run only when two things are known of the server.

* It is still the one that the run began with. A manager may start it with another model at any moment, and no request
  need fail. So it is asked who it is after each answer, before that counts: a load takes longer than this question.
* It works. A server that is set up wrong gives errors to everything, and would look like a hopeless model. So after
  an error that would count against the model it gets a plain question; only a server that can answer that is believed.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from tarx_toollog.canonical import json_text
from tarx_toollog.model import Exchange
from tarx_toollog.replay.running.asking import (
    Judged,
    Overrides,
    Verdict,
    error_of,
    judged,
    plain_question,
    question,
    verdict_on,
)
from tarx_toollog.replay.running.endpoint import Endpoint, Patience
from tarx_toollog.replay.running.prompts import PromptCheck
from tarx_toollog.replay.running.server import described, facts_for, is_known, require_same
from tarx_toollog.replay.scenario import ScenarioStep
from tarx_toollog.store.asked import LoggedRequest
from tarx_toollog.store.work import Unit
from tarx_toollog.wire.decode import decode

_PLAIN_FAILED = "an error even to a plain question, without tools and history"
"""How the note begins on an error that is the server's."""
_LOST_AFTER = 3  # units in a row that the network ate: the server is gone, not slow


class Answered(NamedTuple):
    """What came of one request."""

    judged: Judged
    exchange: Exchange

    @property
    def verdict(self) -> Verdict:
        """What it means."""
        return self.judged.verdict

    @property
    def error(self) -> str | None:
        """What is kept with the trial: what went wrong, or a remark on what was sent."""
        if self.verdict is Verdict.OK or self.judged.note is not None:
            return self.judged.note
        return error_of(self.exchange)


class Station:
    """An endpoint, and how it has fared in this run.

    Args:
        endpoint: The endpoint.
        at_a_time: Requests at a time.
        overrides: What replaces the logged parameters.
        run_uid: The run.
        patience: How long to wait for it.
        prompts: Looks at the prompts of the run.
        server: What the run keeps of the server.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        at_a_time: int,
        overrides: Overrides,
        run_uid: str,
        patience: Patience,
        prompts: PromptCheck,
        server: Mapping[str, Any],
    ) -> None:
        self.at_a_time = at_a_time
        self.is_lost = False
        """Whether it will not be asked again."""
        self.lost_units: list[Unit] = []
        """The units that the network ate since it last answered."""
        self._endpoint = endpoint
        self._overrides = overrides
        self._run_uid = run_uid
        self._patience = patience
        self._prompts = prompts
        self._server = server

    @property
    def url(self) -> str:
        """Its URL."""
        return self._endpoint.url

    async def ask(
        self, step: ScenarioStep, attempt: int, logged: LoggedRequest | None, *, n_logged: int | None = None
    ) -> Answered:
        """Ask a step, again and again while the network or a loading server is in the way.

        Args:
            step: The step.
            attempt: From 1.
            logged: The same request in the log, where it is known.
            n_logged: As for ``asking.question``.

        Raises:
            ConfigError: The server is another one by now.
        """
        asked = question(step, self._overrides.for_attempt(attempt), n_logged=n_logged)
        body = json_text(asked.body).encode("utf-8")
        wait_s = self._patience.first_wait_s
        for left in range(self._patience.retries, -1, -1):
            exchange = decode(await self._endpoint.ask(step, body, self._run_uid))
            fault = self._prompts.fault(exchange, None if asked.changed else logged)
            found = await self._believed(judged(exchange, asked, fault), step)
            if found.verdict is not Verdict.INFRA_ERROR or not left:
                break
            await asyncio.sleep(wait_s)
            wait_s *= 2
        return Answered(found, exchange)

    async def _believed(self, found: Judged, step: ScenarioStep) -> Judged:
        """Return what an exchange means, once it is known which server answered, and that it works."""
        if found.verdict is Verdict.MODEL_ERROR:
            found = await self._of_a_server_that_works(found, step)
        if found.verdict is Verdict.INFRA_ERROR or not is_known(self._server):
            return found
        doubt = await self._doubt()
        return found if doubt is None else Judged(Verdict.INFRA_ERROR, doubt)

    async def _doubt(self) -> str | None:
        """Return why nobody can tell which server has answered; None when it was that of the run."""
        for _ in range(self._patience.retries + 1):  # a busy server may not get to this question in time
            answers = await self._endpoint.describe_again(self._overrides.model)
            now = described(answers, facts_for(answers, self._overrides))
            if is_known(now):
                require_same(self._server, now)
                return None
        return "it does not say any more which model it serves"

    async def _of_a_server_that_works(self, found: Judged, step: ScenarioStep) -> Judged:
        """Return what an error means: nothing about the model where the server fails at a plain question, too."""
        body = json_text(plain_question(step, self._overrides)).encode("utf-8")
        exchange = decode(await self._endpoint.ask(step, body, self._run_uid))
        verdict = verdict_on(exchange)
        if verdict is Verdict.MODEL_ERROR:
            return Judged(Verdict.REFUSED, f"{_PLAIN_FAILED}: {error_of(exchange)}")
        return Judged(verdict, error_of(exchange)) if verdict is Verdict.INFRA_ERROR else found

    def note(self, unit: Unit, verdict: Verdict) -> None:
        """Take note of how a unit ended; ``is_lost`` may be true afterwards."""
        if verdict is Verdict.REFUSED:
            self.lost_units.append(unit)
            self.is_lost = True
        elif verdict is Verdict.INFRA_ERROR:
            self.lost_units.append(unit)
            self.is_lost = self.is_lost or len(self.lost_units) >= _LOST_AFTER
        else:
            self.lost_units.clear()
