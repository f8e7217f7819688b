"""Build the page of results, which compares every available cell with published references."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from rllte import tables
from rllte.hub.references import agent_steps, read_csv
from rllte.hub.statistics import mean_interval
from rllte.hub.store.source import Source
from rllte.names import Cell
from rllte.recipes.project import Project

FILE = "docs/reference/results.md"
_INTRODUCTION = """# Results

Written by `rllte-hub catalogue` from the scores and `references/*.csv`; do not edit. How scores are made:
[Protocol](protocol.md).

"Ours" is the mean of the final scores over seeds, at the budget of the cell. The brackets hold the 95 %
interval of that mean by Student's t over the seeds; a cell of one seed has none. "Reference" is the mean and
the sample standard deviation over the reference's seeds, whose number follows in parentheses, at the same env
step, interpolated between its points where needed. The ratio is ours / reference. The last column is the
difference in standard deviations of the reference, if it has three seeds or more. With so few seeds, a
difference of several standard deviations can still be small in absolute terms.
"""
_SPLITS = {"eval": "unseen_levels", "train_levels": "train_levels"}
"""Our names of Procgen's splits, each with the name in the references."""


def results_page(root: Path, cells: list[dict[str, Any]]) -> str:
    """Return a Markdown page that compares the available cells with the references.

    Args:
        root: The folder of the checkout, whose ``data/``, ``pipelines/`` and ``references/`` are read.
        cells: The rows of all cells in the catalogue.
    """
    available = [row for row in cells if row["status"] == "available"]
    parts = [_INTRODUCTION]
    for benchmark, agent in dict.fromkeys((row["benchmark"], row["agent"]) for row in available):
        rows = [row for row in available if (row["benchmark"], row["agent"]) == (benchmark, agent)]
        parts.append(_section(root, benchmark, agent, rows))
    return "\n".join(parts)


def _section(root: Path, benchmark: str, agent: str, rows: list[dict[str, Any]]) -> str:
    references = [
        row
        for row in read_csv(Source(str(root)), "learning_curves")
        if (row["benchmark"], row["agent"]) == (benchmark, agent)
    ]
    lines = [f"## {benchmark} / {agent}", ""]
    source = Project(root).agent(benchmark, agent).source.strip()
    lines += [f"Ours: {source} Actions {rows[0]['policy_mode']}."]
    for source, protocol in dict.fromkeys((row["source"], row["protocol"]) for row in references):
        lines += ["", f"Reference: {source}; {protocol}."]
    lines += ["", "| environment | split | env steps | seeds | ours | reference | ratio | deviations |"]
    lines += ["|:--|:--|--:|--:|--:|--:|--:|--:|"]
    for row in rows:
        lines += _lines_of_cell(root, row, references)
    notes = [f"- {row['env_id']}: {row['note']}" for row in rows if "note" in row]
    lines += ["", *notes] if notes else []
    if benchmark == "atari":
        lines += ["", *_atari_scores(root, {row["env_id"] for row in rows})]
    return "\n".join([*lines, ""])


def _lines_of_cell(root: Path, row: dict[str, Any], references: list[dict[str, str]]) -> list[str]:
    cell = Cell(row["benchmark"], row["agent"], row["env_id"])
    path = cell.path("scores")
    scores = tables.read_parquet((root / path).read_bytes(), tables.SCORES, path)
    means = scores.group_by(["split", "seed"]).aggregate([("episode_return", "mean")]).to_pylist()
    lines = []
    for split in dict.fromkeys(one["split"] for one in means):
        by_seed = np.array([one["episode_return_mean"] for one in means if one["split"] == split])
        mean, (low, high) = float(by_seed.mean()), mean_interval(by_seed)
        ours = f"{mean:.4g}" + (f" [{low:.4g}, {high:.4g}]" if len(by_seed) > 1 else "")
        reference = reference_at(references, row, split)
        beside = "– | – | –"
        if reference is not None:
            expected, deviation, num_seeds = reference
            spread = "" if math.isnan(deviation) else f" ± {deviation:.3g}"
            beside = f"{expected:.4g}{spread} ({num_seeds}) | "
            beside += f"{mean / expected:.2f} | " if expected else "– | "
            beside += f"{(mean - expected) / deviation:+.1f}" if deviation > 0 and num_seeds > 2 else "–"
        lines.append(
            f"| {row['env_id']} | {split} | {row['num_train_steps']:,} | {len(by_seed)} | {ours} | {beside} |"
        )
    return lines


def reference_at(
    references: list[dict[str, str]], row: dict[str, Any], split: str
) -> tuple[float, float, int] | None:
    """Return a reference's mean, standard deviation and number of seeds at a cell's budget.

    The values are interpolated between the points of the reference's curve. The deviation is NaN if the
    reference has only one seed.

    Args:
        references: The rows of the reference curves for one benchmark and agent.
        row: The cell's row of the catalogue.
        split: The split of our scores.

    Returns:
        Mean, deviation and number of seeds; None if the curve does not cover the cell's budget.
    """
    name = _SPLITS[split] if row["benchmark"] == "procgen" else split
    points = sorted(
        (agent_steps(point), float(point["mean"]), _deviation(point), float(point["n_seeds"]))
        for point in references
        if (point["env_id"], point["split"]) == (row["env_id"], name)
    )
    if not points or not points[0][0] <= row["num_train_steps"] <= points[-1][0]:
        return None
    steps, *columns = zip(*points, strict=True)
    mean, deviation, num_seeds = (
        float(np.interp(row["num_train_steps"], steps, column)) for column in columns
    )
    return mean, deviation, int(num_seeds)


def _deviation(point: dict[str, str]) -> float:
    return float(point["sd"]) if point["sd"] and int(point["n_seeds"]) > 1 else math.nan


def _atari_scores(root: Path, env_ids: set[str]) -> list[str]:
    lines = ["Final scores of others, at their own budgets:", ""]
    lines += ["| environment | agent | mean | deviation | protocol | source |", "|:--|:--|--:|--:|:--|:--|"]
    return lines + [
        f"| {row['env_id']} | {row['agent']} | {row['mean']} | {row['sd'] or '–'} | {row['protocol']} | "
        f"{row['source']} |"
        for row in read_csv(Source(str(root)), "atari_scores")
        if row["env_id"] in env_ids
    ]
