"""What Inspect reads from a dataset.

    python read_inspect.py FILE

Prints a JSON list with one object a sample: its id, roles and texts of its chat, the calls in it, target and metadata.
"""

import json
import sys
from typing import Any

from inspect_ai.dataset import json_dataset  # type: ignore[import-not-found]


def told(sample: Any) -> dict[str, Any]:
    return {
        "id": sample.id,
        "chat": [[message.role, message.text] for message in sample.input],
        "calls": [
            [call.function, call.arguments, call.parse_error]
            for message in sample.input
            for call in (message.tool_calls if message.role == "assistant" else None) or ()
        ],
        "target": sample.target,
        "metadata": sample.metadata,
    }


print(json.dumps([told(sample) for sample in json_dataset(sys.argv[1])]))
