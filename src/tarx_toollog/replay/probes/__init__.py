"""Probes: one thing about scenarios is changed, and the model is asked both ways, so that the change is the cause.

Along an axis of ``axes`` many things differ at once. A probe makes *variants* (``Scenario.variant``), stores them
beside what they were made of, has the ordinary runner ask them, and reads the pairs. ``cases`` is the road that all
probes share; ``levels`` the arithmetic of pairs.
"""
