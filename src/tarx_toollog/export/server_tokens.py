"""Row lengths counted by the model server itself, for rows that no server has counted yet: imported ones, for example.

llama.cpp's ``/apply-template`` renders a chat, ``/tokenize`` gives its tokens. A chat that ends in an answer is
rendered there as one to go on with, without the token that ends it; that one is added. ``tests/real_model`` holds the
sum against what the server reports as usage when it answers the same prompt.
"""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, NamedTuple

import httpx

from tarx_toollog.errors import ConfigError, EndpointError
from tarx_toollog.export.example import Example, Piece

_TIMEOUT_S = 60.0  # far more than a prompt takes; a server that does not answer must not hold an export for ever
_END = 1  # the token after the answer


class Counted(NamedTuple):
    """Tokens of a row, and of what is learned of it."""

    n_tokens: int
    n_trained: int


class ServerTokens:
    """Counts with one server. A context manager.

    Args:
        base_url: Where llama-server listens, without ``/v1``.

    Raises:
        ConfigError: It is no URL.
    """

    def __init__(self, base_url: str) -> None:
        self._base_url = base_url.rstrip("/").removesuffix("/v1")
        # No proxies from the environment: the rows are private, and the server is near.
        try:
            self._client = httpx.Client(base_url=self._base_url, timeout=_TIMEOUT_S, trust_env=False)
        except httpx.InvalidURL as error:
            raise ConfigError(f"--tokens {base_url!r} is no URL: {error}", hint="write --tokens server") from error

    def __enter__(self) -> "ServerTokens":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def count(self, example: Example) -> Counted:
        """Return the tokens of an example; of several answers to learn, those of the last are counted as learned.

        Raises:
            EndpointError: The server cannot be reached, or is no llama-server.
        """
        prompt = self._tokens(example.messages[:-1], example.tools)
        whole = self._tokens(example.messages, example.tools) + _END
        if example.rejected is not None:
            whole = max(whole, self._tokens((*example.messages[:-1], example.rejected), example.tools) + _END)
        return Counted(whole, max(1, whole - prompt))

    def _tokens(self, messages: Sequence[Piece], tools: Piece | None) -> int:
        chat: dict[str, Any] = {"messages": [piece.value for piece in messages]}
        if tools is not None:
            chat["tools"] = tools.value
        rendered = self._ask("/apply-template", chat, "prompt")
        # Special tokens in the rendered text are such tokens, and nothing is put before it.
        asked = {"content": rendered, "add_special": False, "parse_special": True}
        return len(self._ask("/tokenize", asked, "tokens"))

    def _ask(self, route: str, body: dict[str, Any], key: str) -> Any:
        try:
            answer = self._client.post(route, json=body)
            return answer.raise_for_status().json()[key]
        except httpx.HTTPStatusError as error:
            said = error.response.text[:200]
            raise EndpointError(
                f"{self._base_url}{route} answers {error.response.status_code}: {said}",
                hint="only llama-server counts rows; leave --tokens out to estimate them",
            ) from error
        except httpx.HTTPError as error:
            raise EndpointError(
                f"{self._base_url} cannot be reached: {error}", hint="start the model server, or leave --tokens out"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise EndpointError(
                f"{self._base_url}{route} answers something else than llama-server does", hint="leave --tokens out"
            ) from error
