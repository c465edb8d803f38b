"""The columns of ``exchange`` that say which build answered and how its context was spent.

Looks up what ``store.budget`` and ``store.builds`` need and turns their answers into values for the row; it decides
nothing itself. Calibrations live in memory, one for each build: a new process begins with the default ratio, and the
first exchange that its server counts puts that right.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from tarx_toollog.model import Exchange, Message, Outcome
from tarx_toollog.store.budget import Calibration, budget, measure, poisoned
from tarx_toollog.store.builds import Known, Place, build_of
from tarx_toollog.store.linker import last_answer, sem_chain, split_leading
from tarx_toollog.store.prepared import Connected
from tarx_toollog.store.schema import exchange, model_build, node, run
from tarx_toollog.wire.fields import count_or_none, dict_or_empty
from tarx_toollog.wire.model_facts import ADAPTERS_PARAM

_MAX_CALIBRATIONS = 256  # builds and models of one process; names come from clients, so there is an end
_COUNTED = ("usage", "timings", "eval_count")

_RUN_BUILD = (
    sa.select(model_build.c.id, model_build.c.n_ctx)
    .join(run, run.c.model_build_id == model_build.c.id)
    .where(run.c.uid == sa.bindparam("uid"))
)
_PARENT = (
    sa.select(
        exchange.c.output_sem,
        exchange.c.input_tokens,
        exchange.c.usage_source,
        exchange.c.response_model,
        exchange.c.system_node_id,
        exchange.c.toolset_id,
        node.c.depth,
    )
    .outerjoin(node, node.c.id == exchange.c.input_node_id)
    .where(exchange.c.id == sa.bindparam("parent_id"))
)


class PromptPlace(NamedTuple):
    """What the prompt of an exchange continues, and what it holds beside the history: rows of the store."""

    parent_id: int | None
    system_node_id: int | None
    toolset_id: int | None


class ContextBudgets:
    """Makes the values for one exchange after the other. Used by one writer.

    Args:
        upstream: Base URL that is meant where a tap did not know its server.
    """

    def __init__(self, upstream: str | None) -> None:
        self._upstream = upstream
        self._calibrations: dict[int | str | None, Calibration] = {}

    def forget(self) -> None:
        """Drop the calibrations: what was learned in a transaction that is undone would be learned twice."""
        self._calibrations.clear()

    def values(self, connection: Connected, place: PromptPlace, item: Exchange) -> dict[str, Any]:
        """Return the values for an exchange that has ended and is linked.

        Args:
            connection: The writer's connection.
            place: Where it stands.
            item: The exchange.
        """
        build = self._build(connection, item)
        found: dict[str, Any] = {"model_build_id": build.id if build else None}
        if item.request is None:
            return found | {"ctx_limit": build.n_ctx if build else None}
        first_new, parent_tokens = self._continued(connection, place, item)
        size = measure(item.request, first_new)
        calibration = self._calibration(build.id if build else model_of(item))
        limit = _asked_limit(item) or (build.n_ctx if build else None)
        spent = budget(item, size, calibration, limit=limit, parent_input_tokens=parent_tokens)
        usage = item.response.usage if item.response is not None else None
        if usage is not None and usage.input_tokens and spent.truncation == "none":
            calibration.learn(size, usage.input_tokens)
        found |= {
            "ctx_limit": spent.limit,
            "tool_tokens": spent.tool_tokens,
            "system_tokens": spent.system_tokens,
            "history_tokens": spent.history_tokens,
            "new_tokens": spent.new_tokens,
            "budget_source": spent.source,
            "truncation": spent.truncation,
            "poisoned": poisoned(item.request),
        }
        has_answer = item.response is not None and bool(item.response.choices)
        if has_answer and usage is None and spent.source == "estimated":  # counts of the server's are never replaced
            found |= {"input_tokens": spent.input_tokens, "usage_source": "estimated"}
        return found

    def _build(self, connection: Connected, item: Exchange) -> Known | None:
        if item.run_uid is not None:  # a replay has asked its server at the start
            row = connection.execute(_RUN_BUILD, {"uid": item.run_uid}).first()
            return None if row is None else Known(row.id, row.n_ctx)
        if item.request is not None and ADAPTERS_PARAM in item.request.params:
            return None  # it chose its adapters itself: no build that a probe saw
        upstream = item.upstream or self._upstream
        if upstream is None or item.http_status is None or item.outcome is Outcome.PROXY_ERROR:
            return None
        return build_of(connection, Place.of(upstream, model_of(item)), item.started_at)

    def _continued(self, connection: Connected, place: PromptPlace, item: Exchange) -> tuple[int, int | None]:
        """Return where the new messages begin, and the tokens of the parent's prompt where they can be compared."""
        assert item.request is not None
        if item.request.previous_response_id is not None:
            return 0, None  # all of it is new: the server keeps the rest
        history = split_leading(item.request.messages)[1]
        row = None
        if place.parent_id is not None:
            row = connection.execute(_PARENT, {"parent_id": place.parent_id}).first()
        first_new = None if row is None or row.depth is None else row.depth + 2
        if row is None or first_new is None or not _opens(history[:first_new], row.output_sem):
            last = last_answer(history)
            return 0 if last is None else last + 1, None
        model = item.response.model if item.response is not None else None
        is_comparable = (
            (row.system_node_id, row.toolset_id) == (place.system_node_id, place.toolset_id)
            and row.usage_source in _COUNTED
            and row.response_model == model
        )
        return first_new, row.input_tokens if is_comparable else None

    def _calibration(self, key: int | str | None) -> Calibration:
        if key not in self._calibrations:
            if len(self._calibrations) >= _MAX_CALIBRATIONS:
                self._calibrations.pop(next(iter(self._calibrations)))
            self._calibrations[key] = Calibration()
        return self._calibrations[key]


def _opens(beginning: Sequence[Message], output_sem: bytes | None) -> bool:
    """Say whether a history begins with the parent's prompt and its answer: not with a window of them, for example."""
    return output_sem is not None and bool(beginning) and sem_chain(beginning)[-1] == output_sem


def model_of(item: Exchange) -> str | None:
    """Return the name of the model: as the server gave it, else as the client did."""
    answered = item.response.model if item.response is not None else None
    asked = item.request.model if item.request is not None else None
    return answered or asked


def _asked_limit(item: Exchange) -> int | None:
    """Return the context that the request asked for: Ollama loads the model with it."""
    assert item.request is not None
    return count_or_none(dict_or_empty(item.request.params.get("options")).get("num_ctx")) or None
