"""How fast uploads are read and validated, and how much memory that takes: a benchmark."""
