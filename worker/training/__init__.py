"""Pure torch: model, heads, objectives, phases, data, loop, evaluation, export. No Celery, no SQL, no HTTP."""
