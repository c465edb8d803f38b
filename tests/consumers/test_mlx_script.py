"""``train.sh`` from the rows to the replay: the real mlx-lm, and stand-ins for llama.cpp, which no package index has.

The stand-ins do as much as the script needs: copy, answer on the port, and write down what they were asked.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tarx_toollog.export.formats.base import FormatOptions
from tarx_toollog.export.formats.mlx import MlxFormat
from tests.consumers.environments import read_in
from tests.support.export_rows import TRAITS, export

STAND_INS = {
    "bin/llama-quantize": '#!/bin/sh\ntest "$3" = Q4_K_M && cp "$1" "$2"\n',
    "bin/toollog": '#!/bin/sh\necho "$*" >> "$HOME/asked.txt"\n',
    "bin/llama-server": """#!/usr/bin/env python3
import http.server, os, sys
class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()
port = int(sys.argv[sys.argv.index("--port") + 1])
open(os.environ["HOME"] + "/server.txt", "w").write(f"{os.getpid()} {sys.argv[1:]}")
http.server.HTTPServer(("127.0.0.1", port), Health).serve_forever()
""",
    "llama.cpp/convert_hf_to_gguf.py": """import pathlib, sys
if "--help" not in sys.argv:
    template = pathlib.Path(sys.argv[1], "chat_template.jinja").read_text()
    pathlib.Path(sys.argv[sys.argv.index("--outfile") + 1]).write_text(template)
""",
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    for name, text in STAND_INS.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    return tmp_path


def test_the_script_goes_from_rows_to_replay_and_stops_its_server(
    consumers: Path, tiny_model: Path, home: Path
) -> None:
    _make(home, tiny_model, template=None)
    run = _run(home, consumers)
    assert 0 == run.returncode, run.stderr
    assert {"base-4bit", "adapters", "fused", "model-Q4_K_M.gguf", "server.log"} <= _names(home / "mlx")
    assert 0 == read_in(consumers, "read_adapters.py", home / "mlx" / "adapters" / "adapters.safetensors")["not_finite"]
    pid, arguments = (home / "server.txt").read_text().split(" ", 1)
    [port] = re.findall(r"'--port', '(\d+)'", arguments)
    tuned = r"v1-v1-mlx-\d{8}-\d{6}"
    asked = "\n".join(
        [
            "replay build --tag v1",
            rf"replay run v1 --endpoint http://127\.0\.0\.1:{port} --model v1-mlx --name {tuned}",
            "replay report v1-base",
            f"replay compare v1-base {tuned}",
        ]
    )
    assert re.fullmatch(f"{asked}\n", (home / "asked.txt").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_the_base_model_is_asked_once_and_when_nobody_serves_it_the_script_says_what_to_do(
    consumers: Path, tiny_model: Path, home: Path
) -> None:
    _make(home, tiny_model, template=None)
    (home / "mlx" / "model-Q4_K_M.gguf").write_text("made before")
    for name in ("base-4bit", "adapters", "fused"):
        (home / "mlx" / name).mkdir()
    toollog = home / "bin" / "toollog"
    toollog.write_text(STAND_INS["bin/toollog"] + 'case "$2" in report) exit 3 ;; esac\n')

    nobody = _run(home, consumers)
    script = home / "mlx" / "train.sh"
    script.write_text(script.read_text().replace("upstream=http://127.0.0.1:11435", f"upstream=file://{home}"))
    served = _run(home, consumers)

    assert (0, 0) == (nobody.returncode, served.returncode), nobody.stderr + served.stderr
    assert "nothing answers at http://127.0.0.1:11435" in nobody.stdout
    assert ["report", "run", "compare"] == [line.split()[1] for line in _asked(home)[-3:]]
    assert f"replay run v1 --endpoint file://{home} --model base --name v1-base" == _asked(home)[-2]


def test_a_second_run_makes_nothing_again(consumers: Path, tiny_model: Path, home: Path) -> None:
    _make(home, tiny_model, template=None)
    for name in ("base-4bit", "adapters", "fused"):
        (home / "mlx" / name).mkdir()
    (home / "mlx" / "model-Q4_K_M.gguf").write_text("made before")
    run = _run(home, consumers)
    assert (0, "made before") == (run.returncode, (home / "mlx" / "model-Q4_K_M.gguf").read_text())
    assert [] == list((home / "mlx" / "adapters").iterdir())


def test_another_template_than_the_served_one_has_to_be_chosen(consumers: Path, tiny_model: Path, home: Path) -> None:
    served = "{# served #}" + (tiny_model / "chat_template.jinja").read_text()
    _make(home, tiny_model, template=served)
    undecided = _run(home, consumers)
    assert 1 == undecided.returncode
    assert "TEMPLATE=base" in undecided.stderr
    assert "adapters" not in _names(home / "mlx")
    decided = _run(home, consumers, TEMPLATE="served")
    assert 0 == decided.returncode, decided.stderr
    assert served == (home / "mlx" / "model-Q4_K_M.gguf").read_text()


def test_without_scenarios_the_model_is_made_and_nothing_is_served(
    consumers: Path, tiny_model: Path, home: Path
) -> None:
    _make(home, tiny_model, template=None)
    (home / "bin" / "toollog").write_text("#!/bin/sh\nexit 3\n")
    run = _run(home, consumers)
    assert 0 == run.returncode, run.stderr
    assert "nothing was replayed" in run.stdout
    assert not (home / "server.txt").exists()


def _asked(home: Path) -> list[str]:
    return (home / "asked.txt").read_text().splitlines()


def _make(home: Path, model: Path, template: str | None) -> None:
    options = FormatOptions(base_model=str(model), build_name="v1", served_template=template)
    export(MlxFormat(), home / "mlx", [TRAITS["one call"], TRAITS["no arguments"]], options)


def _run(home: Path, python: Path, **more: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(home / "bin"), str(python.parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "HOME": str(home), "PYTHON": str(python), "HF_HUB_OFFLINE": "1"} | more
    environment.pop("LLAMA_CPP", None)
    return subprocess.run(
        [shutil.which("sh") or "/bin/sh", home / "mlx" / "train.sh"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}
