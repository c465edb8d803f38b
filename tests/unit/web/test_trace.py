"""What a page shows of its texts, and the commands that it gives away."""

import shlex

import pytest

from tarx_toollog.store.answers.conversation_trace import Shown
from tarx_toollog.store.search import terms_of
from tarx_toollog.web.marking import marked
from tarx_toollog.web.trace import PAGE_BYTES, Excerpts, curl_command, request_url, step_address


def shown(text: str, size: int | None = None) -> Shown:
    return Shown(text, len(text) if size is None else size)


def test_texts_that_fit_are_shown_whole() -> None:
    texts = [shown("abc"), None, shown("x" * 1000)]
    excerpts = Excerpts(texts)
    assert [("abc", 3, False), ("x" * 1000, 1000, False)] == [excerpts(text) for text in texts if text]


def test_a_text_whose_beginning_alone_was_read_says_so() -> None:
    text = shown("abc", 4000)
    assert ("abc", 4000, True) == Excerpts([text])(text)


@pytest.mark.parametrize("letter", ["x", '"', "中", "&"])
def test_all_texts_together_are_no_larger_than_a_page_whatever_they_are_made_of(letter: str) -> None:
    texts = [shown(letter * 1500) for _ in range(50)] + [shown("s" * 90)] * 200
    excerpts = Excerpts(texts)
    cut = [excerpts(text).text for text in texts]
    size = {"x": 1, '"': 5, "中": 3, "&": 5}[letter]
    assert ["s" * 90] * 200 == cut[50:]
    assert PAGE_BYTES * 0.9 < sum(len(text) * size for text in cut[:50]) + 200 * 90 <= PAGE_BYTES


def test_json_is_indented_where_it_is_whole_and_json() -> None:
    value = shown('{"a": "' + "b" * 80 + '"}')
    other = shown("[1, 2", 900)
    excerpts = Excerpts([value, other])
    assert '{\n  "a": "' + "b" * 80 + '"\n}' == excerpts.json(value).text
    assert ("[1, 2", 900, True) == excerpts.json(other)
    assert "[" * 400 == excerpts.json(shown("[" * 400)).text
    assert '"text"' == excerpts.json(shown('"text"')).text


def test_a_command_quotes_what_a_shell_would_read() -> None:
    url = "http://h/$(touch x)'`"
    assert ["curl", "-sS", url] == shlex.split(curl_command(url, None))[:3]
    assert curl_command("http://h/", None).endswith(" --data-binary @request.json")


@pytest.mark.parametrize(
    ("upstream", "route", "url"),
    [
        ("http://h:1", "/v1/chat/completions", "http://h:1/v1/chat/completions"),
        ("http://h:1/v1/", "/v1/chat/completions", "http://h:1/v1/chat/completions"),
        ("http://h/base", "/api/chat", "http://h/base/api/chat"),
    ],
)
def test_a_request_goes_where_it_went(upstream: str, route: str, url: str) -> None:
    assert url == request_url(upstream, route)


def test_a_step_has_an_address_wherever_in_its_turn_it_stands() -> None:
    assert "/conversations/c" == step_address("c", None, None)
    assert "/conversations/c?turn=2#step-2-1" == step_address("c", 2, 1)
    assert "/conversations/c?turn=2&step=70#step-2-70" == step_address("c", 2, 70)


@pytest.mark.parametrize(
    ("query", "words"),
    [("porto", ["Pôrto", "PORTO"]), ("por*", ["Pôrto", "PORTO", "Portugal"]), ('"in pôrto"', ["in", "Pôrto", "PORTO"])],
)
def test_words_are_marked_without_regard_to_capitals_and_accents(query: str, words: list[str]) -> None:
    text = "He lives in Pôrto (PORTO), Portugal; sporto."
    pieces = list(marked(text, terms_of(query)))
    assert text == "".join(piece for piece, _ in pieces)
    assert words == [piece for piece, is_hit in pieces if is_hit]
