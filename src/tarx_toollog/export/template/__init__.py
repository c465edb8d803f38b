"""Chat templates: what a model really reads, and what is wrong with training rows because of it."""
