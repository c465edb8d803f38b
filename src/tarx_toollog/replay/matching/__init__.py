r"""Are these the calls that were expected? Pure: two lists of calls in, differences out.

*Theory.* There are three profiles. *Strict* asks for the same canonical JSON. *Standard*, by which a step is called
right, asks whether the arguments mean the same to a tool. *Lenient* also forgives what a patient tool would: a number
as text, the case of an enum, a memo in other words. One pass finds all three: no difference at all is standard, soft
differences alone are lenient. Where a verdict turns on the profile, the report says so.

Standard is lenient towards prose only. A string that the schema restricts (``enum``, ``format`` …), or a single word
with a digit or one of ``/ \ _ @ #`` in it, is an identifier, a path, a date or an amount: it must be the same, because
``-5`` is not ``5`` and ``/Data`` is not ``/data``.

The calls of one answer have no order. They are paired so that the whole costs least; pairing greedily blames the wrong
call, or rejects right calls that came in another order.
"""

from tarx_toollog.replay.matching.assignment import cheapest_assignment
from tarx_toollog.replay.matching.calls import Call, Pair, pair_calls
from tarx_toollog.replay.matching.chain import ChainMatch, ChainProblem, ExpectedCall, match_chain
from tarx_toollog.replay.matching.rules import NO_RULES, Rule, Rules
from tarx_toollog.replay.matching.text import same_text, similar_text
from tarx_toollog.replay.matching.values import Difference, Schema, compare_arguments

__all__ = [
    "NO_RULES",
    "Call",
    "ChainMatch",
    "ChainProblem",
    "Difference",
    "ExpectedCall",
    "Pair",
    "Rule",
    "Rules",
    "Schema",
    "cheapest_assignment",
    "compare_arguments",
    "match_chain",
    "pair_calls",
    "same_text",
    "similar_text",
]
