"""The probe of the context: how full may it be, and does it matter where the needed fact stands? Makes the variants.

One step of each scenario is asked, the last one whose arguments stand in a message that can be moved. Padding goes
between turns, never into one: before the turn that holds the fact (``end``: the fact stands near the question), behind
it (``start``), or half and half (``middle``). A fact of the very turn that asks cannot be moved: it is at the end only.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

from tarx_toollog.canonical import json_text
from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.matching import Call
from tarx_toollog.replay.probes.cases import Original
from tarx_toollog.replay.probes.distractors import rank
from tarx_toollog.replay.probes.padding import Messages, Turn, padding
from tarx_toollog.replay.provenance import leaves, origins
from tarx_toollog.replay.scenario import Scenario, ScenarioStep, Variant, offered_schemas

PROBE = "context"
AS_IT_IS = "as_it_is"
Position = Literal["start", "middle", "end"]
POSITIONS: tuple[Position, ...] = ("start", "middle", "end")
"""Where the fact stands in what is sent."""
FILLS = (25, 50, 75, 90)
"""Hundredths of the usable context that are filled."""
WITH_DISTRACTORS = "+distractors"
REASONS = {
    "no_call": "no step of it expects a call",
    "no_fact": "nothing that it has to call with stands in a message of the dialogue",
}
"""Why a scenario is not probed."""
REACHED = 0.9
"""Share of the intended tokens from which a fill is reached: padding is of whole turns."""
_SAFE = 0.97  # what characters say of tokens errs by some hundredths, and a server refuses what passes its context
_SAID = frozenset({"turn", "result", "earlier"})


@dataclass(frozen=True, slots=True)
class Scale:
    """How characters become tokens, and how many there are. Measured with the server's own counts."""

    usable: int
    """Tokens of the context, without those of the answer."""
    chars_per_token: float
    """Of padding."""
    prompt_chars_per_token: float
    """Of what is sent without padding: tools, history and what the template adds."""

    def to_json(self) -> dict[str, Any]:
        """Return it as it is kept with the suite."""
        return {"usable_tokens": self.usable, "chars_per_token": round(self.chars_per_token, 3)}


class Spot(NamedTuple):
    """Where a step has its fact."""

    step: ScenarioStep
    before: int
    """Place of the message with which the turn begins that holds it."""
    after: int
    """Place of the message with which the next turn begins; the same one where it cannot be moved."""

    @property
    def positions(self) -> tuple[Position, ...]:
        """Where it can be put."""
        return POSITIONS if self.after > self.before else ("end",)


class _Made(NamedTuple):
    """A variant, and how long its prompt is."""

    scenario: Scenario
    of: str
    """The uid of the original."""
    fill: int
    tokens: float
    """About."""
    intended: float

    @property
    def is_short(self) -> bool:
        """Whether the fill will not be reached."""
        return self.tokens < REACHED * self.intended


@dataclass(frozen=True, slots=True)
class ContextVariants:
    """What was made of the scenarios."""

    scenarios: tuple[Scenario, ...]
    left_out: Mapping[str, int]
    """Scenarios that are not probed, by reason."""
    fixed: int
    """Scenarios whose fact cannot be moved."""
    without_distractor: int
    """Scenarios for which no other value of the same kind was found, when some were wanted."""
    n_scenarios: int
    """Scenarios that are probed."""
    short: Mapping[int, int]
    """Fill → scenarios for which there is too little to fill with, where there are any."""
    longest: int
    """Tokens of the longest prompt, about."""

    def to_json(self) -> dict[str, Any]:
        """Return the counts, as they are kept with the suite."""
        return {
            "left_out": dict(self.left_out),
            "fact_cannot_be_moved": self.fixed,
            "without_distractor": self.without_distractor,
        }


def context_variants(
    originals: Sequence[Original],
    turns: Sequence[Turn],
    scale: Scale,
    fills: Sequence[int] = FILLS,
    *,
    distractors: bool = False,
) -> ContextVariants:
    """Return the variants of scenarios: as they are, and at each fill with the fact at each position.

    Args:
        originals: What variants are made of.
        turns: What to fill with.
        scale: How much that is.
        fills: Hundredths of the usable context.
        distractors: Put another value of the same kind into the padding, too.

    Raises:
        ConfigError: No scenario has a fact in its dialogue.
    """
    spots, left_out = _spots(originals)
    calls = [call for found in spots.values() for call in found.step.expected]
    made: list[_Made] = []
    n_without = 0
    for original in originals:
        if original.uid in spots:
            found = spots[original.uid]
            other = distractor(found.step, calls, original.scenario.content_hash) if distractors else ()
            n_without += distractors and not other
            made += _variants(original, found, turns, scale, fills, other, distractors=distractors)
    return ContextVariants(
        scenarios=tuple(each.scenario for each in made),
        left_out=left_out,
        fixed=sum(len(found.positions) == 1 for found in spots.values()),
        without_distractor=n_without,
        n_scenarios=len(spots),
        short=_short(made),
        longest=round(max(each.tokens for each in made)),
    )


def _short(made: Sequence[_Made]) -> dict[int, int]:
    """Return how many scenarios have too little to fill with, by fill."""
    found = Counter(fill for fill, _ in {(each.fill, each.of) for each in made if each.is_short})
    return {fill: found[fill] for fill in sorted(found)}


def _spots(originals: Sequence[Original]) -> tuple[dict[str, Spot], dict[str, int]]:
    """Return the spot of each scenario that has one, by its uid, and how many have none, by reason.

    Raises:
        ConfigError: None has one.
    """
    spots: dict[str, Spot] = {}
    left_out: dict[str, int] = {}
    for original in originals:
        found = spot(original.scenario)
        if isinstance(found, str):
            left_out[found] = left_out.get(found, 0) + 1
        else:
            spots[original.uid] = found
    if not spots:
        told = "; ".join(f"{count}: {REASONS[reason]}" for reason, count in left_out.items())
        raise ConfigError(f"no scenario has a fact to move ({told})", hint="choose a suite with tool calls")
    return spots, left_out


def spot(scenario: Scenario) -> Spot | str:
    """Return the step to ask with the place of its fact, or the reason why there is none.

    Of several facts the earliest counts: it is the one that is easiest to lose.
    """
    found: list[Spot] = []
    for step in scenario.steps:
        schemas = offered_schemas(step)
        places = [
            origin.message
            for call in step.expected
            for origin in origins(call, step.messages, schemas.get(call.name))
            if origin.source in _SAID and origin.message is not None
        ]
        users = [place for place, message in enumerate(step.messages) if message.get("role") == "user"]
        if not places or not users:
            continue
        before = max((place for place in users if place <= min(places)), default=users[0])
        after = next((place for place in users if place > min(places)), before)
        found.append(Spot(step, before, after))
    if not found:
        return "no_fact" if any(step.expected for step in scenario.steps) else "no_call"
    return max(found, key=lambda each: (len(each.positions), each.step.step_no))


def level_of(fill: int, scale: Scale) -> str:
    """Return the name of a level, which says how many tokens it means."""
    return f"{fill}% of {scale.usable}"


def intended(level: str) -> tuple[int, int]:
    """Return the fill of a level, in hundredths, and the tokens that it means."""
    fill, _, usable = level.partition("% of ")
    return int(fill), round(int(fill) * int(usable) / 100)


def usable_of(level: str) -> int:
    """Return the usable tokens that a level is a share of."""
    return int(level.partition("% of ")[2])


def distractor(step: ScenarioStep, calls: Sequence[Call], seed: bytes) -> Messages:
    """Return a turn that names another value of the same kind, for something else; nothing where none is known."""
    own = {str(value) for call in step.expected for _, value in leaves(call.arguments or {})}
    for call in step.expected:
        for path, value in leaves(call.arguments or {}):
            other = _other_digits(str(value), seed) if any(map(str.isdigit, str(value))) else None
            known = sorted(
                {
                    str(each)
                    for same in calls
                    if same.name == call.name
                    for at, each in leaves(same.arguments or {})
                    if at == path
                }
                - own
            )
            other = other or (known[rank(seed, path) % len(known)] if known else None)
            if other is not None and other not in own:
                name = path.rpartition("/")[2].replace("_", " ")
                return (
                    {"role": "user", "content": f"For somebody else, not for me: there the {name} is {other}."},
                    {"role": "assistant", "content": "I see. That is for somebody else."},
                )
    return ()


def _variants(
    original: Original,
    found: Spot,
    turns: Sequence[Turn],
    scale: Scale,
    fills: Sequence[int],
    other: Messages,
    *,
    distractors: bool,
) -> Iterator[_Made]:
    scenario, step = original.scenario, found.step
    bare = replace(scenario, steps=(replace(step, exchange_uid=""),), omitted=(), recording=())
    suffix = WITH_DISTRACTORS if distractors else ""
    used = prompt_chars(step.messages, step.tools) / scale.prompt_chars_per_token
    as_it_is = replace(bare, variant=Variant(original.uid, PROBE, AS_IT_IS, level_of(0, scale)))
    yield _Made(as_it_is, original.uid, 0, used, 0)
    for fill in fills:
        wanted = fill / 100 * scale.usable
        room = int((_SAFE * wanted - used) * scale.chars_per_token)
        chosen = padding(turns, scenario.content_hash, scenario.conversation_uid, step.expected, max(0, room))
        tokens = used + sum(turn.size for turn in chosen) / scale.chars_per_token
        for position in found.positions:
            padded = replace(
                bare,
                steps=(replace(step, messages=_padded(found, chosen, other, position), exchange_uid=""),),
                variant=Variant(original.uid, PROBE, position + suffix, level_of(fill, scale)),
            )
            yield _Made(padded, original.uid, fill, tokens, wanted)


def _padded(found: Spot, turns: Sequence[Turn], other: Messages, position: Position) -> Messages:
    middle = {"start": 0, "middle": len(turns) // 2, "end": len(turns)}[position]
    blocks = [turn.messages for turn in turns]
    before, after = blocks[:middle], blocks[middle:]
    larger = before if len(before) > len(after) else after
    if other:
        larger.insert(len(larger) // 2, other)
    messages = found.step.messages
    return (
        *messages[: found.before],
        *(message for block in before for message in block),
        *messages[found.before : found.after],
        *(message for block in after for message in block),
        *messages[found.after :],
    )


def prompt_chars(messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> int:
    """Return the characters of what is sent."""
    return len(json_text([dict(each) for each in messages])) + len(json_text([dict(each) for each in tools]))


def _other_digits(value: str, seed: bytes) -> str:
    """Return a value in which each digit is another one; a first digit does not become 0."""

    def other(place: int, digit: str) -> str:
        moved = (int(digit) + 1 + rank(seed, f"{value} {place}") % 8) % 10
        return str(moved) if moved or place else digit.translate(_NO_ZERO)

    return "".join(other(place, each) if each in _DIGITS else each for place, each in enumerate(value))


_DIGITS = "0123456789"
_NO_ZERO = str.maketrans(_DIGITS, "1234567891")
