"""Shares, differences and their uncertainty. Pure standard library; scipy and statsmodels are the tests' oracles."""
