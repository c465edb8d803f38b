"""Run the fuzz targets, one after the other, and say what they found.

python -m fuzz [--seconds N] [--results] [TARGET ...]    ``--results`` writes bench/results/fuzz.json

The corpus grows in ``fuzz/corpus``, inputs that break something stay in ``fuzz/findings``; neither is under git.
Run a finding again with ``python -m fuzz.TARGET_target FILE``.
"""

# ruff: noqa: S603, T201 - it runs its own modules and git, and prints
import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from fuzz.inputs import bytes_of, seeds
from tarx_toollog.wire.text_calls import FORMS
from tests.support.torture import cases, texts_of

HERE = Path(__file__).parent
CORPUS, FINDINGS = HERE / "corpus", HERE / "findings"
RESULTS = HERE.parent / "bench" / "results" / "fuzz.json"
TARGETS = ("decode", "store", "arguments")
SECONDS_OF_ONE_INPUT = 10  # two hundred times what the slowest seed takes
MIB_OF_MEMORY = 1024
NOT_INSTALLED = """atheris is not installed: python -m pip install atheris
It comes as a wheel for Linux on x86-64 and CPython 3.11 to 3.14; elsewhere it has to be compiled with clang.
The fuzz tests with hypothesis need nothing: HYPOTHESIS_PROFILE=deep pytest tests/property/test_fuzz_decode.py"""


@dataclass(frozen=True, slots=True)
class Run:
    """What became of one target."""

    target: str
    executions: int
    corpus: int
    """Files in it at the end."""
    findings: tuple[Path, ...]
    exit_code: int
    coverage: int | None = None
    """Edges of the code that inputs of the corpus reach, as libFuzzer counts them; None when it did not say."""
    features: int | None = None
    """The same with how often each is passed, in steps."""


def main(arguments: list[str]) -> int:
    """Run the targets; 0 when nothing was found, 1 when something was, 2 when atheris is missing."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Fuzz the decoder.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS), default=[])
    parser.add_argument("--seconds", type=int, default=60, help="seconds for each target (default: 60)")
    parser.add_argument("--results", action="store_true", help="write bench/results/fuzz.json; all targets only")
    options = parser.parse_args(arguments)
    if options.results and options.targets:
        parser.error("--results is for all targets")
    if strange := set(options.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(strange))}")
    if importlib.util.find_spec("atheris") is None:
        print(NOT_INSTALLED, file=sys.stderr)
        return 2
    runs = [run(target, options.seconds) for target in options.targets or TARGETS]
    for each in runs:
        print(f"{each.target}: {each.executions} executions, {each.corpus} files in the corpus, ", end="")
        print(f"{len(each.findings)} findings" + ("" if each.exit_code == 0 else f", exit code {each.exit_code}"))
        for path in each.findings:
            print(f"  {path}")
    if options.results:
        RESULTS.write_text(json.dumps(figures(runs, options.seconds), indent=2) + "\n", "utf-8")
    return int(any(each.findings or each.exit_code for each in runs))


def figures(runs: list[Run], seconds: int) -> dict[str, Any]:
    """Return what became of the targets, and what they ran on.

    Args:
        runs: One for each target.
        seconds: That each of them was given.
    """
    targets = {
        each.target: {
            "executions": each.executions,
            "corpus": each.corpus,
            "coverage": each.coverage,
            "features": each.features,
            "findings": len(each.findings),
            "exit_code": each.exit_code,
        }
        for each in runs
    }
    return {
        "seconds": seconds,
        "targets": targets,
        "revision": _revision(),
        "atheris": importlib.metadata.version("atheris"),
        "python": platform.python_version(),
    }


def _revision() -> str | None:
    """Return the commit, with ``-dirty`` after it when there are changes beside it; None outside of a repository."""
    if shutil.which("git") is None:
        return None
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def run(target: str, seconds: int) -> Run:
    """Run one target for some time, in a process of its own."""
    corpus, findings = CORPUS / target, FINDINGS / target
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    sow(target, corpus)
    before = set(findings.iterdir())
    options = {
        "max_total_time": seconds,
        "timeout": SECONDS_OF_ONE_INPUT,
        "rss_limit_mb": MIB_OF_MEMORY,
        "max_len": 65536,
        "artifact_prefix": f"{findings}/",
        "print_final_stats": 1,
    }
    command = [sys.executable, "-m", f"fuzz.{target}_target", *(f"-{key}={value}" for key, value in options.items())]
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            [*command, str(corpus)],
            cwd=HERE.parent,
            env=os.environ | {"TMPDIR": scratch},
            stderr=subprocess.PIPE,
            check=False,
            text=True,
            errors="replace",
        )
    made = tuple(sorted(set(findings.iterdir()) - before))
    if done.returncode or made:
        print(done.stderr[-5000:], file=sys.stderr)
    executions, coverage, features = counts_of(done.stderr)
    n_files = len(list(corpus.iterdir()))
    return Run(target, executions or 0, n_files, made, done.returncode, coverage, features)


def counts_of(report: str) -> tuple[int | None, int | None, int | None]:
    """Return executions, coverage and features from what libFuzzer wrote: of each the last number that it told."""
    found = (
        re.findall(pattern, report)
        for pattern in (r"number_of_executed_units:\s*(\d+)", r"\bcov: (\d+)", r"\bft: (\d+)")
    )
    executions, coverage, features = (int(all_told[-1]) if all_told else None for all_told in found)
    return executions, coverage, features


def sow(target: str, corpus: Path) -> None:
    """Write the seeds that are not there yet."""
    if target == "arguments":
        texts = {text for case in cases().values() for text in texts_of(case)}
        texts |= {form.example for form in FORMS.values()}
        files = [text.encode("utf-8", "surrogatepass") for text in texts]
    else:
        files = [data for _, raw in seeds() if (data := bytes_of(raw)) is not None]
    for data in files:
        path = corpus / f"seed-{blake2b(data, digest_size=8).hexdigest()}"
        if not path.exists():
            path.write_bytes(data)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
