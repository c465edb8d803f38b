"""Stands in for posthog, which Axolotl reports home with. Nothing is reported from the tests."""

from typing import Any


def capture(*_about: Any, **_more: Any) -> None:
    """Report nothing."""


def shutdown() -> None:
    """There is nothing to end."""
