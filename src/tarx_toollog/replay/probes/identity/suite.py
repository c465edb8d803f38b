"""Plans what the probe of identity asks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tarx_toollog.replay.probes.cases import Planned, originals
from tarx_toollog.replay.probes.identity.arms import PROBE, identity_variants, surroundings
from tarx_toollog.replay.probes.identity.questions import Question

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog


def plan_identity(
    log: "ToolLog",
    questions: Sequence[Question],
    tag: str | None,
    limit: int | None,
    system_prompt: str | None,
    *,
    with_tools: bool,
) -> Planned:
    """Return questions, and the scenarios of a suite, with the system prompt and without, to be frozen as a suite.

    Args:
        log: The store.
        questions: What is asked.
        tag: A suite whose steps are asked in the same arms; None for none.
        limit: At most so many scenarios of it.
        system_prompt: The prompt; None takes the one that the log used most.
        with_tools: Offer the tools that the log offers most.

    Raises:
        NothingMatchedError: The suite has no scenarios.
        ConfigError: No system prompt is known.
    """
    around = surroundings(log, questions[0].check, system_prompt, with_tools=with_tools)
    steps = [] if tag is None else originals(log, tag, None, limit)
    variants = list(identity_variants(questions, around, steps))
    told = {
        "probe": PROBE,
        "of": tag,
        "questions": len(questions),
        "system_prompt": around.system_prompt,
        "tools": len(around.tools),
        "dialogues": {str(turn): len(found) for turn, found in around.carriers.items()},
    }
    clusters = {question.id: f"identity:{question.check.family}" for question in questions}
    clusters |= {original.uid: original.cluster or original.scenario.conversation_uid for original in steps}
    return Planned(PROBE if tag is None else f"{tag}+{PROBE}", variants, told, clusters)
