"""Tell a tap which piece of a response carries the end of its content, while the response runs.

Theory: the tap writes an exchange to the journal *before* it releases the piece that makes the answer whole
for the client; what a client has seen must survive a SIGKILL. That is asked for every piece on the hot
path, so nothing is parsed: markers are searched in the piece, joined to the last few bytes of the
one before it. Saying yes once too often costs a write of some microseconds, saying no once too often may
lose an exchange, so in doubt the answer is yes.
"""

_SSE_MARKERS = (
    b"[DONE]",  # OpenAI chat completions
    b'"finish_reason":"',  # the same, from servers that send no [DONE]
    b'"finish_reason": "',
    b"message_stop",  # Anthropic messages
    b"response.completed",  # OpenAI responses
    b"response.incomplete",
    b"response.failed",
)
_SSE_SIGNS = (*_SSE_MARKERS[:4], b"response.")  # what stands in each of them: fewer to look for in every piece
_EMPTY_REASONS = ((b'"finish_reason":"', b'"finish_reason":""'), (b'"finish_reason": "', b'"finish_reason": ""'))
_NDJSON_MARKERS = (b'"done":true', b'"done": true')  # Ollama
_SURE_MARKERS = (*_SSE_MARKERS[:1], *_SSE_MARKERS[3:], *_NDJSON_MARKERS)
_TAIL = max(len(marker) for marker in _SSE_MARKERS) - 1


class TerminatorScanner:
    """Looks for the end of the content in one response.

    Args:
        content_type: The response's header; decides which markers count.
        content_length: The response's header, if it has one.
        content_encoding: The response's header; a compressed body cannot be searched.

    Example:
        >>> scanner = TerminatorScanner("text/event-stream", None)
        >>> [scanner.feed(piece) for piece in (b"data: {}", b"data: [DO", b"NE]")]
        [False, False, True]
    """

    __slots__ = ("_remaining", "_signs", "_tail")

    def __init__(self, content_type: str, content_length: int | None, content_encoding: str = "") -> None:
        kind = content_type.partition(";")[0].strip().lower()
        signs: tuple[bytes, ...] = ()
        if content_encoding.strip().lower() in ("", "identity"):
            if kind == "text/event-stream":
                signs = _SSE_SIGNS
            elif kind in ("application/x-ndjson", "application/jsonl"):
                signs = _NDJSON_MARKERS
        self._signs = signs
        self._remaining = content_length
        self._tail = b""

    def feed(self, data: bytes) -> bool:
        """Say whether ``data`` completes the content, or may do so."""
        if self._remaining is not None:
            self._remaining -= len(data)
            if self._remaining <= 0:
                return True
        elif not self._signs:
            return True  # no length and no markers: any piece may be the last
        if not self._signs:
            return False
        text = self._tail + data if self._tail else data
        self._tail = b"" if data.endswith(b"\n") else text[-_TAIL:]  # no marker goes on in the next line
        find = text.rfind  # takes half the time of `find` and a third of that of `in`
        for sign in self._signs:  # a loop, because a generator would double the time of this call
            if find(sign) >= 0:
                return _is_end(text)
        return False


def _is_end(text: bytes) -> bool:
    """Look again at a hit: LocalAI writes an empty finish reason into every chunk."""
    for marker in _SURE_MARKERS:  # a sign of one kind of stream stands in every piece of another
        if text.rfind(marker) >= 0:
            return True
    return any(text.count(marker) > text.count(empty) for marker, empty in _EMPTY_REASONS)
