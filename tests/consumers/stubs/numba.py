"""Stands in for numba, which Axolotl uses to pack rows. Nothing is packed in the tests."""

from typing import TypeVar

Function = TypeVar("Function")


def njit(function: Function) -> Function:
    """Return the function as it is."""
    return function
