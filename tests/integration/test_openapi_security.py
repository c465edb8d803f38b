"""What schemathesis makes of our own OpenAPI, sent to the pages and to the part for programs behind a real proxy.

Whatever an address or a body says, the answer is no error of ours, and it forbids what every page of ours forbids.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tarx_toollog.capture.proxy import ToolLogProxy
from tarx_toollog.store.log import ToolLog
from tarx_toollog.web.app import create_app
from tarx_toollog.web.routes.api import create_api
from tarx_toollog.web.site import Site
from tests.support.asgi import recording
from tests.support.web_pages import HOSTILE
from tests.support.workers import serving
from tests.unit.replay.support import Chat, calling, saying

FILTERS = ("since", "until", "tool", "model", "build", "outcome", "split", "conversation", "label", "where", "limit")
FIELDS = ("target_type", "name", "value", "back", "comment", "tool", "arguments", "calls", "by", "rules", "what")
FORM = "application/x-www-form-urlencoded"
BOUNDED = hypothesis_settings(
    max_examples=120,
    deadline=None,
    derandomize=True,  # the same requests in every run: a test that fails now and then is switched off
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@dataclass
class Described:
    """A running server, and what it says of itself."""

    url: str
    pages: Any
    api: Any
    session: requests.Session


def filled(spec: dict[str, Any], uid: str) -> dict[str, Any]:
    """Return a description with what our routes read for themselves, and with ids that mean something."""
    for methods in spec["paths"].values():
        for method, operation in methods.items():
            parameters = operation.setdefault("parameters", [])
            for one in parameters:
                if one["name"] in ("uid", "exchange", "scenario_uid"):
                    one["schema"] = {"anyOf": [{"enum": [uid]}, {"type": "string"}]}
            known = {one["name"] for one in parameters}
            if method == "get":
                texts = {"type": "string", "maxLength": 40}
                parameters += [{"name": n, "in": "query", "schema": texts} for n in FILTERS if n not in known]
            elif "requestBody" not in operation:
                fields: dict[str, Any] = {name: {"type": "string"} for name in FIELDS}
                fields |= {"target_uid": {"enum": [uid, "x"]}, "verdict": {"enum": ["good", "call", "calls", "other"]}}
                operation["requestBody"] = {"content": {FORM: {"schema": {"type": "object", "properties": fields}}}}
    return spec


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Described]:
    folder: Path = tmp_path_factory.mktemp("openapi")
    with ExitStack() as stack:
        settings = stack.enter_context(recording(folder, upstream="http://127.0.0.1:9"))
        with ToolLog.open(Path(settings.database), read_only=False) as log:
            Chat(log, "c").turn(HOSTILE, calling(("recall", {"query": HOSTILE})), saying("done"), result=HOSTILE)
            (turn,) = log.trajectories()
        pages = create_app(settings, annotator="ann")
        url = stack.enter_context(serving(ToolLogProxy(settings=settings, pages=pages)))
        uid = turn.steps[0].exchange_uid
        of_pages = filled(pages._app.openapi(), uid)  # type: ignore[attr-defined]
        of_api = filled(create_api(Site(settings, "ann")).openapi(), uid)
        session = stack.enter_context(requests.Session())
        session.headers["origin"] = url
        session.trust_env = False
        described_by = schemathesis.openapi.from_dict
        yield Described(f"{url}/toollog", described_by(of_pages), described_by(of_api), session)


def test_no_request_is_answered_by_an_error_of_ours(described: Described) -> None:
    seen: list[tuple[str, int]] = []

    @BOUNDED
    @given(case=st.one_of([one.ok().as_strategy() for one in described.pages.get_all_operations()]))
    def ask(case: Any) -> None:
        answer = case.call(base_url=described.url, session=described.session, allow_redirects=False)
        seen.append((case.operation.label, answer.status_code))
        assert answer.status_code < 500, case.as_curl_command()
        assert ["nosniff"] == answer.headers["x-content-type-options"]

    ask()
    assert len({label for label, _ in seen}) > 15
    assert {200, 404} <= {status for _, status in seen}


def test_programs_get_json_whatever_they_send(described: Described) -> None:
    seen: set[int] = set()

    @BOUNDED
    @given(case=st.one_of([one.ok().as_strategy() for one in described.api.get_all_operations()]))
    def ask(case: Any) -> None:
        answer = case.call(base_url=f"{described.url}/api", session=described.session, allow_redirects=False)
        seen.add(answer.status_code)
        assert answer.status_code < 500, case.as_curl_command()
        assert ["application/json"] == answer.headers["content-type"]
        body = json.loads(answer.content)
        assert answer.status_code < 400 or {"message", "hint"} == set(body["error"]) or 422 == answer.status_code

    ask()
    assert 400 in seen
