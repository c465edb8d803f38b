"""Whatever was logged and whatever a model does: what is served is what the tools would have said."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tarx_toollog.canonical import content_hash
from tarx_toollog.replay.matching import Call
from tarx_toollog.replay.results import Diverged, RecordedCall, Recording, Results, Served
from tests.unit.replay.results.support import EFFECTS, SCHEMAS

Script = list[Call]

ARGUMENTS = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "A", "b"])},
    optional={"lines": st.sampled_from([1, 10, 10.0]), "scale": st.sampled_from([1, 1.0, 2])},
)
CALLS = st.builds(Call, st.sampled_from(sorted(EFFECTS)), ARGUMENTS)
SCRIPTS = st.lists(CALLS, max_size=7)


class World:
    """Tools whose every answer depends on all that was written before, and on each argument.

    Some calls fail, and some of those have changed something all the same. The writing of a number says nothing to
    them, as their schema has it, but where it must be whole.
    """

    def __init__(self) -> None:
        self.written: list[bytes] = []

    def call(self, call: Call) -> tuple[str, bool]:
        assert call.arguments is not None
        given: dict[str, Any] = dict(call.arguments)
        if call.name == "read":
            given = {"lines": 10, **given}
        if "scale" in given and call.name == "read":
            given["scale"] = float(given["scale"])
        own = content_hash(call.name, given)
        effect = EFFECTS[call.name]
        if effect == "idempotent" and self.written[-1:] == [own]:
            self.written.pop()
        chance = content_hash("result", [own.hex(), [each.hex() for each in self.written]])
        is_error = chance[5] % 4 == 0
        # An idempotent call says the same again only when the first one did something.
        if effect != "read" and not (is_error and chance[6] % 2 and effect == "write"):
            self.written.append(own)
        return chance.hex(), is_error


def log_of(script: Script) -> Recording:
    world = World()
    calls = (RecordedCall(call.name, call.arguments, *world.call(call), EFFECTS[call.name]) for call in script)
    return Recording(tuple(calls), SCHEMAS)


def check(log: Recording, script: Script) -> None:
    """Play a script to the results and to the world: until it diverges, both must say the same."""
    results, world = Results(log), World()
    for call in script:
        served = results.serve(call)
        if isinstance(served, Diverged):
            return
        assert world.call(call) == (served.text, served.is_error)


@given(SCRIPTS, SCRIPTS)
@settings(max_examples=400)
def test_no_model_is_ever_served_a_wrong_result(script: Script, other: Script) -> None:
    check(log_of(script), other)


@given(st.data(), st.lists(CALLS, min_size=2, max_size=7))
@settings(max_examples=400)
def test_no_dropped_swapped_repeated_or_changed_call_lets_a_wrong_result_through(
    data: st.DataObject, script: Script
) -> None:
    one, other = sorted(data.draw(st.tuples(*[st.integers(0, len(script) - 1)] * 2)))
    changed = list(script)
    match data.draw(st.sampled_from(["drop", "swap", "repeat", "change"])):
        case "drop":
            del changed[one]
        case "swap":
            changed[one], changed[other] = changed[other], changed[one]
        case "repeat":
            changed.insert(other, changed[one])
        case _:
            changed[one] = data.draw(CALLS)

    check(log_of(script), changed)


WILD_CALLS = st.builds(
    RecordedCall,
    st.sampled_from([*sorted(EFFECTS), "unheard_of"]),
    st.one_of(st.dictionaries(st.sampled_from(["name", "lines", "text"]), st.sampled_from(["a", 1, 1.5, None]))),
    st.sampled_from(["1", "2", ""]),
    st.booleans(),
    st.sampled_from(["read", "write", "idempotent"]),
)  # fmt: skip
UNREADABLE = st.builds(
    RecordedCall,
    st.sampled_from(sorted(EFFECTS)),
    st.none(),
    st.text(max_size=3),
    st.just(value=True),
    st.just("write"),
)


@given(st.lists(st.one_of(WILD_CALLS, UNREADABLE), max_size=8))
@settings(max_examples=400)
def test_any_turn_that_is_made_again_as_it_was_gets_every_result(calls: list[RecordedCall]) -> None:
    results = Results(Recording(tuple(calls), SCHEMAS))
    answers = [results.serve(call.call) for call in calls]

    assert [Served(call.result_text, call.is_error, "exact") for call in calls] == answers
