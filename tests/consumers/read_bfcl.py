"""What BFCL's own checker says of calls.

    python read_bfcl.py data
    python read_bfcl.py check FILE
    python read_bfcl.py time FILE

``data`` prints the folder of its cases. Each line of FILE for ``check`` is a JSON object with ``category``,
``function`` and ``ground_truth`` of a case as BFCL has them, and ``outputs``, a list of answers, each a list of
``{name: arguments}``. Printed is a JSON list with, for each line, whether each answer is valid. An answer on which the
checker raises is none that it accepts. ``time`` prints how long that took, in seconds, reading left out.
"""

import json
import sys
import time
import types
from collections import defaultdict
from pathlib import Path
from typing import Any

# The checker asks its table of models whether a model writes dots in names as underscores. The table imports the
# clients of every provider; this one stands for a model that does not.
table: Any = types.ModuleType("bfcl_eval.constants.model_config")
table.MODEL_CONFIG_MAPPING = defaultdict(lambda: types.SimpleNamespace(underscore_to_dot=False))
sys.modules[table.__name__] = table

import bfcl_eval  # type: ignore[import-not-found]  # noqa: E402
from bfcl_eval.constants.enums import Language  # type: ignore[import-not-found]  # noqa: E402
from bfcl_eval.eval_checker.ast_eval.ast_checker import (  # type: ignore[import-not-found]  # noqa: E402
    ast_checker,
)


def is_valid(case: Any, output: Any) -> bool:
    try:
        verdict = ast_checker(
            case["function"], output, case["ground_truth"], Language.PYTHON, case["category"], "any model"
        )
    except (AttributeError, KeyError, OverflowError, TypeError):
        return False
    return bool(verdict["valid"])


def check(file: Path) -> tuple[list[list[bool]], float]:
    cases = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    began = time.perf_counter()
    found = [[is_valid(case, output) for output in case["outputs"]] for case in cases]
    return found, time.perf_counter() - began


if __name__ == "__main__":
    data = Path(bfcl_eval.__file__).parent / "data"
    found, seconds = ([], 0.0) if sys.argv[1] == "data" else check(Path(sys.argv[2]))
    print(json.dumps({"data": str(data), "check": found, "time": seconds}[sys.argv[1]]))
