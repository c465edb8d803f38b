"""Replay: tests frozen from logged turns, put to a model again, scored and counted.

``scenario`` freezes, ``runner`` asks, ``scoring`` judges, ``report`` counts. ``matching`` and ``statistics``
are pure. Asking and judging are separate: what a model answered is stored as an exchange like any other, and
can be scored again when a scorer changes.
"""
