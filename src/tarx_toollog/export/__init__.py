"""Training data from the log: select, normalise, write, account for every row. Knows no SQL and no terminal."""
