"""The Berkeley Function Calling Leaderboard (BFCL): its single-turn cases, and its verdict on calls.

BFCL is the ruler that ours is held against. ``cases`` reads its rows into what a server can be asked, ``checker``
judges calls by its rules. Both are pure; the data stay in BFCL's package, of which nothing is needed here.
"""

from tarx_toollog.replay.bfcl.cases import CATEGORIES, OMITTED, AcceptedCall, BfclCase, Expects, read_case
from tarx_toollog.replay.bfcl.checker import check_calls

__all__ = ["CATEGORIES", "OMITTED", "AcceptedCall", "BfclCase", "Expects", "check_calls", "read_case"]
