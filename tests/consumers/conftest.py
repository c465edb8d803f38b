"""The pythons that the readers of our files are installed in, and the tiny model."""

from pathlib import Path

import pytest

from tests.consumers.environments import HERE, python_of, run_in


@pytest.fixture(scope="session")
def consumers() -> Path:
    """Python with mlx-lm, datasets 5, mistral-common, transformers, and the chat templates of trl."""
    return python_of(".venv-consumers", "ci")


@pytest.fixture(scope="session")
def datasets4() -> Path:
    """Python with datasets 4.0."""
    return python_of(".venv-datasets4", "ci")


@pytest.fixture(scope="session")
def tiny_model(consumers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the model that ``tiny_model.py`` makes."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    run_in(consumers, HERE / "tiny_model.py", folder)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 200_000
    return folder
