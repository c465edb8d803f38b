"""Suites: which turns of the log become tests, what is expected of them, and what people say about that."""
