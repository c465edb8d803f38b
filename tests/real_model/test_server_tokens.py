"""Row lengths as the real server counts them."""

import json
from pathlib import Path

import httpx
import pytest

from tarx_toollog.export.example import Example, Origin, Piece
from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.pipeline import run_export
from tarx_toollog.export.server_tokens import ServerTokens
from tarx_toollog.store.log import ToolLog
from tests.support.model_server import ModelServer
from tests.unit.cli.samples import good_chat, write_log

pytestmark = pytest.mark.real_model

TOOLS = json.loads((Path(__file__).parents[2] / "examples/local_model/tarx_tools.json").read_text("utf-8"))


@pytest.mark.parametrize("tools", [None, TOOLS])
def test_the_count_of_a_row_is_the_usage_of_its_exchange(model_server: ModelServer, tools: list[object] | None) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Say hello in Portuguese: ü → ?"},
    ]
    body = {"model": model_server.model, "messages": messages, "max_tokens": 40, "temperature": 0}
    answered = httpx.post(
        f"{model_server.base_url}/v1/chat/completions", json=body | ({"tools": tools} if tools else {}), timeout=300
    )
    answer, usage = answered.json()["choices"][0]["message"], answered.json()["usage"]
    said = {"role": "assistant", "content": answer["content"] or ""}
    if answer.get("tool_calls"):
        said["tool_calls"] = [
            {**call, "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"])}}
            for call in answer["tool_calls"]
        ]
    pieces = tuple(map(Piece, [*messages, said]))
    with ServerTokens(model_server.base_url) as server:
        counted = server.count(Example(pieces, Piece(tools) if tools else None, "chat", Origin()))

    # What stops an answer (its end token, or the limit) is counted here and there in its own way.
    assert abs(counted.n_tokens - usage["prompt_tokens"] - usage["completion_tokens"]) <= 3
    assert abs(counted.n_trained - usage["completion_tokens"]) <= 3


def test_rows_that_were_never_counted_are_counted_by_the_server(model_server: ModelServer, tmp_path: Path) -> None:
    (tmp_path / "identity.jsonl").write_text(
        "\n".join(
            json.dumps({"question": f"Who are you, {n}?", "answer": "I am TARX.", "cluster": str(n)}) for n in range(9)
        )
    )
    options = ExportOptions(("canonical",), identity=(tmp_path / "identity.jsonl",), tokens=model_server.base_url)
    with ToolLog.open(settings=write_log(tmp_path / "log.db", good_chat())) as log:
        report = run_export(log, tmp_path / "out", options, record=False)

    assert {"server", "usage"} == set(report.tokens["from"])
