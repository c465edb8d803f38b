"""BFCL's python and its cases, read once."""

from pathlib import Path

import pytest

from tests.bfcl.ruler import Asked, python_of_bfcl, read_cases


@pytest.fixture(scope="session")
def bfcl() -> Path:
    return python_of_bfcl()


@pytest.fixture(scope="session")
def asked(bfcl: Path) -> list[Asked]:
    return read_cases(bfcl)
