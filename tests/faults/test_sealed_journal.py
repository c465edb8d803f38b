"""Nothing that was said stands readable on the disk before it is redacted, and a kill costs nothing for that."""

import json
from pathlib import Path

import pytest

from tarx_toollog.store import journal as jr
from tarx_toollog.store import sealing
from tests.support.fault_lab import Lab, lab, locked
from tests.support.fault_model import model
from tests.support.upstream import dialled, read_answer, request_bytes, running
from tests.support.waiting import eventually

SECRET = "sk-proj-Zk3vQ9xT7mB2nR8wL5cY1dF6hJ4pS0aGqW"
PIECE = 8


def say(here: Lab, how: str) -> None:
    text = f"{how} aloud: the key is {SECRET}, keep it"
    body = {"model": "m", "messages": [{"role": "user", "content": text}], "stream": how != "json"}
    with dialled(here.url, request_bytes(body=json.dumps(body).encode())) as client:
        assert read_answer(client).is_whole


def files_with_the_secret(folder: Path) -> list[str]:
    """Return the files in which eight characters of it stand in a row."""
    pieces = [SECRET[at : at + PIECE].encode() for at in range(len(SECRET) - PIECE + 1)]
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if any(piece in path.read_bytes() for piece in pieces)]


def keys_beside(here: Lab) -> list[Path]:
    return [path for path in here.settings.journal_path.glob("*.key") if path.name != "identity.key"]


def keys_in_memory(here: Lab) -> set[Path]:
    folder = here.settings.journal_path
    uids = {path.name.rsplit("-", 1)[0] for path in jr.list_segments(folder)}
    return {Path("/dev/shm") / sealing._name(folder, uid).lstrip("/") for uid in uids}


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="looks for shared memory where Linux shows it")
@pytest.mark.parametrize("tap", ["middleware", "proxy"])
def test_a_secret_is_nowhere_on_the_disk_while_the_database_is_away_and_nothing_of_it_is_lost(
    tmp_path: Path, tap: str
) -> None:
    with running(model) as up, lab(tmp_path, up.url, tap=tap) as here:
        here.chat("json")
        here.drained()
        with locked(here.database):
            say(here, "json")
            say(here, "stream")
            assert here.backlog() > 0
            assert [] == files_with_the_secret(tmp_path)
            (place,) = keys_in_memory(here)
            assert place.exists()
            assert eventually(lambda: keys_beside(here) != [], 30), "the database does not take it: a reboot may come"
            assert [] == files_with_the_secret(tmp_path)
            here.worker.kill()
            assert [] == files_with_the_secret(tmp_path)
        here.restart()
        here.chat("json")  # what the dead process left goes in before it
        here.drained()
        (kept,) = here.query("SELECT count(*) FROM exchange WHERE outcome = 'completed'")
        (redacted,) = here.query("SELECT count(DISTINCT exchange_id) FROM redaction")
        assert (4, 2, {}) == (kept[0], redacted[0], here.gaps())
        assert not place.exists()
        assert [] == keys_beside(here)
        (mine,) = keys_in_memory(here)
        assert here.worker.terminate() < 8
        assert [] == jr.list_segments(here.settings.journal_path)
        assert (False, []) == (mine.exists(), keys_beside(here))
        assert [] == files_with_the_secret(tmp_path)
