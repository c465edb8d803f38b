"""Sends spans to a collector, behind everything else: what cannot be sent in time is dropped and counted.

*Theory.* The store is the record; spans are a copy for other people's dashboards. So nothing waits for a collector: the
writer thread puts a small span into a bounded queue, a thread of its own sends batches by OTLP over HTTP, and a batch
that the collector does not take is gone.
"""

import logging
import os
import queue
import threading
import time
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tarx_toollog.model import Exchange
from tarx_toollog.otlp.spans import batch, span_of

logger = logging.getLogger("tarx_toollog.otlp")

WAITING = 2048
"""Spans that may wait: some hundred bytes each."""
_BATCH = 512
_PAUSE_S = 1.0  # so that a batch is more than one span
_TIMEOUT_S = 5.0
_LAST_S = 2.0  # that the end of the process waits for the last batch
_HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"


def traces_url(endpoint: str) -> str:
    """Return where a collector takes traces; a bare address gets the usual path.

    Example:
        >>> traces_url("http://127.0.0.1:4318"), traces_url("https://x.example/otlp/v1/traces")
        ('http://127.0.0.1:4318/v1/traces', 'https://x.example/otlp/v1/traces')
    """
    parts = urlsplit(endpoint)
    path = parts.path if parts.path.rstrip("/") else "/v1/traces"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


class SpanSender:
    """Takes exchanges that have ended and sends their spans.

    Args:
        endpoint: The collector's address for OTLP over HTTP.
        instance: Id of this process.
    """

    def __init__(self, endpoint: str, instance: str) -> None:
        self._url = traces_url(endpoint)
        self._instance = instance
        self._waiting: queue.Queue[Span | None] = queue.Queue(WAITING)
        self.sent = 0
        """Spans that the collector has taken."""
        self.dropped = 0
        """Spans that nobody has: the queue was full, or the collector did not take them."""
        self._is_failing = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="toollog-otlp", daemon=True)
        self._thread.start()

    def take(self, exchange: Exchange) -> None:
        """Send the span of an exchange some time soon, or drop it; never waits and never raises."""
        try:
            self._waiting.put_nowait(span_of(exchange))
        except queue.Full:
            self.dropped += 1
        except Exception:  # a span is not worth an exchange
            self.dropped += 1
            logger.exception("no span can be made of exchange %s", exchange.uid)

    def close(self) -> None:
        """Send what waits, for two seconds at most."""
        self._closing.set()
        try:
            self._waiting.put_nowait(None)  # wakes the thread where it waits for the first span
        except queue.Full:
            pass
        self._thread.join(_LAST_S)
        if self.dropped:
            logger.warning(
                "%d of %d spans were dropped; the store has all exchanges", self.dropped, self.dropped + self.sent
            )

    def _run(self) -> None:
        # No environment proxies: what is logged goes where the settings say, and nowhere else.
        with httpx.Client(timeout=_TIMEOUT_S, trust_env=False, headers=_headers()) as client:
            while not (self._closing.is_set() and self._waiting.empty()):
                if spans := self._next():
                    self._send(client, spans)

    def _next(self) -> list[Span]:
        """Wait for a span, then a little for more."""
        spans = [self._waiting.get()]
        until = time.monotonic() + _PAUSE_S
        while len(spans) < _BATCH and not self._closing.is_set() and (left := until - time.monotonic()) > 0:
            try:
                spans.append(self._waiting.get(timeout=left))
            except queue.Empty:
                break
        while self._closing.is_set() and len(spans) < _BATCH and not self._waiting.empty():
            spans.append(self._waiting.get_nowait())
        return [span for span in spans if span is not None]

    def _send(self, client: httpx.Client, spans: list[Span]) -> None:
        headers = {"content-type": "application/x-protobuf"}
        rejected = len(spans)
        try:
            body = batch(spans, self._instance).SerializeToString()
            answer = client.post(self._url, content=body, headers=headers).raise_for_status()
            rejected = ExportTraceServiceResponse.FromString(answer.content).partial_success.rejected_spans
            self._is_failing = False
        except Exception as error:  # noqa: BLE001 - whatever it is, the next batch may get through
            if not self._is_failing:
                logger.warning("%s takes no spans: %s; they are dropped until it does", self._url, error)
            self._is_failing = True
        self.dropped += rejected
        self.sent += len(spans) - rejected


def _headers() -> dict[str, str]:
    """Return what the standard variable names, for collectors that want a key: ``name=value,name=value``."""
    pairs = (pair.partition("=") for pair in os.environ.get(_HEADERS, "").split(",") if "=" in pair)
    return {name.strip(): unquote(value.strip()) for name, _, value in pairs}
