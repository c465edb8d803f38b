"""The text that we render is the text that a real llama-server gives its model."""

import httpx
import pytest

from tarx_toollog.export.template.render import ChatTemplate
from tests.support.model_server import ModelServer
from tests.unit.export.template.templates import CHATS, TOOLS

pytestmark = pytest.mark.real_model

TAKEN = ["plain", "no system", "several turns", "call", "answered"]
"""Chats whose prompt says the same to every server; llama-server sorts the keys of some arguments."""


@pytest.mark.parametrize("case", TAKEN)
def test_the_prompt_is_what_the_server_makes_of_the_same_request(model_server: ModelServer, case: str) -> None:
    props = httpx.get(f"{model_server.base_url}/props").json()
    template = ChatTemplate(props["chat_template"], tokens={key: props[key] for key in ("bos_token", "eos_token")})
    asked = CHATS[case]["messages"][:-1]
    tools = TOOLS if CHATS[case].get("tools") else None
    body = {"messages": asked} | ({"tools": tools} if tools else {})
    answer = httpx.post(f"{model_server.base_url}/apply-template", json=body)

    assert 200 == answer.status_code
    assert answer.json()["prompt"] == template.render(asked, tools, add_generation_prompt=True)
