"""The labels of what one page shows, by what they are on. ``store.labels`` owns what a label means."""

import json
from collections.abc import Collection, Mapping

import sqlalchemy as sa

from tarx_toollog.store.labels import LabelRow, TargetType, by_target
from tarx_toollog.store.schema import label
from tarx_toollog.store.types import among

_UIDS: sa.BindParameter[str] = sa.bindparam("uids", type_=sa.Text)
_OF_TARGETS = (
    sa.select(*(label.c[slot] for slot in LabelRow.__slots__))
    .where(label.c.target_type == sa.bindparam("kind"), among(label.c.target_uid, _UIDS))
    .order_by(label.c.id)
)


def labels_on(
    connection: sa.Connection, targets: Mapping[TargetType, Collection[str]]
) -> dict[str, tuple[LabelRow, ...]]:
    """Return all labels of targets, those out of force as well, oldest first.

    Args:
        connection: May only read.
        targets: The uids of each kind: the index begins with it.
    """
    rows = [
        LabelRow(*row)
        for kind, uids in targets.items()
        if uids
        for row in connection.execute(_OF_TARGETS, {"kind": kind, "uids": json.dumps(sorted(uids))})
    ]
    return by_target(rows)
