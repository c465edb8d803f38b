"""Freezes the variants of the probe of the context, when the server has said how many tokens a text is."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tarx_toollog.errors import NothingMatchedError
from tarx_toollog.replay.probes.calibration import Server, scale_of
from tarx_toollog.replay.probes.cases import originals, place
from tarx_toollog.replay.probes.context import FILLS, PROBE, Spot, context_variants, spot
from tarx_toollog.replay.probes.padding import logged_turns, neutral_turns
from tarx_toollog.replay.running.asking import Overrides

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog


@dataclass(frozen=True, slots=True)
class Filling:
    """How contexts are filled."""

    fills: Sequence[int] = FILLS
    n_ctx: int | None = None
    """None: as long as the server says."""
    is_neutral: bool = False
    """Text about nothing in the place of other turns of the log."""
    distractors: bool = False
    """Another value of the same kind stands in it."""


def freeze_context(
    log: "ToolLog",
    tag: str | None,
    run: str | None,
    limit: int | None,
    filling: Filling,
    overrides: Overrides,
    server: Server,
) -> str:
    """Freeze the variants of scenarios as a suite, and return its name.

    Args:
        log: The store, open for writing.
        tag: The suite to take scenarios from; None where ``run`` says it.
        run: Only those that this run got right.
        limit: At most so many scenarios.
        filling: How contexts are filled.
        overrides: What is sent along.
        server: The server that will be asked.

    Raises:
        NothingMatchedError: There are no such scenarios, or the log has no turns to fill with.
        ConfigError: None of them has a fact in its dialogue.
        EndpointError: The server cannot be reached, or does not count tokens.
    """
    found = originals(log, tag, run, limit)
    turns = neutral_turns() if filling.is_neutral else logged_turns(log)
    if not turns:
        raise NothingMatchedError("the log has no turns to fill with", hint="--neutral fills with text about nothing")
    steps = [at.step for original in found if isinstance(at := spot(original.scenario), Spot)]
    scale = scale_of(overrides, steps or [found[0].scenario.steps[0]], turns, filling.n_ctx, server)
    made = context_variants(found, turns, scale, filling.fills, distractors=filling.distractors)
    told = {"probe": PROBE, "of": found[0].tag, "run": run, **asdict(filling), **scale.to_json(), **made.to_json()}
    clusters = {original.uid: original.cluster for original in found}
    return place(log, f"{found[0].tag}+{PROBE}", made.scenarios, told, clusters)
