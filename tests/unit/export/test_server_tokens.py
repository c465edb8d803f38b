from collections.abc import Iterator

import pytest

from tarx_toollog.errors import ConfigError, EndpointError
from tarx_toollog.export.example import Example, Origin, Piece
from tarx_toollog.export.server_tokens import ServerTokens
from tests.support.http_server import Handler, served_by

ASKED = Example(
    tuple(map(Piece, [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}])), None, "chat", Origin()
)


class _Odd(Handler):
    """Answers as no llama-server does: by the route, with an error, with other JSON, or with none."""

    def do_POST(self) -> None:  # noqa: N802 - the name that http.server looks for
        self.rfile.read(int(self.headers["content-length"]))
        answers = {"/404/": (404, b"no such route"), "/json/": (200, b'{"a": 1}'), "/text/": (200, b"<html>")}
        self.answer(*answers[self.path.partition("apply")[0]])


@pytest.fixture
def odd() -> Iterator[str]:
    with served_by(_Odd) as url:
        yield url


@pytest.mark.parametrize(
    ("route", "said"), [("404", "answers 404: no such route"), ("json", "something else"), ("text", "something else")]
)
def test_a_server_that_is_no_llama_server_is_told(odd: str, route: str, said: str) -> None:
    with ServerTokens(f"{odd}/{route}") as server, pytest.raises(EndpointError, match=said) as caught:
        server.count(ASKED)

    assert "--tokens" in caught.value.hint


def test_a_server_that_is_not_there_is_told() -> None:
    with ServerTokens("http://127.0.0.1:9/v1") as server, pytest.raises(EndpointError, match="cannot be reached"):
        server.count(ASKED)


def test_a_url_that_no_client_takes_is_told() -> None:
    with pytest.raises(ConfigError, match="is no URL: Invalid IDNA hostname"):
        ServerTokens("http://t\u00e4rx..local")
