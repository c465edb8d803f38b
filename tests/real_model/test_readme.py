"""Every block of the README is run, in order, as a newcomer would: against the real model, in an empty folder."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.model_server import ModelServer, free_port

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with our wheel, so that ``pip install tarx-toollog`` finds it there."""
    folder = tmp_path_factory.mktemp("wheelhouse")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(
        command, check=True, stdin=subprocess.DEVNULL, env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    )
    return folder


@pytest.fixture
def environment(tmp_path: Path, wheelhouse: Path, model_server: ModelServer) -> dict[str, str]:
    venv_bin = Path(sys.executable).parent
    return {
        **os.environ,
        "PATH": f"{venv_bin}{os.pathsep}{os.environ['PATH']}",
        "TOOLLOG_DATABASE": str(tmp_path / "toollog.db"),
        "TOOLLOG_UPSTREAM": model_server.base_url,
        "TOOLLOG_PORT": str(free_port()),
        # The install block: from our own wheel, into a folder that nothing else sees.
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheelhouse),
        "PIP_NO_DEPS": "1",
        "PIP_TARGET": str(tmp_path / "installed"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }


@pytest.mark.timeout(400)
def test_every_block_of_the_readme_runs(tmp_path: Path, environment: dict[str, str], model_server: ModelServer) -> None:
    blocks = BLOCK.findall((ROOT / "README.md").read_text("utf-8"))
    assert len(blocks) >= 8
    outputs = []
    for language, code in blocks:
        # The ports of the text are those of a TARX machine; here the model listens elsewhere.
        code = code.replace("http://127.0.0.1:11435", model_server.base_url)
        code = code.replace("http://127.0.0.1:11450", f"http://127.0.0.1:{environment['TOOLLOG_PORT']}")
        command = (
            ["bash", "-e", "-u", "-o", "pipefail", "-c", code] if language == "sh" else [sys.executable, "-c", code]
        )
        outputs.append(run(command, tmp_path, environment))

    everything = "\n".join(outputs)
    assert (tmp_path / "installed" / "tarx_toollog" / "migrations" / "env.py").exists()
    assert "data: [DONE]" in everything
    assert '{"query": "cat"}' in everything
    assert (tmp_path / "training" / "manifest.json").exists()


def run(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    """Run one block; what it leaves in the background is stopped with it."""
    with (folder / "out.txt").open("wb") as output_file:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output_file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        code = process.wait(110)
    finally:
        try:
            os.killpg(process.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
    output = (folder / "out.txt").read_text("utf-8", errors="replace")
    assert code == 0, f"{command[-1]}\n{output}"
    return output
