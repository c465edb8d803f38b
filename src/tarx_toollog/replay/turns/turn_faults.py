"""What is wrong with a turn that a model made by itself, beside one chain that would have been right. Pure.

A turn that ran to its end is held against all of the chain. Of one that diverged only the beginning is known: what is
missing may have come, a wrong question may have been asked again rightly. Only what cannot be mended counts: a write
that was not expected, or not yet.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

from tarx_toollog.canonical import canonical_json, parse_arguments
from tarx_toollog.replay.matching import Call, ChainMatch, Pair, match_chain, pair_calls
from tarx_toollog.replay.results import Diverged
from tarx_toollog.replay.scenario import ScenarioStep
from tarx_toollog.replay.scorers.base import Evidence
from tarx_toollog.replay.scorers.findings import CODES, LEAKED, Finding
from tarx_toollog.replay.scorers.references import refined
from tarx_toollog.replay.shown import Shown
from tarx_toollog.replay.turns.course import Course
from tarx_toollog.replay.turns.expected_chain import Chain, Expectation

Weight = Literal["hard", "soft", "more"]
"""How bad: ``hard`` is wrong; ``soft`` is what the lenient profile forgives; ``more`` only the strict one minds."""
WEIGHTS: tuple[Weight, ...] = ("hard", "soft", "more")

_RANK = {code: rank for rank, code in enumerate(CODES)}
_CUT = "length"


class Fault(NamedTuple):
    """One thing that is wrong, and how bad it is."""

    finding: Finding
    weight: Weight


class Comparison:
    """A course beside a chain.

    Args:
        course: What the model did.
        expectation: Where the chain comes from.
        chain: What would have been right.
        steps: Those of the scenario.
    """

    def __init__(self, course: Course, expectation: Expectation, chain: Chain, steps: Sequence[ScenarioStep]) -> None:
        self._course = course
        self._expectation = expectation
        self._steps = steps
        self._last = steps[-1]
        self._schemas = {name: schema for name, schema in course.schemas.items() if schema is not None}
        # A call that nobody could read, or of no tool, is a fault of its own, and no answer to any expected one.
        self._made = [one for one in course.made if one.call.arguments is not None and one.call.name in course.schemas]
        said = {number: self._made[at].text for number, at in enumerate(self._match(chain).places) if at is not None}
        self._chain = expectation.bound(chain, said)
        self._found = self._match(self._chain)
        self._missing = [pair.expected for pair in self._found.partners if pair.expected and pair.actual is None]

    @cached_property
    def faults(self) -> list[Fault]:
        """All that is wrong, the primary cause first."""
        found = [*self._of_calls(), *self._of_leaks()]
        if not self._chain:
            found += self._of_unneeded()
        elif self._course.ending == "diverged":
            found += [*self._of_writes(), *self._past_mending()]
        else:
            found += [*self._of_arguments(self._found.partners), *self._of_the_chain()]
        if self._course.ending != "diverged":
            found += self._of_the_ending()
        found += [_more(call.name) for call in self._found.more_reads if self._chain]
        return sorted(found, key=lambda fault: (WEIGHTS.index(fault.weight), _rank(fault)))

    @property
    def distance(self) -> tuple[int, ...]:
        """How far the course is from the chain: by what is wrong, by what is missing, by how early it went wrong."""
        hard, *others = (sum(fault.weight == weight for fault in self.faults) for weight in WEIGHTS)
        first = _rank(self.faults[0]) if self.faults else 0
        return hard, len(self._missing), *others, -first

    @property
    def is_same_json(self) -> bool:
        """Whether the calls that were made are the expected ones to the letter, but for arguments with a rule."""
        both = ((pair.expected, pair.actual) for pair in self._found.partners)
        return all(self._letters(one) == self._letters(other) for one, other in both if one and other)

    def _match(self, chain: Chain) -> ChainMatch:
        decisions = range(len(self._course.answers))
        return match_chain(
            self._expectation.to_match(chain),
            [[made.call for made in self._made if made.decision == number] for number in decisions],
            self._schemas,
            is_read=self._course.is_read,
            rules=self._expectation.rules,
            failed={place for place, made in enumerate(self._made) if made.failed},
        )

    # ---- single calls -----------------------------------------------------------------------------------------------

    def _of_calls(self) -> Iterator[Fault]:
        for made in self._course.made:
            if made.call.arguments is None:
                is_cut = not made.logged.complete or self._course.answers[made.decision].finish_reason == _CUT
                code = "truncated" if is_cut else "malformed_json"
                yield _hard(code, name=made.call.name, arguments=made.logged.arguments)
            if made.call.name not in self._course.schemas:
                yield _hard("hallucinated_tool", name=made.call.name)

    def _of_leaks(self) -> Iterator[Fault]:
        for answer in self._course.answers:
            calls = [call for call in answer.calls if call.origin == LEAKED]
            leaked = [Call(call.name, parse_arguments(call.arguments, complete=call.complete).value) for call in calls]
            if leaked:
                pairs = pair_calls(self._missing, leaked, self._schemas, self._expectation.rules)
                is_right = all(pair.is_right for pair in pairs if pair.actual is not None)
                yield _hard("unparsed_tool_call", names=_names(leaked), would_have_been_right=is_right)

    def _of_arguments(self, pairs: Sequence[Pair]) -> Iterator[Fault]:
        for pair in pairs:
            if pair.expected is None or pair.actual is None:
                continue
            told = [(difference.to_json(), difference.is_soft) for difference in pair.differences]
            name = pair.expected.name
            plain = [Finding(one.pop("code"), {"name": name, **one}, is_soft) for one, is_soft in told]
            for finding in refined(plain, self._shown_at(pair.actual), self._schemas, self._expectation.rules):
                yield _fault(finding)

    def _shown_at(self, call: Call) -> Shown:
        """Return what the model had been shown when it made a call."""
        decision = next(made.decision for made in self._made if made.call is call)
        messages = list(self._steps[0].messages)
        for number, made in enumerate(self._course.made):
            if made.decision < decision:
                function = {"name": made.call.name, "arguments": made.logged.arguments}
                messages.append({"role": "assistant", "tool_calls": [{"id": str(number), "function": function}]})
                messages.append({"role": "tool", "tool_call_id": str(number), "content": made.text})
        return Shown(messages)

    # ---- a turn that ran to its end ---------------------------------------------------------------------------------

    def _of_unneeded(self) -> Iterator[Fault]:
        if self._course.made:
            yield self._too_many([made.call.name for made in self._course.made])

    def _of_the_chain(self) -> Iterator[Fault]:
        for one in self._found.problems:
            is_extra = one.code == "extra_call"
            yield (
                self._too_many([one.name])
                if is_extra
                else _fault(Finding(one.code, {"names": [one.name]}, one.is_soft))
            )

    def _of_the_ending(self) -> Iterator[Fault]:
        course, names = self._course, _names(self._missing)
        if course.ending == "answered":
            yield from self._of_the_answer()
            return
        if names:
            yield _hard("missing_call", names=names)
        if course.ending == "looped":
            yield _hard("looped", name=course.made[-1].call.name, arguments=course.made[-1].logged.arguments)
        elif course.ending == "max_steps":
            yield _hard("max_steps", steps=len(course.answers))
        elif not any(made.call.arguments is None for made in course.made):
            # Else the server refused a history with arguments that are no JSON: those are what is wrong.
            yield _hard("server_error", outcome=course.answers[-1].outcome, error=course.answers[-1].error)

    def _of_the_answer(self) -> Iterator[Fault]:
        final, names = replace(self._course.answers[-1], calls=()), _names(self._missing)
        # The text counts where it is the answer; where calls are missing it is at best a reason.
        wanted = self._last if not names else replace(self._last, expected=tuple(self._missing), alternatives=())
        said = Evidence(wanted, final).findings
        last = [made for made in self._course.made if made.decision == len(self._course.answers) - 2]
        failed = [made.call.name for made in last if made.failed or isinstance(made.result, Diverged)]
        wrong = [pair.expected.name for pair in self._found.partners if pair.expected and not pair.is_nearly_right]
        if failed and wrong:
            yield _hard("no_recovery_after_error", failed=failed, names=wrong)
        elif names and self._is_tail and said[0].code == "missing_call":
            yield _hard("stopped_early", names=names)
        else:
            yield from map(_fault, said)

    @property
    def _is_tail(self) -> bool:
        """Whether the missing calls are the last ones, some were made, and none stands in the text."""
        places = self._found.places
        n_made = len(places) - len(self._missing)
        return n_made > 0 and None not in places[:n_made] and not self._course.answers[-1].calls

    # ---- a turn that was cut off ------------------------------------------------------------------------------------

    def _of_writes(self) -> Iterator[Fault]:
        """Hold the writes against the expected ones, in their order: each changed a world that was as it should be."""
        expected = [link for link in self._chain if not self._course.is_read(link.call.name)]
        for made in self._made:
            if self._course.is_read(made.call.name):
                continue
            pairs = [self._pair(link.call, made.call) for link in expected]
            right = next((number for number, pair in enumerate(pairs) if pair.is_right), None)
            if right is None and made.failed:
                continue
            is_early = right is not None and expected[right].step_no != expected[0].step_no
            if is_early and not self._is_told("wrong_order", made.call.name):
                yield _hard("wrong_order", names=[made.call.name])
            elif right is None and pairs and pairs[0].same_tool:
                yield from self._of_arguments(pairs[:1])
            elif right is None:
                yield self._too_many([made.call.name])
            del expected[right or 0 : (right or 0) + 1]

    def _past_mending(self) -> Iterator[Fault]:
        """Yield what is left behind whatever comes: waste, and values that were used before they were there."""
        for one in self._found.problems:
            if one.is_soft or one.code == "wrong_order":
                yield _fault(Finding(one.code, {"names": [one.name]}, one.is_soft))
        for pair in self._found.partners:
            if pair.actual is not None and pair.differences and self._course.is_read(pair.actual.name):
                yield _more(pair.actual.name)

    def _is_told(self, code: str, name: str) -> bool:
        return any((one.code, one.name) == (code, name) for one in self._found.problems)

    def _pair(self, expected: Call, made: Call) -> Pair:
        return pair_calls([expected], [made], self._schemas, self._expectation.rules)[0]

    def _letters(self, call: Call) -> bytes:
        ruled = self._expectation.rules.get(call.name, {})
        return canonical_json({key: value for key, value in (call.arguments or {}).items() if f"/{key}" not in ruled})

    def _too_many(self, names: Sequence[str]) -> Fault:
        code = "should_have_asked" if self._last.asks else "extra_call" if self._chain else "unneeded_call"
        return _hard(code, names=list(names))


def _rank(fault: Fault) -> int:
    return _RANK.get(fault.finding.code, len(_RANK))


def _names(calls: Sequence[Call]) -> list[str]:
    return [call.name for call in calls]


def _more(name: str) -> Fault:
    return Fault(Finding("extra_call", {"names": [name]}, is_soft=True), "more")


def _hard(code: str, **detail: Any) -> Fault:
    return Fault(Finding(code, detail), "hard")


def _fault(finding: Finding) -> Fault:
    return Fault(finding, "soft" if finding.is_soft else "hard")
