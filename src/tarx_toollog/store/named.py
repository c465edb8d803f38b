"""What a person or a program means by an id: all of it, or its beginning; of a conversation also its client's own id.

*Theory.* Ids stand in order in an index, so those that begin alike stand side by side: a range finds them in a log of
any size, where ``LIKE`` reads every row.
"""

import sqlalchemy as sa

from tarx_toollog.store.schema import conversation

CLIENT_SOURCES = ("header", "path", "body")
"""How a conversation was first recognised that has an id of its client's."""
_LAST = "z"  # after every character of an id, in the order of a language as well as in that of bytes


def begins_with(uid: sa.Column[str], start: str) -> sa.ColumnElement[bool]:
    """Say that an id begins with a text; ids are in small letters, so capitals that a person typed mean these.

    Args:
        uid: A column of ids, with an index.
        start: The beginning.
    """
    starts = sorted({start, start.lower()})
    # The range finds them. A database that sorts like a language has others in it: it passes over hyphens.
    return sa.or_(*(sa.and_(uid >= one, uid < one + _LAST, sa.func.substr(uid, 1, len(one)) == one) for one in starts))


def is_called(name: str) -> sa.ColumnElement[bool]:
    """Say that a conversation has an id that its client gave."""
    # With the sources: the index begins with them.
    return sa.and_(conversation.c.source.in_(CLIENT_SOURCES), conversation.c.external_id == name)
