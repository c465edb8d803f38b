"""What all tests share: a clean environment, hypothesis profiles, and the real model."""

import os
from collections.abc import Iterator

import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # it ships no types

from tarx_toollog.store.sealing import forget_key
from tests.support.model_server import ModelServer, running_model_server

# A developer's own settings and proxies must not decide whether a test passes.
_KEPT = ("TOOLLOG_TRAINERS", "TOOLLOG_TEST_POSTGRES", "TOOLLOG_ARTIFACTS")
for _name in list(os.environ):
    if (_name.startswith("TOOLLOG_") and _name not in _KEPT) or _name.lower().endswith("_proxy"):
        del os.environ[_name]

_SLOW_MACHINES = [hypothesis.HealthCheck.too_slow]
for _profile, _examples in (("dev", 25), ("ci", 40), ("deep", 10_000)):
    hypothesis.settings.register_profile(
        _profile,
        max_examples=_examples,
        deadline=None,
        suppress_health_check=_SLOW_MACHINES,
        print_blob=True,
    )
hypothesis.settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") == "true" else "dev")
)


REAL_MODEL = "tests/real_model/"
LONG = (
    REAL_MODEL,
    "tests/unit/test_big_store.py",
    "tests/unit/wire/test_torture_growth.py",
    "tests/integration/test_replay_workers.py",
    "tests/crash/",
    "tests/faults/",
    "tests/browser/test_journey.py",
    "tests/consumers/",
    "tests/property/",
    "tests/docs/",
    "tests/bfcl_sessions/",
)
"""What takes longest: it comes first, so that no worker is left alone with it at the end."""


class OneWorkerForEachFile(LoadScopeScheduling):  # type: ignore[misc]  # its base has no types
    """Sends all tests of a file to one worker, so that what they share is made once.

    All tests of the model's folder go to one worker, too: the model is started once, and has one slot.
    """

    def _split_scope(self, nodeid: str) -> str:
        return REAL_MODEL if nodeid.startswith(REAL_MODEL) else nodeid.split("::", 1)[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> LoadScopeScheduling | None:
    """Schedule with the class above when pytest runs with ``--dist loadfile``."""
    return OneWorkerForEachFile(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long tests first; mark those that use the model, and see that they are where one worker gets them all."""
    items.sort(key=lambda item: next((place for place, long in enumerate(LONG) if item.nodeid.startswith(long)), 99))
    for item in items:
        if "model_server" in getattr(item, "fixturenames", ()):
            item.add_marker("real_model")
            if not item.nodeid.startswith(REAL_MODEL):
                raise pytest.UsageError(f"{item.nodeid} uses model_server, so it has to live in {REAL_MODEL}")


@pytest.fixture(scope="session", autouse=True)
def _home_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the default database and the user's configuration away from the person who runs the tests."""
    home = str(tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", home)
        patch.delenv("XDG_DATA_HOME", raising=False)
        patch.delenv("XDG_CONFIG_HOME", raising=False)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_keys_left_in_memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the keys of journals go that tests leave behind as a killed process does: memory outlives the tests."""
    yield
    for segment in tmp_path_factory.getbasetemp().rglob("*.tlj"):
        forget_key(segment.parent, segment.stem.rpartition("-")[0])


@pytest.fixture(scope="session")
def model_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """Yield the real model with the toy adapter; see ``examples/local_model/README.md``."""
    with running_model_server(tmp_path_factory.mktemp("model") / "server.log") as server:
        yield server
