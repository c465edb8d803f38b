"""Column helpers and the metadata that all tables belong to."""

from collections.abc import Sequence

import sqlalchemy as sa

from tarx_toollog.canonical import HASH_SIZE

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def id_column() -> sa.Column[int]:
    """Return the internal integer key."""
    return sa.Column("id", sa.Integer, primary_key=True, comment="Internal key.")


def uid_column() -> sa.Column[str]:
    """Return the public id."""
    return sa.Column("uid", sa.String(36), nullable=False, unique=True, comment="Public id, a UUIDv7.")


def hash_column() -> sa.Column[bytes]:
    """Return the content hash, unique in its table."""
    return sa.Column(
        "hash",
        sa.LargeBinary(HASH_SIZE),
        nullable=False,
        unique=True,
        comment="Content hash (docs/schema.md).",
    )


def reference(name: str, target: str, comment: str, *, nullable: bool = True, index: bool = False) -> sa.Column[int]:
    """Return a foreign key to the integer key of ``target``."""
    return sa.Column(name, sa.Integer, sa.ForeignKey(f"{target}.id"), nullable=nullable, index=index, comment=comment)


def one_of(column: str, values: Sequence[str]) -> sa.CheckConstraint:
    """Return a check that ``column`` holds one of ``values``."""
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=column)


def index_where(name: str, *columns: str, where: str) -> sa.Index:
    """Return an index over the rows that meet a condition: the others take no space."""
    condition = sa.text(where)
    return sa.Index(name, *columns, sqlite_where=condition, postgresql_where=condition)


def sparse_index(table: str, column: str) -> sa.Index:
    """Return an index over the rows that have a value in ``column``."""
    return index_where(f"ix_{table}_{column}", column, where=f"{column} IS NOT NULL")
