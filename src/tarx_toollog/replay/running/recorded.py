"""The endpoint ``recorded:``: gives the logged answers again, as bytes, through the same decoder and scorers.

It proves the instrument: whatever it scores below 100 % is a fault of ours, or a decision that should never have
become an expectation.
"""

import time

from tarx_toollog.canonical import Json, json_text
from tarx_toollog.ids import uuid7
from tarx_toollog.replay.scenario import ScenarioStep
from tarx_toollog.wire.raw import Begin, Chunk, End, RawExchange, ResponseStart

RECORDED = "recorded:"
_ROUTE = "/v1/chat/completions"


class RecordedEndpoint:
    """Answers every step with what the log holds."""

    url = RECORDED

    async def describe(self, model: str) -> dict[str, Json]:
        """Return nothing: the logged answers may be of several builds."""
        return {}

    async def describe_again(self, model: str) -> dict[str, Json]:
        """Return nothing, either."""
        return {}

    async def ask(self, step: ScenarioStep, body: bytes, run_uid: str) -> RawExchange:
        """Return the logged answer to ``step`` as an exchange."""
        return recorded_exchange(step, body, run_uid)


def recorded_exchange(step: ScenarioStep, body: bytes, run_uid: str) -> RawExchange:
    """Return an exchange in which the logged answer comes over the wire once more."""
    answer = {
        "object": "chat.completion",
        "model": step.recorded.model,
        "choices": [{"index": 0, "message": dict(step.recorded.message), "finish_reason": step.recorded.finish_reason}],
    }
    data = json_text(answer).encode("utf-8")
    return RawExchange(
        begin=Begin(
            uid=uuid7(),
            leg="replay",
            method="POST",
            path=_ROUTE,
            started_ns=time.time_ns(),
            upstream=RECORDED,
            run_uid=run_uid,
            body_size=len(body),
        ),
        request_body=body,
        response=ResponseStart(200, (("content-type", "application/json"),)),
        chunks=(Chunk(0, data),),
        end=End(0, final_seen=True, body_size=len(data)),
    )
