"""``make demo``: a real model, a Workbench that calls tools, and everything that toollog does with it.

    python -m examples.demo

Starts the model and the example Workbench on this machine, has a few conversations, and shows what was
logged, exported and replayed. Takes a minute or two after the first download, writes to ``demo-out/`` only,
and stops what it started. ``DEMO_MODEL_PORT`` chooses another port than 11435 for the model.
"""

import contextlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from examples.local_model import launch

ROOT = Path(__file__).resolve().parent.parent
OUT = Path("demo-out")
HELD_OUT = Path("examples/local_model/heldout.jsonl")
GATE_NOT_MET = 4  # an exit code that is an answer
DATABASE = OUT / "toollog.db"
ENV = {name: value for name, value in os.environ.items() if not name.startswith("TOOLLOG_")}
ENV |= {"TOOLLOG_DATABASE": str(DATABASE), "WORKBENCH_STORE": str(OUT / "workbench.db")}

CHAIN = (
    "First recall which city I live in, then remember that I like the trams there, "
    "then save this conversation with the title Trams."
)
# (what the user says, one entry per turn; whether the client asks for a stream)
CONVERSATIONS = (
    (["My city is Lisbon, keep it in mind."], False),
    (["Remember that my cat is Miso."], True),
    ([CHAIN], True),
    (["Save this conversation as Cat names.", "What is my city?"], True),
    (["What is my city?", "My dog is Rex, keep it in mind."], False),
    (["What is my cat called?"], True),
    (["What is the capital of France?"], True),
    (["Look up my city, remember that I like the tiles there, and save this chat as Tiles."], False),
)
CALLS = """
SELECT tool, substr(arguments, 1, 36) AS arguments, substr(result, 1, 31) AS result,
       match_how AS paired_by, latency_ms, outcome
FROM v_tool_calls ORDER BY called_at, ordinal"""
CHAINS = "SELECT signature, chain_length, n_steps, status, duration_ms FROM v_chains ORDER BY started_at"
FAILED = (
    "SELECT leg, outcome, http_status, error_type FROM v_exchanges WHERE outcome <> 'completed' ORDER BY started_at"
)


class DemoError(Exception):
    """The demo cannot go on; the message says why and what to do."""


def main() -> int:
    """Run the demo from the beginning to the end."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.chdir(ROOT)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir()
    try:
        with contextlib.ExitStack() as stack:
            model_url = stack.enter_context(model_server())
            model = launch.model_names(model_url)[0]
            with workbench(model_url) as workbench_url:
                talk(workbench_url, model)
                misbehave(workbench_url, model)
            # The Workbench has stopped: all that it logged is in the database.
            show(model_url, model)
    except (DemoError, launch.LaunchError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except httpx.HTTPError as error:
        print(f"error: a conversation failed: {error}\nThe servers' logs are in {OUT}/.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    return 0


# -- What runs -------------------------------------------------------------------------------------


@contextlib.contextmanager
def model_server() -> Iterator[str]:
    """Yield the URL of the model: the one that runs already, else one that runs as long as the demo."""
    port = int(os.environ.get("DEMO_MODEL_PORT", "11435"))
    url = f"http://127.0.0.1:{port}"
    if launch.is_model_server(url):
        say(f"using the model server that runs at {url}")
        yield url
        return
    if launch.port_in_use(port):
        raise DemoError(
            f"port {port} is taken by something that is not an OpenAI-compatible model server.\n"
            "Stop it, or choose another port: DEMO_MODEL_PORT=21435 make demo"
        )
    launch.ensure_installed()
    say(f"starting a small real model at {url}")
    with running(launch.command(port), OUT / "model.log") as process:
        launch.wait_ready(url, 60, process)
        yield url


@contextlib.contextmanager
def workbench(model_url: str) -> Iterator[str]:
    """Run the example Workbench; leaving stops it, and it writes what it has logged."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    say(f"starting the example Workbench at http://127.0.0.1:{port}")
    app = ["examples.workbench_app:app", "--port", str(port), "--log-level", "warning", "--lifespan", "on"]
    env = ENV | {"WORKBENCH_MODEL_URL": model_url}
    with running([sys.executable, "-m", "uvicorn", *app], OUT / "workbench.log", env) as process:
        while not launch.port_in_use(port):
            if process.poll() is not None:
                log = (OUT / "workbench.log").read_text(encoding="utf-8", errors="replace")
                raise DemoError(f"the Workbench did not start:\n{log[-2000:]}")
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def running(command: list[str], log: Path, env: dict[str, str] | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a process and stop it at the end, whatever happens."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


# -- What is said ----------------------------------------------------------------------------------


def talk(url: str, model: str) -> None:
    """Have the conversations: the client sends the whole dialogue each time, and no session id."""
    with httpx.Client(base_url=url, timeout=300, trust_env=False) as client:
        for turns, stream in CONVERSATIONS:
            messages: list[dict[str, str]] = []
            for text in turns:
                messages.append({"role": "user", "content": text})
                say(f"{'stream' if stream else 'whole '}  > {text}")
                answer = ask(client, {"model": model, "messages": messages, "stream": stream, "max_tokens": 200})
                messages.append({"role": "assistant", "content": answer})
                say(f"        < {answer}")


def ask(client: httpx.Client, payload: dict[str, Any]) -> str:
    """Send one request and return the text of the answer."""
    if not payload["stream"]:
        answer = client.post("/v1/chat/completions", json=payload).raise_for_status().json()
        return str(answer["choices"][0]["message"]["content"] or "")
    text = ""
    with client.stream("POST", "/v1/chat/completions", json=payload) as response:
        for line in response.raise_for_status().iter_lines():
            if line.startswith("data: {"):
                choices = json.loads(line.removeprefix("data: ")).get("choices") or [{}]
                text += choices[0].get("delta", {}).get("content") or ""
    return text


def misbehave(url: str, model: str) -> None:
    """Do what clients do: hang up in the middle of an answer, and ask for more than the model can read."""
    payload: dict[str, Any] = {"model": model, "stream": True, "max_tokens": 400}
    with httpx.Client(base_url=url, timeout=300, trust_env=False) as client:
        question = "Explain what a local language model is."
        say(f"stream  > {question} … and hang up")
        payload["messages"] = [{"role": "user", "content": question}]
        with client.stream("POST", "/v1/chat/completions", json=payload) as response:
            for _, _line in zip(range(12), response.iter_lines(), strict=False):
                pass
        say("whole   > (a text longer than the model's context)")
        payload |= {"messages": [{"role": "user", "content": "tram " * 40_000}], "stream": False}
        refused = client.post("/v1/chat/completions", json=payload)
        say(f"        < HTTP {refused.status_code}")


# -- What is shown ---------------------------------------------------------------------------------


def show(model_url: str, model: str) -> None:
    """Ask toollog about it, with the commands that anybody can type."""
    toollog("What is in the log", "status")
    toollog("Every tool call, with its result", "db", "query", CALLS)
    toollog("Chains: the calls of one turn", "db", "query", CHAINS)
    toollog("Exchanges that did not complete", "db", "query", FAILED)
    # A log of days has conversations for training, and others for evaluation; this one is too small to be sure of any.
    splits = ("--split", "eval", "--split", "dev", "--split", "train")
    toollog("Training data", "export", "run", str(OUT / "export"), "--for", "mlx", "--for", "trl", *splits)
    show_first_example(OUT / "export")
    toollog("Freeze what was logged as tests", "replay", "build", "--tag", "demo", *splits)
    short = {"max_tokens": 64}  # a base model does not end by itself; both are asked in the same way
    title = "Replay them with the model that was logged"
    replay(title, "demo-again", model_url, model, "--extra-body", json.dumps(short))
    if model == launch.ALIAS:
        off = {"lora": [{"id": 0, "scale": 0.0}], **short}
        title = "Replay them with the base model: the same server, the adapter off"
        replay(title, "demo-base", model_url, model, "--extra-body", json.dumps(off))
        toollog("The two beside each other", "replay", "compare", "demo-base", "demo-again")
        compare(model_url, model)
    print(f"""
── Where things are
{DATABASE}     the log: plain SQLite, any tool can read it
{OUT}/export/        training data, its manifest, and where each line came from
{OUT}/workbench.db   what the tools of the Workbench stored
{OUT}/*.log          what the servers said

── What to type next
source .venv/bin/activate; export TOOLLOG_DATABASE={DATABASE}
toollog log list
toollog db query "SELECT * FROM v_tool_stats"
toollog ui                  # the replays step by step, in the browser
toollog --help
Then put two lines into an app of yours: see examples/workbench_app.py
""")


def compare(model_url: str, model: str) -> None:
    """Put sixteen new prompts to the base model and to its fine-tune: is tuning worth it, and did it help?"""
    toollog("Sixteen prompts that nobody trained on", "replay", "import", str(HELD_OUT), "--tag", "heldout")
    for name, scale in (("base", 0.0), ("tuned", 1.0)):
        body = json.dumps({"lora": [{"id": 0, "scale": scale}]})
        target = ["--endpoint", model_url, "--model", model, "--name", name, "--extra-body", body]
        toollog(f"Replay them with the {name} model", "replay", "run", "heldout", *target, quiet=True)
        demand = ["--min-accuracy", "0.8"]
        toollog("Good enough?", "replay", "gate", name, *demand, fine=(0, GATE_NOT_MET))
    toollog("Did the fine-tuning help?", "replay", "compare", "base", "tuned")


def replay(title: str, run: str, model_url: str, model: str, *options: str) -> None:
    """Replay the frozen tests, then show the report of the run."""
    target = ["--endpoint", model_url, "--model", model, "--name", run, *options]
    toollog(title, "replay", "run", "demo", *target, quiet=True)  # it ends with the same report
    toollog("What it says", "replay", "report", run)


def toollog(title: str, *arguments: str, quiet: bool = False, fine: tuple[int, ...] = (0,)) -> None:
    """Run a toollog command in the open."""
    print(f"\n── {title}\n$ toollog {' '.join(map(quoted, arguments))}", flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "tarx_toollog", *arguments],
        env=ENV,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL if quiet else None,
        check=False,
    )
    if done.returncode not in fine:
        raise DemoError(f"toollog {arguments[0]} ended with code {done.returncode}; the servers' logs are in {OUT}/.")


def quoted(argument: str) -> str:
    """Return an argument as a person would type it."""
    line = " ".join(argument.split())
    return f'"{line}"' if "'" in line and '"' not in line else shlex.quote(line)


def show_first_example(folder: Path) -> None:
    """Print the first line of the training file, shortened for the eye."""
    files = [path for path in sorted(folder.rglob("*.jsonl")) if path.stat().st_size > 0]
    if not files:
        raise DemoError(f"the export left no example in {folder}.")
    # The training split comes first where there is one.
    path = next((path for path in files if path.name.startswith("train")), files[0])
    with path.open(encoding="utf-8") as file:
        first = json.loads(file.readline())
    print(f"\nFirst example of {path} (long texts and the tool list are shortened here, not in the file):")
    print(json.dumps(shortened(first), indent=2, ensure_ascii=False))


def shortened(value: Any, key: str = "") -> Any:
    """Return a copy that fits a screen."""
    if isinstance(value, str):
        return value if len(value) <= 90 else f"{value[:90]}…"
    if isinstance(value, dict):
        return {name: shortened(item, name) for name, item in value.items()}
    if isinstance(value, list):
        kept = value[:1] if key == "tools" else value
        return [shortened(item) for item in kept] + [f"… {len(value) - len(kept)} more"] * (len(kept) < len(value))
    return value


def say(text: str) -> None:
    """Report progress; results go to standard output, this does not."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
