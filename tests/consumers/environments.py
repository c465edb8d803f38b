"""The environments of ``scripts/consumers.sh``, and how a script runs in one of them.

A developer without them sees the tests skipped, with the command that makes them. In CI that is a failure: nobody
would notice that the exports are no longer held against their readers.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def python_of(folder: str, group: str) -> Path:
    """Return the python of an environment; skip the test, or fail it in CI, when there is none."""
    if not (ROOT / folder / ".installed").exists():
        message = f"{folder} is not there: sh scripts/consumers.sh {group}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return ROOT / folder / "bin" / "python"


def run_in(python: Path, *arguments: str | Path, cwd: Path | None = None, **environment: str) -> str:
    """Run a script, or a command of the environment, and return what it prints. Fails with its last lines."""
    command = [str(argument) for argument in arguments]
    if command[0].endswith(".py"):
        command.insert(0, str(python))
    else:
        command[0] = str(python.parent / command[0])
    offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(
        command, cwd=cwd, env=os.environ | offline | environment, capture_output=True, text=True, check=False
    )
    if run.returncode:
        pytest.fail(f"{' '.join(command)} ended with {run.returncode}:\n{run.stdout[-2000:]}\n{run.stderr[-4000:]}")
    return run.stdout


def read_in(python: Path, script: str, *arguments: str | Path) -> Any:
    """Run a script of this folder, and return the JSON in its last line."""
    return json.loads(run_in(python, HERE / script, *arguments).splitlines()[-1])


def completion_of(answer: dict[str, Any]) -> str:
    """Return what the tiny model's template writes for an answer, told without the template."""
    reasoning = f"<think>\n{answer['reasoning_content']}\n</think>\n\n" if "reasoning_content" in answer else ""
    words = [answer["content"]] if answer["content"] else []
    words += [
        f'<tool_call>\n{{"name": "{made["function"]["name"]}", "arguments": '
        f"{json.dumps(made['function']['arguments'], ensure_ascii=False)}}}\n</tool_call>"
        for made in answer.get("tool_calls", ())
    ]
    return reasoning + "\n".join(words) + "<|im_end|>"
