"""Whether workers wait while jobs do, and whether the list of jobs stays quick when it is long: a benchmark."""
