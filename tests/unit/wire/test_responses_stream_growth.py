"""An item that is sent again with every event takes time in step with its bytes."""

import json
import time

from tarx_toollog.wire.fields import DecodeContext
from tarx_toollog.wire.responses_stream import ResponsesStream


def seconds(n_events: int) -> float:
    stream = ResponsesStream(DecodeContext())
    began = time.process_time()
    for number in range(n_events):
        item = {"type": "function_call", "id": "a", f"k{number}": 1}
        event = {"type": "response.output_item.added", "item": item}
        stream.receive_data(f"data: {json.dumps(event)}\n\n".encode(), 0)
    stream.close()
    return time.process_time() - began


def test_another_key_of_one_item_in_every_event_is_not_quadratic() -> None:
    # Quadratic would be 16 times as long.
    assert min(seconds(8000) for _ in range(2)) < 9 * min(seconds(2000) for _ in range(3))
