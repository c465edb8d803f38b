"""What the forms of the pages do: accept an answer, label what was logged; and which forms are refused."""

import json
import re
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import httpx
import pytest

from tarx_toollog.store.labels import LabelRow, Labels
from tarx_toollog.store.log import ToolLog
from tarx_toollog.web.forms import MAX_BYTES
from tarx_toollog.web.guard import Access
from tarx_toollog.web.visible import visible
from tests.support.web_pages import SCRIPT, TURNED, make_log, served_pages


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_log(tmp_path_factory.mktemp("web") / "t.db").read_bytes()


@pytest.fixture
def database(made: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "t.db"
    path.write_bytes(made)
    return path


@pytest.fixture
def client(database: Path) -> Iterator[httpx.Client]:
    with served_pages(database) as url, httpx.Client(base_url=url, headers={"origin": url}) as client:
        yield client


def step_address(client: httpx.Client, code: str, run: str = "worse") -> str:
    listed = client.get(f"/replay/runs/{run}/steps", params={"code": code}).text
    found = re.search(rf'"(/replay/runs/{run}/steps/[^/?"]+/\d+)"', listed)
    assert found is not None
    return found[1]


def hidden(client: httpx.Client, address: str) -> dict[str, str]:
    """Return the hidden fields of the forms of a page."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', client.get(address).text))


def labels(database: Path) -> list[LabelRow]:
    with ToolLog.open(database) as log:
        return Labels(log).labels()


def verdict(client: httpx.Client, address: str) -> str:
    found = re.search(r'<span id="verdict"><b class="(\w+)">', client.get(address).text)
    assert found is not None
    return found[1]


def test_an_accepted_answer_counts_at_once(client: httpx.Client, database: Path) -> None:
    address = step_address(client, "wrong_tool")
    fields = {**hidden(client, address), "by": "ann", "comment": SCRIPT + TURNED}
    assert "1/5" in client.get("/replay/runs/worse").text

    sent = client.post(f"{address}/accept", data=fields)

    assert (303, f"{address}?notice=accepted_there_too") == (sent.status_code, sent.headers["location"])
    assert "Accepted:" in client.get(sent.headers["location"]).text
    assert "right" == verdict(client, address)
    assert "1 other answer is as right; shown is the one that is nearest" in client.get(address).text
    assert '<tr class="differs">' not in client.get(address).text
    assert escape(f"{SCRIPT}{visible(TURNED)}.") in client.get(address).text
    report = client.get("/replay/runs/worse").text
    assert "2/5" in report
    assert "1 answer counts as right because somebody accepted it" in report
    (label,) = labels(database)
    assert ("also_right", "ann", 1.0) == (label.name, label.annotator, label.value_num)
    again = client.post(f"{address}/accept", data=fields)
    assert (400, True) == (again.status_code, "there is nothing to accept" in again.text)


@pytest.mark.parametrize(
    ("form", "name", "value", "correction"),
    [
        ({"verdict": "good"}, "quality", 1.0, None),
        ({"verdict": "bad"}, "quality", -1.0, None),
        ({"verdict": "answer"}, "expected", None, {"answer": True}),
        ({"verdict": "ask"}, "expected", None, {"ask": True}),
        (
            {"verdict": "calls", "calls": '[{"name": "recall", "arguments": {"query": "é"}}]'},
            "expected",
            None,
            {"name": "recall", "arguments": {"query": "é"}},
        ),
        (
            {"verdict": "calls", "calls": '[{"name": "a", "arguments": {}}, {"name": "b", "arguments": {}}]'},
            "expected",
            None,
            {"tool_calls": [{"name": "a", "arguments": {}}, {"name": "b", "arguments": {}}]},
        ),
    ],
)
def test_a_label_is_on_the_logged_exchange(
    client: httpx.Client, database: Path, form: dict[str, str], name: str, value: float | None, correction: Any
) -> None:
    address = step_address(client, "wrong_tool")
    sent = client.post("/labels", data={**hidden(client, address), **form, "by": "bob", "comment": " why "})

    assert (303, f"{address}?notice=labelled") == (sent.status_code, sent.headers["location"])
    (label,) = labels(database)
    assert (name, value, correction) == (label.name, label.value_num, label.correction)
    assert ("human", "bob", "why", "exchange") == (
        label.annotator_kind, label.annotator, label.comment, label.target_type
    )  # fmt: skip
    with ToolLog.open(database) as log:
        assert log.exchange(label.target_uid).run_uid is None
    assert "by bob: why" in client.get(address).text


def test_whoever_says_no_name_labels_as_the_one_who_started_the_server(client: httpx.Client, database: Path) -> None:
    address = step_address(client, "wrong_tool")
    client.post("/labels", data={**hidden(client, address), "verdict": "good", "by": " "})
    assert ["ann"] == [label.annotator for label in labels(database)]


@pytest.mark.parametrize(
    ("form", "status", "words"),
    [
        ({}, 400, "the form says no verdict"),
        ({"verdict": "calls", "calls": "{"}, 400, "the calls are not JSON"),
        ({"verdict": "calls", "calls": '["x"]'}, 400, "the correction is none"),
        ({"verdict": "calls", "calls": "[" * 5000}, 400, "the calls are not JSON"),
        ({"verdict": "calls", "calls": '{"name": "recall", "arguments": "{query"}'}, 400, "the correction is none"),
        ({"verdict": "good", "target_uid": "nobody"}, 404, "no exchange"),
        ({"verdict": "good", "form_token": "x"}, 403, "older than this server"),
        ({"verdict": "good", "form_token": ""}, 403, "older than this server"),
        ({"verdict": "good", "comment": "x" * MAX_BYTES}, 403, "larger than"),
        ({"verdict": "good", **{f"f{n}": "x" for n in range(60)}}, 403, "too many fields"),
    ],
)
def test_a_form_that_says_nothing_changes_nothing(
    client: httpx.Client, database: Path, form: dict[str, str], status: int, words: str
) -> None:
    address = step_address(client, "wrong_tool")
    sent = client.post("/labels", data={**hidden(client, address), **form})
    assert (status, True) == (sent.status_code, words in sent.text), sent.text
    assert [] == labels(database)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"host": "evil.example"},
        {"content-type": "text/plain"},
        {"content-type": "application/json"},
    ],
)
def test_another_site_cannot_send_a_form_even_with_its_secret(
    client: httpx.Client, database: Path, headers: dict[str, str]
) -> None:
    address = step_address(client, "wrong_tool")
    fields = {**hidden(client, address), "verdict": "good"}
    for target in ("/labels", f"{address}/accept"):
        assert client.post(target, data=fields, headers=headers).status_code in (403, 421)
    assert ([], "wrong") == (labels(database), verdict(client, address))


def test_a_form_leads_back_to_our_own_pages_alone(client: httpx.Client) -> None:
    fields = hidden(client, step_address(client, "wrong_tool"))
    for back in ("https://evil.example/", "//evil.example", "/\\evil.example"):
        sent = client.post("/labels", data={**fields, "verdict": "good", "back": back})
        assert "/?notice=labelled" == sent.headers["location"]


def test_what_nobody_could_carry_out_cannot_be_accepted(client: httpx.Client) -> None:
    address = step_address(client, "missing_call")
    sent = client.post(f"{address}/accept", data=hidden(client, address))
    assert 303 == sent.status_code  # an answer in text may be right where a call was expected
    right = client.get("/replay/runs/good/steps?state=right").text
    found = re.search(r'"(/replay/runs/good/steps/[^/?"]+/\d+)"', right)
    assert found is not None
    assert 400 == client.post(f"{found[1]}/accept", data=hidden(client, found[1])).status_code


def test_a_notice_is_one_of_ours(client: httpx.Client) -> None:
    assert 'role="status"' not in client.get("/replay?notice=<b>pay</b>").text


def test_with_a_token_every_page_and_form_needs_it(database: Path) -> None:
    with served_pages(database, Access(token="s3cret")) as url, httpx.Client(base_url=url) as client:
        for path in ("/replay", "/static/ui.css", "/no/such", "/"):
            assert 401 == client.get(path).status_code
        assert 401 == client.post("/labels", headers={"origin": url}, data={"verdict": "good"}).status_code
        let_in = client.get("/replay?token=s3cret")
        assert (303, "/replay") == (let_in.status_code, let_in.headers["location"])
        assert 200 == client.get("/replay").status_code
        assert "s3cret" not in client.get("/replay").text


def test_reading_pages_writes_nothing(client: httpx.Client, database: Path, made: bytes) -> None:
    for address in ("/replay", "/replay/runs/worse", step_address(client, "wrong_tool")):
        assert 200 == client.get(address).status_code
    assert made == database.read_bytes()
    assert json.loads("[]") == labels(database)
