"""Labels that programs post, as JSON: what is kept, what is answered, and who may."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tarx_toollog.store.label_target import LabelTargets
from tarx_toollog.store.labels import LabelRow, Labels
from tarx_toollog.store.log import ToolLog
from tarx_toollog.web.forms import MAX_BYTES
from tests.support.web_pages import CALLS, served_pages
from tests.unit.replay.support import Chat, calling, saying

HALF = "half \ud800 \x00"
JSON = {"content-type": "application/json"}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "t.db"
    with ToolLog.open(path, read_only=False) as log:
        Chat(log, "their-id").turn("u", calling(CALLS[0]), saying("done"))
    return path


@pytest.fixture
def client(database: Path) -> Iterator[httpx.Client]:
    """Return a program that is no browser: it names no origin."""
    with served_pages(database) as url, httpx.Client(base_url=url) as client:
        yield client


@pytest.fixture
def uids(database: Path) -> dict[str, str]:
    """Return the ids of the conversation, of its last exchange, and of its call."""
    with ToolLog.open(database) as log:
        (turn,) = log.trajectories()
        first, last = turn.steps
        return {
            "conversation": turn.conversation_uid,
            "exchange": last.exchange_uid,
            "call": f"{first.exchange_uid}.0.0",
        }


def labels(database: Path) -> list[LabelRow]:
    with ToolLog.open(database) as log:
        return Labels(log).labels()


def error(answer: httpx.Response) -> tuple[int, str]:
    assert "application/json" == answer.headers["content-type"]
    return answer.status_code, answer.json()["error"]["message"]


def test_a_thumb_by_the_id_of_an_answer_is_a_label_on_the_latest_exchange_that_has_it(
    client: httpx.Client, database: Path, uids: dict[str, str]
) -> None:
    answer = client.post("/api/labels", json={"response_id": "c", "value": -1, "comment": "no", "annotator": "eve"})

    (row,) = labels(database)
    assert ("exchange", uids["exchange"], "thumbs", -1.0, "no", "human", "eve") == (
        row.target_type, row.target_uid, row.name, row.value_num, row.comment, row.annotator_kind, row.annotator
    )  # fmt: skip
    assert (201, row.id) == (answer.status_code, answer.json()["id"])
    listed = client.get("/api/labels", params={"response_id": "c"}).json()
    assert (uids["exchange"], [answer.json()]) == (listed["target_uid"], listed["labels"])


@pytest.mark.parametrize("way", ["conversation", "exchange", "call"])
def test_anything_can_be_labelled_by_its_id(
    client: httpx.Client, database: Path, uids: dict[str, str], way: str
) -> None:
    correction = {"name": "recall", "arguments": {"query": "é"}}
    posted: list[dict[str, Any]] = [
        {"value": 1},
        {"name": "quality", "value": 0.5, "annotator_kind": "model", "annotator": "judge"},
        {"name": "tone", "value": HALF},
        {"name": "expected", "correction": correction},
    ]
    for one in posted:
        assert 201 == client.post("/api/labels", content=json.dumps({way: uids[way], **one}), headers=JSON).status_code

    assert [
        ("thumbs", 1.0, None, None, "ann"),
        ("quality", 0.5, None, None, "judge"),
        ("tone", None, HALF, None, "ann"),
        ("expected", None, None, correction, "ann"),
    ] == [(row.name, row.value_num, row.value_text, row.correction, row.annotator) for row in labels(database)]
    assert {uids[way]} == {row.target_uid for row in labels(database)}
    assert HALF == client.get("/api/labels", params={way: uids[way]}).json()["labels"][2]["value_text"]


def test_a_conversation_is_found_by_the_id_that_its_client_gave_it(
    client: httpx.Client, database: Path, uids: dict[str, str]
) -> None:
    assert 201 == client.post("/api/labels", json={"conversation": "their-id", "value": 1}).status_code
    assert [("conversation", uids["conversation"])] == [(row.target_type, row.target_uid) for row in labels(database)]


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"response_id": "chatcmpl-no", "value": 1}, 404, "no answer 'chatcmpl-no'"),
        ({"exchange": "0199", "value": 1}, 404, "'0199'"),
        ({"conversation": "no\0", "value": 1}, 404, "no conversation"),
        ({"value": 1}, 400, "say what is meant"),
        ({"response_id": "c", "exchange": "x", "value": 1}, 400, "say what is meant"),
        ({"response_id": "c"}, 400, "'thumbs' is 1 for up or -1 for down"),
        ({"response_id": "c", "value": 2}, 400, "'thumbs' is 1 for up or -1 for down"),
        ({"response_id": "c", "value": True}, 400, "'value'"),
        ({"response_id": "c", "value": 1, "colour": "red"}, 400, "'colour'"),
        ({"response_id": "c", "value": 1, "annotator_kind": "cat"}, 400, "'annotator_kind'"),
        ({"response_id": "c", "name": "expected", "correction": {"x": 1}}, 400, "the correction is none"),
        ([1], 400, "not a JSON object"),
        ({"response_id": "c", "value": 1, "comment": "x" * MAX_BYTES}, 400, "larger than"),
    ],
)
def test_what_cannot_be_kept_is_said_as_json(
    client: httpx.Client, database: Path, body: Any, status: int, said: str
) -> None:
    found = error(client.post("/api/labels", json=body))
    assert (status, True) == (found[0], said in found[1])
    assert [] == labels(database)


def test_a_part_of_an_id_and_an_id_of_something_else_are_no_target(client: httpx.Client, uids: dict[str, str]) -> None:
    for way, name in (("exchange", uids["exchange"][:-1]), ("exchange", uids["call"]), ("call", uids["exchange"])):
        assert 404 == error(client.post("/api/labels", json={way: name, "value": 1}))[0]


@pytest.mark.parametrize(
    ("headers", "content", "status"),
    [
        ({"content-type": "text/plain"}, '{"response_id": "c", "value": 1}', 415),
        ({"content-type": "application/x-www-form-urlencoded"}, "response_id=c", 415),
        ({"content-type": "application/json; charset=utf-8"}, '{"response_id": "c", "value": 1}', 201),
        ({"content-type": "application/json"}, '{"response_id"', 400),
        ({"content-type": "application/json", "host": "evil.example"}, '{"response_id": "c", "value": 1}', 421),
    ],
)
def test_only_json_for_this_machine_is_read(
    client: httpx.Client, headers: dict[str, str], content: str, status: int
) -> None:
    assert status == client.post("/api/labels", content=content, headers=headers).status_code


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 201),
        ({"sec-fetch-site": "same-origin"}, 201),
        ({"origin": "{url}", "sec-fetch-site": "same-origin"}, 201),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://localhost:3000", "sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
    ],
)
def test_a_program_may_post_and_a_page_of_another_site_may_not(
    client: httpx.Client, database: Path, headers: dict[str, str], status: int
) -> None:
    url = str(client.base_url).rstrip("/")
    sent = {name: value.format(url=url) for name, value in headers.items()}
    answer = client.post("/api/labels", json={"response_id": "c", "value": 1}, headers=sent)
    assert status == answer.status_code
    assert (status == 201) == bool(labels(database))
    if status == 403:
        assert "Forms are taken from the pages of this server alone." == error(answer)[1]


def test_a_form_without_an_origin_is_still_refused(client: httpx.Client) -> None:
    assert 403 == client.post("/labels", data={"verdict": "good"}).status_code


def test_what_is_not_there_is_said_as_json(client: httpx.Client) -> None:
    assert (404, "Not Found") == error(client.get("/api/no"))
    assert (405, "Method Not Allowed") == error(client.put("/api/labels"))


def test_an_answer_is_looked_for_by_its_id_among_the_latest_and_by_an_index_among_all(
    client: httpx.Client, database: Path, uids: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tarx_toollog.store.label_target.RECENT", 1)
    with ToolLog.open(database, read_only=False) as log:
        assert uids["exchange"] == LabelTargets(log).by_response_id("c").uid
        with log.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE exchange SET response_id = 'older' WHERE id = 1")
        answer = client.post("/api/labels", json={"response_id": "older", "value": 1})
        assert (404, "no answer 'older' among the latest 1 exchanges") == error(answer)
        assert "name an older one by its exchange" in answer.json()["error"]["hint"]
        with log.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE exchange SET protocol = 'openai_responses' WHERE id = 1")
        assert 201 == client.post("/api/labels", json={"response_id": "older", "value": 1}).status_code


def test_an_answer_that_was_retried_by_a_proxy_is_looked_for_newest_first(database: Path) -> None:
    with ToolLog.open(database, read_only=False) as log:
        Chat(log, "another").turn("v", saying("later"))
        newest = next(iter(log.query("SELECT uid FROM exchange ORDER BY id DESC LIMIT 1").rows))[0]
        assert newest == LabelTargets(log).by_response_id("c").uid
