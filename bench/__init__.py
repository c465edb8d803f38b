"""Measurements. Each prints a ratio against a named subject that ran in the same minutes on the same machine."""
