"""Which words of a hit are those that somebody looked for."""

import re
from collections.abc import Iterator, Sequence

from tarx_toollog.store.search import Term, plain_form

_WORD = re.compile(r"[^\W_]+")


def marked(text: str, terms: Sequence[Term]) -> Iterator[tuple[str, bool]]:
    """Yield a text in pieces, each with whether it is a word that was looked for.

    Example:
        >>> from tarx_toollog.store.search import terms_of
        >>> list(marked("In Lisboa it rains.", terms_of("lisboa rain*")))
        [('In ', False), ('Lisboa', True), (' it ', False), ('rains', True), ('.', False)]
    """
    whole = {word for term in terms for word in (term.words[:-1] if term.is_prefix else term.words)}
    beginnings = tuple(term.words[-1] for term in terms if term.is_prefix)
    place = 0
    for match in _WORD.finditer(text):
        plain = plain_form(match[0])
        if plain in whole or plain.startswith(beginnings):
            if match.start() > place:
                yield text[place : match.start()], False
            yield match[0], True
            place = match.end()
    if place < len(text):
        yield text[place:], False
