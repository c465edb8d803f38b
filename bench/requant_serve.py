"""Serve any GGUF file as ``examples/local_model/launch.py`` serves its own: same server, same chat template.

python -m bench.requant_serve FILE.gguf ALIAS PORT
"""

import argparse
import sys
from pathlib import Path

from examples.local_model import launch

_CONTEXT = 8192


def main() -> None:
    """Serve until interrupted."""
    model, alias, port = sys.argv[1:]
    server = launch.ensure_installed().server
    options = argparse.Namespace(
        alias=alias, host="127.0.0.1", port=int(port), template="md-json", ctx=_CONTEXT, slots=1, lora=False
    )
    # The launcher knows how to start either server; which model, it leaves to its kit.
    serve = launch._serve_binary if server else launch._serve_packaged
    serve(options, launch.Kit(model=Path(model), server=server))


if __name__ == "__main__":
    main()
