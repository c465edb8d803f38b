"""The pages of tools and calls under a real server, on a log in which hostile texts stand."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.test_web_replay import read
from tests.support.tool_log import HOSTILE_TOOL, SCRIPT, write_tool_log
from tests.support.web_pages import served_pages


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    path: Path = tmp_path_factory.mktemp("web-tools") / "t.db"
    write_tool_log(path)
    with served_pages(path) as url, httpx.Client(base_url=url, headers={"origin": url}) as client:
        yield client


def test_the_list_of_tools_leads_to_each_and_to_the_calls_behind_its_figures(client: httpx.Client) -> None:
    page = read(client, "/tools?sort=name&since=2026-01-01")
    assert "All 6 tools that were called" in page.text
    assert "/tools/one?name=weather&since=2026-01-01" in page.links

    (failed,) = {link for link in page.links if "tool=weather" in link and "kind=failed" in link}
    assert "3 calls, newest day first" in read(client, failed).text
    order = [link for link in page.links if link.startswith("/tools/one?name=tarx")][-4:]
    assert sorted(order) == order


def test_a_tool_shows_its_definition_its_versions_and_why_calls_fail(client: httpx.Client) -> None:
    page = read(client, "/tools/one?name=weather")

    assert "2 versions of it were offered" in page.text
    assert "what version 2 changed: /description, /parameters/properties/day" in page.text
    assert "- Say how the weather is. + Say how it will be." in page.text
    assert "Of the latest 3 failed calls" in page.text
    assert "After 1 of them (33.3 %) the tool was called again in the same turn; 1 of these then had" in page.text
    assert "the service is busy" in page.text
    assert SCRIPT in page.words
    assert "Each of its 1 values was given once" in page.text
    conversation = next(link for link in page.links if link.startswith("/conversations/"))
    assert re.fullmatch(r"/conversations/[^/]+\?turn=1#step-1-\d", conversation)


def test_a_bar_of_a_day_leads_to_the_calls_of_that_day(client: httpx.Client) -> None:
    page = read(client, "/tools/one?name=weather")
    day = "/calls?since=2026-09-28&until=2026-09-29&tool=weather"
    assert day in page.links
    assert "1 call, newest day first" in read(client, day).text


def test_a_tool_in_a_time_in_which_nobody_called_it_says_so(client: httpx.Client) -> None:
    page = read(client, "/tools/one?name=weather&until=2026-01-01")
    assert "It was not called in this part of the log." in page.text
    assert "2 versions of it were offered" in page.text
    assert "No tool was called" in read(client, "/tools?until=2026-01-01").text


def test_a_name_that_a_model_made_up_has_a_page_and_one_that_nobody_said_has_none(client: httpx.Client) -> None:
    listed = read(client, "/calls?kind=not_offered")
    (link,) = {link for link in listed.links if link.startswith("/tools/one?name=fly%2F")}
    page = read(client, link)
    assert "No request has offered a tool of this name" in page.text
    assert HOSTILE_TOOL.replace("\u202e", "⟦202E⟧") in page.words
    assert "no tool 'nothing'" in read(client, "/tools/one?name=nothing", 404).text
    assert "cannot be read" in read(client, "/tools/one", 400).text


def test_calls_are_filtered_by_what_stands_in_the_address(client: httpx.Client) -> None:
    page = read(client, "/calls?kind=error&tool=weather")
    assert "Calls of weather: result is an error" in page.text
    assert "2 calls, newest day first" in page.text
    assert "against its schema (root): 'place' is a required property" in page.text

    assert "No call is like that." in read(client, "/calls?depth=99").text
    assert "No call is like that." in read(client, "/calls?build=nothing").text
    talk = read(client, "/calls?conversation=talk-4")
    assert 2 == len([link for link in talk.links if link.startswith("/conversations/talk-4")])
    for address in (
        "/calls?kind=x&depth=x&after=x",
        f"/calls?depth={'9' * 5000}",
        f"/calls?after=9999-12-31.{'9' * 5000}",
    ):
        assert "calls, newest day first" in read(client, address).text
    assert "cannot read the time" in read(client, "/calls?since=never", 400).text


def test_pages_are_light(client: httpx.Client) -> None:
    for address in ("/tools", "/tools/one?name=weather", "/calls"):
        assert len(client.get(address).content) < 150_000
