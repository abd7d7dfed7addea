"""Whether the endpoint keeps its promises when things go wrong: a benchmark that breaks them on purpose."""
