"""``toollog serve`` against the proxy of LiteLLM: ``make bench-peers`` installs that into an environment of its own.

LiteLLM as its own documentation starts it for a proxy without a database: one worker, one OpenAI-compatible model.
"""

import json
import subprocess
import tempfile
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from bench.speed import subjects
from bench.speed.chats import MODEL
from bench.speed.client import Client
from bench.speed.rounds import Load, Target, machine, measure, ratio
from tests.support.model_server import free_port

ENVIRONMENT = Path(__file__).parents[2] / ".venv-peers"
_KEY = "sk-bench"
_NAMES = ("first_byte_ms", "event_latency_us", "json_ms", "json_rps", "flood_rps")
_CONFIG = {
    "model_list": [
        {"model_name": MODEL, "litellm_params": {"model": f"openai/{MODEL}", "api_base": "", "api_key": "none"}}
    ],
    "litellm_settings": {"telemetry": False},
    "general_settings": {"master_key": _KEY, "disable_spend_logs": True},
}


def litellm(model_url: str, folder: Path) -> AbstractContextManager[subjects.Subject]:
    """Run the proxy of LiteLLM."""
    config = json.loads(json.dumps(_CONFIG))
    config["model_list"][0]["litellm_params"]["api_base"] = f"{model_url}/v1"
    path = folder / "litellm.yaml"  # JSON is YAML
    path.write_text(json.dumps(config), "utf-8")
    port = free_port()
    command = [str(ENVIRONMENT / "bin/litellm"), "--config", str(path), "--host", "127.0.0.1", "--port", str(port)]
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "PYTHONPATH": ""}
    return subjects.running(
        [*command, "--num_workers", "1"], port, ready="/health/liveliness", env=env, log=folder / "litellm.log"
    )


def run(rounds: int) -> dict[str, Any]:
    """Return the figures.

    Raises:
        RuntimeError: LiteLLM is not installed, or does not start.
    """
    if not (ENVIRONMENT / "bin/litellm").exists():
        raise RuntimeError("LiteLLM is not installed: `make bench-peers` does that")
    facts = machine(("uvicorn", "httptools", "uvloop", "aiohttp"))
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        model = stack.enter_context(subjects.model())
        ours = stack.enter_context(subjects.toollog_serve(model.url, folder))
        theirs = stack.enter_context(litellm(model.url, folder))
        targets = {
            "toollog": Target(ours, Client(ours.url)),
            "litellm": Target(theirs, Client(theirs.url, f"authorization: Bearer {_KEY}\r\n")),
        }
        found = measure(targets, rounds, Load())
        memory = {"litellm_rss_mib": round(theirs.rss_kib / 1024), "toollog_rss_mib": round(ours.rss_kib / 1024)}
    facts["versions"] |= _theirs()
    return {
        "rounds": rounds,
        **facts,
        **memory,
        "to_litellm": {name: ratio(found["toollog"][name], found["litellm"][name]) for name in _NAMES},
    }


def _theirs() -> dict[str, str]:
    code = (
        "import importlib.metadata as m, json;"
        "print(json.dumps({'litellm': m.version('litellm'), 'its uvicorn': m.version('uvicorn'),"
        "'its uvloop': m.version('uvloop')}))"
    )
    done = subprocess.run([str(ENVIRONMENT / "bin/python"), "-c", code], capture_output=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found
