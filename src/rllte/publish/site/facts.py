"""What the pages of the site show, read once from the catalogue, the tables and the references."""

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rllte.files import read_pulled
from rllte.hub.references import load_bounds, read_references
from rllte.hub.statistics import aggregate, mean_interval, normalized
from rllte.hub.store.source import Source
from rllte.names import BENCHMARKS, VIDEO, Cell, Run
from rllte.publish.catalogue import TIDY_TABLES

Row = dict[str, Any]
_FRAMES = {"atari": 4, "drqv2": 2}
"""Frames in an env step, by the benchmark or the agent that repeats actions."""


class Facts:
    """The contents of a hub, as its pages need them.

    Args:
        root: The folder of the checkout.
    """

    def __init__(self, root: Path) -> None:
        self.root, self.source = root, Source(str(root))
        content = self.source.catalogue
        self.available: list[Row] = content.rows("available")
        self.planned: list[Row] = content.rows("planned")
        self.artifacts: dict[str, Row] = content.artifacts
        self.pipelines: dict[str, Row] = content.pipelines
        self._tables = {kind: _by_cell(pq.read_table(root / path)) for kind, path in TIDY_TABLES.items()}

    @functools.cached_property
    def cells(self) -> dict[Cell, Row]:
        """The rows of the available cells."""
        return {cell_of(row): row for row in self.available}

    @functools.cached_property
    def references(self) -> list[Row]:
        """The rows of the references, as ``load_references`` returns them."""
        return read_references(self.source)

    @functools.cached_property
    def bounds(self) -> dict[str, dict[str, tuple[float, float]]]:
        """The returns that normalisation maps to 0 and 1, by benchmark and env_id."""
        return {benchmark: load_bounds(self.source, benchmark) for benchmark in BENCHMARKS}

    def curve(self, cell: Cell) -> Row:
        """Return the evaluations of a cell: steps, mean, interval and one curve for each seed."""
        table = self._tables["curves"][cell]
        table = table.filter(pc.field("split") == "eval")
        seeds, steps, returns = (table[name].to_numpy() for name in ("seed", "env_step", "episode_return"))
        names = np.unique(seeds)
        values = np.stack([returns[seeds == seed] for seed in names]).astype(np.float64)
        curve: Row = {
            "label": cell.agent,
            "steps": steps[seeds == names[0]].tolist(),
            "mean": short(values.mean(axis=0)),
            "seeds": {str(seed): short(line) for seed, line in zip(names, values, strict=True)},
            "frames": _FRAMES.get(cell.agent, _FRAMES.get(cell.benchmark, 1)),
        }
        if len(names) > 2:  # of two seeds, it is wider than all that they show
            low, high = mean_interval(values)
            curve |= {"low": short(low), "high": short(high)}
        return curve

    def scores(self, cell: Cell, split: str = "eval") -> dict[int, Any]:
        """Return the returns of a cell's final episodes, ``(num_episodes,)`` for each seed."""
        table = self._tables["scores"][cell].filter(pc.field("split") == split)
        seeds, returns = table["seed"].to_numpy(), table["episode_return"].to_numpy()
        return {int(seed): returns[seeds == seed].astype(np.float64) for seed in np.unique(seeds)}

    def reference_points(self, cell: Cell, split: str = "eval") -> list[Row]:
        """Return the curves of others on a cell's agent and environment, each with its source."""
        rows = [
            row
            for row in self.references
            if (row["benchmark"], row["agent"], row["env_id"]) == (cell.benchmark, cell.agent, cell.env_id)
            and row["env_step"] is not None
            and row["split"] in (split, "unseen_levels")
        ]
        sources = dict.fromkeys((row["source"], row["protocol"]) for row in rows)
        return [
            {
                "label": source,
                "protocol": protocol,
                "points": [[row["env_step"], row["mean"]] for row in rows if row["source"] == source],
            }
            for source, protocol in sources
        ]

    def runs(self, cell: Cell) -> list[Row]:
        """Return what trained each run of a cell and the hashes of its files."""
        rows = []
        for seed in self.cells[cell]["seeds"]:
            run = Run(cell, seed)
            cost = json.loads(read_pulled(self.root, run.path("train"), "metrics"))
            files = {kind: self.artifacts[run.path(kind)] for kind in ("model", "policy", "scores")}
            rows.append({"seed": seed, "name": str(run), "cost": cost, "files": files})
        return rows

    def datasets(self, cell: Cell | None = None) -> list[Row]:
        """Return the rows of demonstrations, of one cell or of all."""
        rows = [row for row in self.artifacts.values() if row["kind"] == "demonstrations"]
        return [row for row in rows if cell is None or cell_of(row) == cell]

    def video(self, cell: Cell) -> Row | None:
        """Return the row of a cell's video."""
        return self.artifacts.get(cell.path(VIDEO))

    def normalised(self, cell: Cell) -> Any:
        """Return the mean score of each seed between the bounds of its environment; None without bounds."""
        bounds = self.bounds[cell.benchmark].get(cell.env_id)
        if bounds is None:
            return None
        means = np.array([values.mean() for values in self.scores(cell).values()])
        return normalized(means, bounds)

    def aggregates(self, benchmark: str) -> list[Row]:
        """Return the interquartile mean of each agent over the environments that all agents have.

        Only agents that share two or more environments with another, with at least two seeds each, are
        compared.
        """
        cells = [cell for cell in self.cells if cell.benchmark == benchmark]
        agents = list(dict.fromkeys(cell.agent for cell in cells))
        have = {
            agent: {
                cell.env_id for cell in cells if cell.agent == agent and len(self.cells[cell]["seeds"]) > 1
            }
            for agent in agents
        }
        agents = [
            agent for agent in agents if any(len(have[agent] & have[o]) > 1 for o in agents if o != agent)
        ]
        if len(agents) < 2:
            return []
        shared = sorted(set.intersection(*(have[agent] for agent in agents)))
        if len(shared) < 2:
            return []
        rows = []
        for agent in agents:
            scores = {env_id: self.normalised(Cell(benchmark, agent, env_id)) for env_id in shared}
            if any(values is None for values in scores.values()):
                return []
            rows.append({"agent": agent, "env_ids": shared, "iqm": aggregate(scores)})
        return rows


def cell_of(row: Row) -> Cell:
    """Return the cell that a row of the catalogue belongs to."""
    return Cell(row["benchmark"], row["agent"], row["env_id"])


def short(values: Any) -> list[float]:
    """Return numbers with four significant digits, which is what a chart can show."""
    return [float(f"{value:.4g}") for value in values]


def _by_cell(table: Any) -> dict[Cell, Any]:
    """Return the rows of each cell, which stand together in a tidy table."""
    names = (table[name].to_pylist() for name in ("benchmark", "agent", "env_id"))
    spans: dict[tuple[str, str, str], list[int]] = {}
    for i, triple in enumerate(zip(*names, strict=True)):
        spans.setdefault(triple, [i, i])[1] = i
    return {Cell(*triple): table.slice(first, last - first + 1) for triple, (first, last) in spans.items()}
