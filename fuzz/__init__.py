"""Fuzzing of everything that reads a stranger's bytes: the same checks under hypothesis (in the tests) and atheris.

``checks`` says what must hold, ``inputs`` makes exchanges of bytes, each ``*_target`` is one entry for libFuzzer, and
``python -m fuzz`` (``make fuzz``) runs them. Seeds are the torture cases and the recorded captures.
"""
