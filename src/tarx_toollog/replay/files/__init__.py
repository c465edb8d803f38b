"""Scenarios as files, in our own shape and in those of other tools, so that people can write, read and share them.

``ours`` says all that a scenario is; the other shapes are translated to and from its objects (*entries*), so that one
reader judges them all. ``bfcl`` reads and writes rows of the Berkeley leaderboard, ``inspect_ai`` datasets of Inspect,
``promptfoo`` configurations of promptfoo. ``suites`` is what the command line calls. What a shape cannot say is counted
and told (``losses``), never just left out.
"""
