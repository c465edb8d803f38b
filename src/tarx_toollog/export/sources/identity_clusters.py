"""Finds the paraphrases among questions, so that none is asked in training and again in evaluation.

*Theory.* Questions are compared by the three-letter pieces of their words, in small letters and without punctuation:
that needs no list of stop words, so it works in any language. Two belong together when half of their
pieces are shared, or a quarter and the answer is the same. Belonging is passed on: rather one group too large than a
paraphrase on both sides. A group is called after its first question, so that rows which are added at the end of a file
do not rename it. Every pair is compared; sets of pieces are the bits of an integer, which makes a comparison cheap.
"""

import re
import unicodedata
from collections.abc import Sequence
from hashlib import blake2b

from tarx_toollog.errors import ConfigError

MAX_QUESTIONS = 5_000
"""Each is compared with each: this many take some seconds."""
SAME = 0.5
"""Share of common pieces from which two questions are paraphrases."""
SAME_WITH_ANSWER = 0.25
"""The same where both have one answer."""
_WORD = re.compile(r"\w+")


def clusters(asked: Sequence[tuple[str, str]], name: str) -> list[str]:
    """Return the name of a group for each question.

    Args:
        asked: Questions with their answers, in the order of the file.
        name: The own name, which says nothing about what is asked.

    Raises:
        ConfigError: There are too many to compare.
    """
    if len(asked) > MAX_QUESTIONS:
        raise ConfigError(
            f"{len(asked)} identity rows have no cluster, and only {MAX_QUESTIONS} are compared",
            hint="give the rows a `cluster` key",
        )
    bits: dict[str, int] = {}
    pieces = [_pieces(plain(question, name), bits) for question, _ in asked]
    answers = [plain(answer, name) for _, answer in asked]
    parents = list(range(len(asked)))
    for right in range(len(asked)):
        for left in range(right):
            shared = (pieces[left] & pieces[right]).bit_count()
            together = (pieces[left] | pieces[right]).bit_count()
            needed = SAME_WITH_ANSWER if answers[left] == answers[right] else SAME
            if shared >= needed * together:
                _join(parents, left, right)
    return [_name(asked[_root(parents, place)][0], name) for place in range(len(asked))]


def plain(text: str, name: str) -> str:
    """Return a text without what two ways to write the same differ in: case, punctuation, the own name."""
    folded = unicodedata.normalize("NFKC", text).casefold().replace(name.casefold(), " ")
    return " ".join(_WORD.findall(folded))


def _pieces(text: str, bits: dict[str, int]) -> int:
    padded = f" {text} "
    found = 0
    for place in range(max(1, len(padded) - 2)):
        found |= 1 << bits.setdefault(padded[place : place + 3], len(bits))
    return found


def _name(question: str, name: str) -> str:
    return blake2b(plain(question, name).encode(), digest_size=8).hexdigest()


def _root(parents: list[int], place: int) -> int:
    while parents[place] != place:
        parents[place] = place = parents[parents[place]]
    return place


def _join(parents: list[int], left: int, right: int) -> None:
    """Join two groups; the earlier root stays, which gives the name."""
    roots = sorted((_root(parents, left), _root(parents, right)))
    parents[roots[1]] = roots[0]
