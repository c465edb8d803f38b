"""Does an answer in text say what it must, and nothing that it must not? Judged without another model."""
