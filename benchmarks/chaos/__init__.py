"""Whether jobs survive what may befall the service: a benchmark that kills and freezes its parts at random."""
