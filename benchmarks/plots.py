"""The table of `benchmarks.paper_table` as figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("svg")
from matplotlib import pyplot as plt

Scores = Mapping[str, Sequence[float]]


def plot(panels: Mapping[str, Scores], path: Path) -> None:
    """One panel a data set and size: a point a seed, and a bar for the mean of each kind of run.

    Args:
        panels: Title → kind of run → scores.
        path: The SVG to write.
    """
    mpl.rcParams["svg.hashsalt"] = "thawline"  # the same runs give the same file
    columns = 3
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.4 * columns, 2.6 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (title, scores) in zip(axes.flat, panels.items(), strict=False):
        for place, values in enumerate(scores.values()):
            axis.scatter([place] * len(values), values, s=14, color="tab:blue", alpha=0.6)
            axis.hlines(np.mean(values), place - 0.3, place + 0.3, color="black")
        axis.set_xticks(range(len(scores)), list(scores), fontsize=8)
        axis.set_title(title, fontsize=9)
        axis.tick_params(axis="y", labelsize=8)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
