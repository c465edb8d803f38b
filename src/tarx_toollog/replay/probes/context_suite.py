"""Plans what the probe of the context asks, when the server has said how many tokens a text is."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from tarx_toollog.errors import NothingMatchedError
from tarx_toollog.replay.probes.calibration import Server, scale_of
from tarx_toollog.replay.probes.cases import Planned, originals
from tarx_toollog.replay.probes.context import FILLS, PROBE, ContextVariants, Scale, Spot, context_variants, spot
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


def plan_context(
    log: "ToolLog",
    tag: str | None,
    run: str | None,
    limit: int | None,
    filling: Filling,
    overrides: Overrides,
    server: Server,
) -> Planned:
    """Return the variants of scenarios, to be frozen as a suite.

    Args:
        log: The store.
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
    return Planned(f"{found[0].tag}+{PROBE}", made.scenarios, told, clusters, tuple(_warnings(made, scale, filling)))


def _warnings(made: ContextVariants, scale: Scale, filling: Filling) -> Iterator[str]:
    """Yield what is known before anything is asked: a fill for which there is too little will not be reached."""
    if not made.short:
        return
    levels = ", ".join(f"{fill} % ({count} of {made.n_scenarios} scenarios)" for fill, count in made.short.items())
    largest = max(made.short)
    hint = "give smaller --fills" if filling.is_neutral else "--neutral fills with text about nothing"
    yield (
        f"too little to fill with: prompts will come to about {made.longest:,} tokens at the most, and {largest} % of "
        f"{scale.usable:,} is {largest * scale.usable // 100:,}. NOT REACHED will be: {levels}; {hint}"
    )
