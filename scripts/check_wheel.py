"""Build the wheel, install it into an empty environment, and see that what users get works.

    python scripts/check_wheel.py

Prints one line per finding and exits with 1 when something is wrong.
"""

import json
import os
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_DISTRIBUTIONS = 46
NEEDED = ("tarx_toollog/py.typed", "tarx_toollog/migrations/env.py", "tarx_toollog/migrations/versions/")
PIP_QUIET = ("--quiet", "--disable-pip-version-check")
ALLOWED_TOPS = ("tarx_toollog/", "tarx_toollog-")


class WheelError(Exception):
    """The wheel is not fit to be released."""


def main() -> int:
    """Build, install, try."""
    with tempfile.TemporaryDirectory(prefix="toollog-wheel-") as folder:
        work = Path(folder)
        try:
            wheel = build(work / "dist")
            check_contents(wheel)
            check_installed(wheel, work)
        except WheelError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    return 0


def build(out: Path) -> Path:
    """Build the wheel and return its path."""
    run([sys.executable, "-m", "pip", "wheel", *PIP_QUIET, "--no-deps", "--wheel-dir", str(out), str(ROOT)])
    (wheel,) = out.glob("*.whl")
    print(f"wheel       {wheel.name}, {wheel.stat().st_size / 1024:.0f} KiB")
    return wheel


def check_contents(wheel: Path) -> None:
    """See that the package and its migrations are inside, and nothing else."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    missing = [needed for needed in NEEDED if not any(name.startswith(needed) for name in names)]
    if missing:
        raise WheelError(f"not in the wheel: {', '.join(missing)}")
    strangers = [name for name in names if not name.startswith(ALLOWED_TOPS)]
    if strangers:
        raise WheelError(f"should not be in the wheel: {', '.join(strangers[:5])}")
    print(f"contents    {len(names)} files")


def check_installed(wheel: Path, work: Path) -> None:
    """Install the wheel with its dependencies only, and use the command."""
    venv.create(work / "venv", with_pip=True)
    scripts = work / "venv" / ("Scripts" if os.name == "nt" else "bin")
    listing = [str(scripts / "python"), "-m", "pip", "list", "--disable-pip-version-check", "--format=json"]
    before = len(json.loads(run(listing)))  # pip, and with older Pythons setuptools
    run([str(scripts / "python"), "-m", "pip", "install", *PIP_QUIET, str(wheel)])
    count = len(json.loads(run(listing))) - before
    if count >= MAX_DISTRIBUTIONS:
        raise WheelError(f"a base install brings {count} distributions; fewer than {MAX_DISTRIBUTIONS} are allowed")
    print(f"install     {count} distributions")

    toollog = str(scripts / "toollog")
    database = work / "check.db"
    # Away from the repository: what is found must come from the wheel.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("TOOLLOG_", "PYTHON"))}
    env |= {"TOOLLOG_DATABASE": str(database)}
    print(f"command     {run([toollog, '--version'], work, env).strip()}")
    run([toollog, "--help"], work, env)
    run([toollog, "db", "upgrade"], work, env)
    if not database.is_file():
        raise WheelError("`toollog db upgrade` made no database")
    print("database    made by the installed migrations")


def run(command: list[str], cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a command and return its standard output."""
    done = subprocess.run(command, cwd=cwd, env=env, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise WheelError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
