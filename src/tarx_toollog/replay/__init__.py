"""Replay: tests frozen from logged turns, put to a model again, scored and counted.

``suites`` freezes ``scenario``s, ``running`` asks, ``scoring`` judges by ``scorers`` (``turns`` where the model goes
its own way), ``reports`` counts. ``matching`` compares calls, ``statistics`` has the formulas, ``results`` answers in
the place of tools, ``probes`` changes one thing, ``files`` and ``bfcl`` speak to other tools.
"""
