"""Plots of learning curves."""

from pathlib import Path

from rllte.errors import HubError
from rllte.extras import requires_extra
from rllte.hub.benchmark import Curves
from rllte.hub.statistics import mean_interval


def plot_curves(curves: dict[str, Curves], path: Path) -> Path:
    """Plot evaluation curves into one image, each as its mean and 95 % bootstrap interval over seeds.

    Args:
        curves: The curves of each cell, by the cell's name.
        path: The image file. Its suffix decides the format; a path without a suffix gets ``.png``.

    Returns:
        The path of the file that was written.

    Raises:
        MissingExtraError: Matplotlib or SciPy is not installed.
        HubError: Matplotlib does not know the format.
    """
    with requires_extra("Plots need"):
        from matplotlib.figure import Figure
    figure = Figure(figsize=(6.4, 4.0), layout="constrained", dpi=150)
    axes = figure.subplots()
    for name, cell in curves.items():
        low, high = mean_interval(cell["eval"])
        num_seeds = len(cell["eval"])
        label = f"{name} ({num_seeds} seed{'s' if num_seeds > 1 else ''})"
        (line,) = axes.plot(cell.eval_steps, cell["eval"].mean(axis=0), label=label)
        axes.fill_between(cell.eval_steps, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.set_xlabel("env steps")
    axes.set_ylabel("episode return (mean, bootstrap interval over seeds)")
    axes.ticklabel_format(axis="x", style="sci", scilimits=(0, 4), useMathText=True)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    path = path if path.suffix else path.with_suffix(".png")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        figure.savefig(path)
    except ValueError as error:  # an unknown suffix
        raise HubError(f"{path}: {error}") from None
    return path
