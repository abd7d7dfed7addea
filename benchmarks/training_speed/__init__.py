"""Our training job against the usual tools, in one run on one machine: wall clock and peak memory as ratios.

Each side is a module of its own that runs in a process of its own: imports, tokenising, both phases, a saved model
and the metrics of the test rows, from nothing to the end of the process. All sides get the same rows, the same encoder,
head and loss, the same epochs, batch size, learning rates, warm-up, weight decay, dropout and seed
(`exchange.Assignment`), and score themselves with the same code. Two clocks are told: the wall's, and the CPU time of
the process, which other work on the machine disturbs less. With one thread on an idle core the two are the same.

- ``thawline``: what the worker runs. It also exports to ONNX and compares the export with torch; no other side does.
- ``trainer``, ``trainer_bf16``: the two phases through `transformers.Trainer`, in single precision, its default, and in
  bfloat16, which is of use where the CPU has instructions for it; ours uses those without being asked.
- ``sentence_transformers``: graded similarity by its own recipe, a bi-encoder; compare quality along with time.
- ``setfit``: classification by its own recipe, pairs of sentences and logistic regression; meant for few rows.

Flair is not among them: its newest release (0.15.1) asks for transformers below 5.
"""
