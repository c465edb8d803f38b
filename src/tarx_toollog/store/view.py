"""What a view is: its name, a sentence for each column, and the SELECT behind it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from string import Template


@dataclass(frozen=True, slots=True)
class View:
    """One view: its name, what a row is, a sentence per column, and the SELECT behind it."""

    name: str
    about: str
    columns: dict[str, str]
    select: str
    spelled: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Where the databases do not speak alike: dialect → what stands for each ``$name`` of the SELECT."""

    def create(self, dialect: str = "sqlite") -> str:
        """Return the CREATE VIEW statement for a database, by SQLAlchemy's name for it."""
        select = Template(self.select).substitute(self.spelled[dialect]) if self.spelled else self.select
        return f"CREATE VIEW {self.name} ({', '.join(self.columns)}) AS {select.strip()}"
