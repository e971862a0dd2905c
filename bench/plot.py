"""Draws a result: what each server costs against the C program, and how Troupe's costs grow."""

from pathlib import Path
from textwrap import wrap
from typing import Any

import matplotlib as mpl
from report import REFERENCE

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

#: Cases of so many servers are for the curves.
FEW = 2
#: Characters that a name may have below its bars.
NAME_WIDTH = 16
WIDTH, BAR_HEIGHT, CURVE_HEIGHT = 15.0, 6.0, 4.0


def draw(result: dict[str, Any], output: Path) -> None:
    """Write a PNG with a row of bars and a row of curves, as far as the result has them."""
    curves = [curve for curve in result["curves"] if len(_points(result, curve)) > 1]
    rows = 2 if curves else 1
    figure = plt.figure(figsize=(WIDTH, BAR_HEIGHT + CURVE_HEIGHT * (rows - 1)))
    grid = figure.add_gridspec(
        rows, max(1, len(curves)), height_ratios=(BAR_HEIGHT, CURVE_HEIGHT)[:rows]
    )
    _draw_bars(figure.add_subplot(grid[0, :]), result)
    for place, curve in enumerate(curves):
        _draw_curve(figure.add_subplot(grid[1, place]), result, curve)
    figure.tight_layout()
    figure.savefig(output, dpi=110)
    plt.close(figure)


def _draw_bars(axes: Axes, result: dict[str, Any]) -> None:
    """Draw a group of bars for each case that more than a few servers have run, a bar for each server."""
    cases = {
        name: peers
        for name, peers in result["summary"].items()
        if name not in result["curves"]
        and sum(bool(one.get("ratio")) for one in peers.values()) > 1
    }
    names = [name for name in result["servers"] if name != REFERENCE]
    width = 0.8 / max(1, len(names))
    for place, peer in enumerate(names):
        ratios = [peers.get(peer, {}).get("ratio") for peers in cases.values()]
        found = [(group, ratio) for group, ratio in enumerate(ratios) if ratio]
        medians = [ratio["median"] for _, ratio in found]
        below = [ratio["median"] - ratio["min"] for _, ratio in found]
        above = [ratio["max"] - ratio["median"] for _, ratio in found]
        positions = [group + (place - len(names) / 2 + 0.5) * width for group, _ in found]
        axes.bar(positions, medians, width, yerr=(below, above), capsize=2, label=peer)
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.set_yscale("log")
    labels = ["\n".join(wrap(name, NAME_WIDTH)) for name in cases]
    axes.set_xticks(range(len(cases)), labels, fontsize=7)
    axes.set_title("cost of one unit against the C floor: median and range; lower is better")
    axes.legend(fontsize=8)


def _points(result: dict[str, Any], curve: str) -> list[tuple[int, dict[str, Any]]]:
    places = result["curves"][curve]
    found = [(at, result["summary"].get(name)) for name, at in places.items()]
    return sorted((at, summary) for at, summary in found if summary)


def _draw_curve(axes: Axes, result: dict[str, Any], curve: str) -> None:
    for peer in result["servers"]:
        found = [
            (at, peers[peer]["cost"])
            for at, peers in _points(result, curve)
            if peers.get(peer, {}).get("cost")
        ]
        if len(found) > 1:
            places = [at for at, _ in found]
            medians = [cost["median"] for _, cost in found]
            below = [cost["median"] - cost["min"] for _, cost in found]
            above = [cost["max"] - cost["median"] for _, cost in found]
            axes.errorbar(
                places, medians, yerr=(below, above), capsize=3, marker="o", label=peer
            )
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_title(curve, fontsize=9)
    axes.legend(fontsize=8)
