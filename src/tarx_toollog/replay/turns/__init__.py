"""Turns that a model makes by itself: the closed loop, what is expected of a whole turn, and the verdict on it."""
