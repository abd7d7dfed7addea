"""The tables of `benchmarks.paper_table` and `benchmarks.serving` as figures."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("svg")
from matplotlib import pyplot as plt

Scores = Mapping[str, Sequence[float]]
Curves = Mapping[str, Mapping[int, float]]


def plot(panels: Mapping[str, Scores], path: Path) -> None:
    """One panel a data set and size: a point a seed, and a bar for the mean of each kind of run.

    Args:
        panels: Title → kind of run → scores.
        path: The SVG to write.
    """
    figure, axes = _grid(panels)
    for axis, scores in zip(axes, panels.values(), strict=True):
        for place, values in enumerate(scores.values()):
            axis.scatter([place] * len(values), values, s=14, color="tab:blue", alpha=0.6)
            axis.hlines(np.mean(values), place - 0.3, place + 0.3, color="black")
        axis.set_xticks(range(len(scores)), list(scores), fontsize=8)
    _save(figure, path)


def plot_curves(panels: Mapping[str, Curves], path: Path, x: str, y: str) -> None:
    """One panel a condition, a line a series, both axes logarithmic: equal distances are equal ratios.

    Args:
        panels: Title → series → x → y. A series has the same colour in every panel.
        path: The SVG to write.
        x: What the horizontal axis shows.
        y: What the vertical axis shows.
    """
    figure, axes = _grid(panels)
    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    for axis, curves in zip(axes, panels.values(), strict=True):
        for name, curve in curves.items():
            colour = f"C{names.index(name)}"
            axis.plot(list(curve), list(curve.values()), marker="o", markersize=3, color=colour, label=name)
        places = sorted({place for curve in curves.values() for place in curve})
        axis.set(xscale="log", yscale="log")
        axis.set_xticks(places, [str(place) for place in places])
        axis.set_xticks([], minor=True)
        axis.set_xlabel(x, fontsize=8)
        axis.set_ylabel(y, fontsize=8)
        axis.tick_params(axis="x", labelsize=8)
    lines = {label: line for axis in axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(list(lines.values()), list(lines), loc="outside lower center", ncols=4, fontsize=8)
    _save(figure, path)


def _grid(titles: Collection[str]) -> tuple[Any, list[Any]]:
    """A figure with a panel for each title, three in a row."""
    mpl.rcParams["svg.hashsalt"] = "thawline"  # the same runs give the same file
    columns = 3
    rows = -(-len(titles) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.4 * columns, 2.6 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat[len(titles) :]:
        axis.set_visible(False)
    used = list(axes.flat[: len(titles)])
    for axis, title in zip(used, titles, strict=True):
        axis.set_title(title, fontsize=9)
        axis.tick_params(axis="y", labelsize=8)
    return figure, used


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
