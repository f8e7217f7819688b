"""Figures of learning curves and comparisons, as Matplotlib axes."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rllte.errors import HubError
from rllte.extras import requires_extra
from rllte.hub import statistics
from rllte.hub.arrays import Curves
from rllte.hub.statistics import Interval, Scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
"""Okabe and Ito's palette, which colour-blind readers can tell apart."""
X_LABELS = {"env_steps": "env steps", "frames": "frames", "wall": "hours of training"}
_PANEL_INCHES = (3.6, 2.8)


def plot_curves(
    curves: Mapping[str, Curves],
    ax: "Axes | None" = None,
    *,
    split: str = "eval",
    x_scale: Mapping[str, float] | None = None,
    colours: Mapping[str, str] | None = None,
    bounds: tuple[float, float] | None = None,
    smooth: int = 1,
) -> "Axes":
    """Draw the learning curves of agents on one environment.

    Each agent has the mean over its seeds as a thick line, the 95 % interval of the mean by Student's t as a
    band, and each seed as a thin line.

    Args:
        curves: The curves by the name of the agent.
        ax: Where to draw; new axes by default.
        split: ``"train"`` or ``"eval"``.
        x_scale: What one env step is on the x axis for each agent, such as 4 frames; 1 by default.
        colours: The colour of each agent; by default those of ``COLOURS`` in order.
        bounds: Returns that become 0 and 1 on the y axis; by default they stay as they are.
        smooth: Number of points of a moving average; 1 is none.

    Returns:
        The axes.

    Raises:
        HubError: An agent has no such split.
        MissingExtraError: Matplotlib or SciPy is not installed.
    """
    with requires_extra("Plots need"):
        from matplotlib.ticker import EngFormatter
    ax = _axes() if ax is None else ax
    colours = colours or colours_of(curves)
    for name, one in curves.items():
        if split not in one:
            raise HubError(f"{name} has no curve of the split {split!r}; it has {', '.join(one) or 'none'}.")
        x, colour = one.steps(split) * (x_scale or {}).get(name, 1.0), colours[name]
        returns = statistics.trailing_mean(_scaled(one[split].astype(np.float64), bounds), smooth)
        low, high = statistics.mean_interval(returns)
        ax.plot(x, returns.mean(axis=0), color=colour, linewidth=1.8, label=name)
        ax.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        for row in returns:
            ax.plot(x, row, color=colour, linewidth=0.5, alpha=0.5)
    ax.set_ylabel(f"{'normalised ' if bounds else ''}episode return")
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    _show_seeds_whole(ax)
    _style(ax)
    return ax


def plot_references(
    references: Iterable[Mapping[str, Any]], ax: "Axes", *, bounds: tuple[float, float] | None = None
) -> "Axes":
    """Add the published numbers of others to the axes of one environment, as grey lines that are not solid.

    Args:
        references: Rows of ``rllte.hub.load_references`` of one environment: curves are drawn over their env
            steps, the scores of random play and of people as horizontal lines.
        ax: The axes.
        bounds: As ``plot_curves`` has them.

    Returns:
        The axes.
    """
    by_source: dict[str, list[Mapping[str, Any]]] = {}
    for row in references:
        if row["env_step"] is not None:
            by_source.setdefault(f"{row['agent']} ({row['source'].split('@')[0]})", []).append(row)
        elif row["agent"] in ("random", "human"):
            height = float(_scaled(np.array(row["mean"]), bounds))
            style = ":" if row["agent"] == "random" else "-."
            ax.axhline(height, color="0.5", linestyle=style, linewidth=1, label=row["agent"])
    end = ax.get_xlim()[1]
    for label, rows in by_source.items():
        points = sorted((row["env_step"], row["mean"]) for row in rows if row["env_step"] <= end)
        if points:
            steps, means = zip(*points, strict=True)
            ax.plot(
                steps, _scaled(np.array(means), bounds), color="0.5", linestyle="--", linewidth=1, label=label
            )
    return ax


def plot_intervals(intervals: Mapping[str, Interval], ax: "Axes | None" = None, *, label: str) -> "Axes":
    """Draw one horizontal interval for each name, such as the IQM of each agent.

    Args:
        intervals: Values with their intervals by name.
        ax: Where to draw; new axes by default.
        label: What the x axis shows.

    Returns:
        The axes.
    """
    ax = _axes() if ax is None else ax
    for i, (name, one) in enumerate(intervals.items()):
        colour = colours_of(intervals)[name]
        ax.plot([one.low, one.high], [i, i], color=colour, linewidth=8, alpha=0.3, solid_capstyle="butt")
        ax.plot(one.value, i, marker="|", markersize=16, markeredgewidth=2, color=colour)
    ax.set_yticks(range(len(intervals)), list(intervals))
    ax.set_ylim(len(intervals) - 0.5, -0.5)
    ax.set_xlabel(label)
    _style(ax)
    return ax


def plot_profiles(scores: Mapping[str, Scores], ax: "Axes | None" = None) -> "Axes":
    """Draw the performance profile of each agent: the share of runs above each normalised score.

    Args:
        scores: Normalised scores of each seed by environment, for each agent.
        ax: Where to draw; new axes by default.

    Returns:
        The axes.
    """
    ax = _axes() if ax is None else ax
    largest = max(float(row.max()) for one in scores.values() for row in one.values())
    thresholds = np.linspace(0.0, max(1.0, largest), 201)
    for name, one in scores.items():
        shares = statistics.performance_profile(one, thresholds)
        ax.plot(thresholds, shares, color=colours_of(scores)[name], label=name)
    ax.set_xlabel("normalised score τ")
    ax.set_ylabel("share of runs with a score above τ")
    ax.set_ylim(0, 1.02)
    _style(ax)
    return ax


def panels(env_ids: Sequence[str], columns: int = 3) -> "tuple[Figure, dict[str, Axes]]":
    """Return a figure with one panel for each environment, and its axes by environment."""
    with requires_extra("Plots need"):
        from matplotlib.figure import Figure
    columns = min(columns, len(env_ids))
    rows = -(-len(env_ids) // columns)
    size = (_PANEL_INCHES[0] * columns, _PANEL_INCHES[1] * rows + 0.5)
    figure = Figure(figsize=size, layout="constrained", dpi=150)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for extra in axes[len(env_ids) :]:
        extra.remove()
    for env_id, ax in zip(env_ids, axes, strict=False):
        ax.set_title(env_id, fontsize="medium")
    return figure, dict(zip(env_ids, axes, strict=False))


def colours_of(names: Iterable[str]) -> dict[str, str]:
    """Return a colour for each name, in the order of ``COLOURS``."""
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(dict.fromkeys(names))}


def add_legend(figure: "Figure", texts: Mapping[str, str] | None = None) -> None:
    """Put one legend for all panels below them, outside of the axes.

    Args:
        figure: The figure.
        texts: What the legend says for a label, such as how many seeds an agent has; by default the label.
    """
    entries: dict[str, Any] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    if entries:
        columns = min(len(entries), max(1, int(figure.get_figwidth() // 2)))
        figure.legend(
            entries.values(),
            [(texts or {}).get(label, label) for label in entries],
            loc="outside lower center",
            ncols=columns,
            frameon=False,
            fontsize="small",
        )


def save(figure: "Figure", path: str | Path) -> Path:
    """Write a figure; its text stays text in PDF and SVG files.

    Args:
        figure: The figure.
        path: The suffix says the format, ``.png`` if there is none.

    Returns:
        The path of the file.

    Raises:
        HubError: Matplotlib cannot write such a format.
    """
    from matplotlib import rc_context

    path = Path(path) if Path(path).suffix else Path(path).with_suffix(".png")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with rc_context({"pdf.fonttype": 42, "svg.fonttype": "none"}):
            figure.savefig(path)
    except ValueError as error:  # an unknown suffix
        raise HubError(f"{path}: {error}") from None
    return path


def _axes() -> "Axes":
    with requires_extra("Plots need"):
        from matplotlib.figure import Figure
    return Figure(figsize=_PANEL_INCHES, layout="constrained", dpi=150).subplots()


def _show_seeds_whole(ax: "Axes") -> None:
    """Fit the y axis to the lines: with two or three seeds, a band can be many times as high."""
    heights = np.concatenate([np.asarray(line.get_ydata(), np.float64) for line in ax.lines])
    low, high = np.nanmin(heights), np.nanmax(heights)
    margin = 0.08 * (high - low) or 1.0
    ax.set_ylim(low - margin, high + margin)


def _scaled(values: npt.NDArray[Any], bounds: tuple[float, float] | None) -> npt.NDArray[Any]:
    return values if bounds is None else statistics.normalized(values, bounds)


def _style(ax: "Axes") -> None:
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
