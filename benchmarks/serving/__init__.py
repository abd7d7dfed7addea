"""Thawline's endpoint beside what people would otherwise run, with the very same weights.

A job of Thawline's own trains and publishes one classifier. `conversion` makes a folder of transformers of it, whose
answers are compared with Thawline's before anything is timed; peers that run ONNX get what optimum exports from there.
The load comes from wrk, a compiled client, on the same cores. All servers of one precision are up at the same time and
take turns within each round, so that what else the machine does falls on all alike; ratios are made of measurements of
the same round. The peers are paused (SIGSTOP) when it is not their turn, for some poll without rest; Thawline is idle.

The precision ``auto`` is what a call gets that asks for none: Thawline chose it when the model was exported. Peers
calculate in single precision then, as they do unless one quantises the model for them, and the limit in Thawline's.

``onnxruntime`` is no server but the limit: a loop over the file that Thawline serves, in this process, without HTTP.
One text in flight has all cores; with more in flight, a thread a core runs one text at a time.
"""
