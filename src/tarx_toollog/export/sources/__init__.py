"""Where examples come from: the log, and files that people bring."""
