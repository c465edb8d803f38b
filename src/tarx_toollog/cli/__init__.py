"""The command line. A function here parses, calls one function of a lower layer, and prints what it returned."""
