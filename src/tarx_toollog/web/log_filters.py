"""The filters of a list, as they stand in the address of its page: read in one place, and kept in every link."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from tarx_toollog.model import Outcome
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.splits import SPLITS

OUTCOMES = [str(outcome) for outcome in Outcome]
"""What an exchange may have come to, for the form."""

_NAMES = ("since", "until", "tool", "model", "build", "outcome", "split", "label", "where", "conversation")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which part of the log a list is about."""

    filters: Filters
    query: Mapping[str, str]
    """The same as it stands in the address; what is empty is left out."""
    outcomes = OUTCOMES
    splits = SPLITS

    @property
    def is_special(self) -> bool:
        """Whether a filter is set that the form folds away."""
        return not self.query.keys() <= {"since", "until", "tool", "outcome"}


def chosen(request: Request) -> Chosen:
    """Return what the address of a request says.

    Raises:
        ConfigError: Something in it cannot be read.
    """
    query = {name: value for name in _NAMES if (value := request.query_params.get(name, "").strip())}
    filters = Filters.parse(
        since=query.get("since"),
        until=query.get("until"),
        where=query.get("where"),
        conversation=query.get("conversation"),
        tools=_given(query, "tool"),
        models=_given(query, "model"),
        builds=_given(query, "build"),
        outcomes=_given(query, "outcome"),
        splits=_given(query, "split"),
        labels=_given(query, "label"),
    )
    return Chosen(filters, query)


def _given(query: Mapping[str, str], name: str) -> list[str]:
    return [query[name]] if name in query else []


OfLog = Annotated[Chosen, Depends(chosen)]
"""Parameter of a route that lists a part of the log."""
