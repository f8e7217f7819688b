"""Reading learning curves from the logs of other libraries.

``read`` gives the hub's own columns (docs/reference/formats.md) from CSV and Parquet files, from what
stable-baselines3 writes (``monitor.csv``, ``evaluations.npz``), from TensorBoard's event files, and from CSV
files that Weights & Biases exports.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rllte import tables
from rllte.errors import HubError, UnknownNameError
from rllte.hub.arrays import Curves
from rllte.hub.log_files import PREFERRED, LoggedRun, Point, groups, kind_of, read_group, seed_of_path


def read(path: str | Path, *, columns: Mapping[str, str] | None = None, split: str | None = None) -> pa.Table:
    """Read the learning curves of one agent on one environment.

    Each file of a folder is one run, except that the event files of one folder, and the monitor files of one
    folder, are one run together. A run's seed is the column ``seed``; else the number in a file's or folder's
    name such as ``seed-3``, ``3`` or CleanRL's ``…__3__1700000000``; else the next free number. If a run has
    logs of several kinds, evaluations.npz comes before monitor.csv, and both before event files.

    Args:
        path: A file, or a folder that is searched with its subfolders.
        columns: Names of columns, such as ``{"episode_return": "my_score"}``, where they cannot be guessed.
        split: Read only ``"train"`` or only ``"eval"``. A log that does not say what it holds counts as this
            split, or as ``"eval"`` if None is given.

    Returns:
        A table with the hub's columns ``seed``, ``split``, ``env_step``, ``episode_return``,
        ``episode_length`` (NaN where the log has none) and ``num_episodes``, in the order of seed,
        split and env step.

    Raises:
        HubError: There is no log, a value is missing, malformed, NaN or infinite, an env step is repeated or
            smaller than the one before, or the runs are of several environments. The message names file, line
            and column.
        MissingExtraError: TensorBoard's reader is not installed.
    """
    path = Path(path)
    if not path.exists():
        raise HubError(f"{path} does not exist.")
    runs = []
    for files in groups(path):
        for run in read_group(files, dict(columns or {})):
            run.files = files
            runs.append(run)
    if not runs:
        raise HubError(
            f"{path} has no log: expected .csv, .parquet, monitor.csv, evaluations.npz or event files."
        )
    for run in runs:
        run.split = run.split or split or "eval"
        _check(run)
    found = {run.split for run in runs}
    runs = [run for run in runs if split in (None, run.split)]
    if not runs:
        raise HubError(f"{path} has no log of the split {split!r}, only of {', '.join(map(str, found))}.")
    _check_environments(runs)
    return _table(_with_seeds(runs, path))


def to_curves(table: pa.Table, num_points: int = 500) -> Curves:
    """Put the runs of a table on one grid of env steps: at each point, the last value at or before it.

    The grid begins at the largest first step of the runs and ends at the smallest last step, so no run is
    extended beyond its own points. It has the env steps of all runs or, if these are too many, ``num_points``
    that are equally far apart.

    Args:
        table: What ``read`` returned.
        num_points: The largest number of points.

    Returns:
        Curves for each split that the table has, ``(num_seeds, num_points)``.

    Raises:
        HubError: The runs have no env steps in common.
    """
    curves = Curves()
    curves.seeds = np.unique(tables.column(table.column("seed")))
    for split in sorted(pc.unique(table.column("split")).to_pylist()):
        rows = table.filter(pc.equal(table.column("split"), split))
        by_seed = [
            rows.filter(pc.equal(rows.column("seed"), seed))
            for seed in np.unique(tables.column(rows["seed"]))
        ]
        steps = [tables.column(one.column("env_step")) for one in by_seed]
        first, last = max(one[0] for one in steps), min(one[-1] for one in steps)
        if first > last:
            raise HubError(
                f"The runs have no env steps in common: one begins at {first:,}, another ends at {last:,}."
            )
        grid = np.unique(np.concatenate([one[(one >= first) & (one <= last)] for one in steps]))
        if len(grid) > num_points:
            grid = np.unique(np.linspace(first, last, num_points).round().astype(np.int64))
        curves[split] = np.stack(
            [
                tables.column(one.column("episode_return"))[np.searchsorted(own, grid, side="right") - 1]
                for one, own in zip(by_seed, steps, strict=True)
            ]
        )
        setattr(curves, f"{split}_steps", grid)
    return curves


def lengths(table: pa.Table) -> dict[int, int]:
    """Return the last env step of each seed."""
    steps = table.group_by("seed").aggregate([("env_step", "max")]).to_pylist()
    return {row["seed"]: row["env_step_max"] for row in steps}


def _check(run: LoggedRun) -> None:
    if run.split not in ("train", "eval"):
        raise UnknownNameError("split", run.split, ("train", "eval"), where=run.where)
    if not run.points:
        raise HubError(f"{run.where} has no episodes.")
    for before, point in zip(run.points, run.points[1:], strict=False):
        if point.env_step == before.env_step:
            raise HubError(f"{point.where}: env step {point.env_step:,} is there twice for one seed.")
        if point.env_step < before.env_step:
            raise HubError(
                f"{point.where}: env step {point.env_step:,} follows {before.env_step:,}. If the file holds "
                "several seeds, it needs a column seed."
            )


def _check_environments(runs: list[LoggedRun]) -> None:
    by_env = {run.env_id: run.where for run in runs if run.env_id is not None}
    if len(by_env) > 1:
        (first, one), (second, other), *_ = by_env.items()
        raise HubError(f"The runs are of several environments: {one} of {first}, {other} of {second}.")


def _with_seeds(runs: list[LoggedRun], root: Path) -> list[LoggedRun]:
    """Give every run a seed; of logs of several kinds of one run, keep the preferred kind.

    Raises:
        HubError: Two runs of the same kind have the same seed.
    """
    chosen: dict[tuple[str | None, int], LoggedRun] = {}
    for run in sorted(runs, key=lambda run: PREFERRED.index(kind_of(run.files[0]) or "csv")):
        if run.seed is None:
            run.seed = seed_of_path(run.place, root)
        if run.seed is None:
            run.seed = next(n for n in range(len(chosen) + 1) if (run.split, n) not in chosen)
        other = chosen.setdefault((run.split, run.seed), run)
        if other is not run and kind_of(other.files[0]) == kind_of(run.files[0]):
            raise HubError(
                f"{other.where} and {run.where} both have seed {run.seed}. Name the files or folders seed-0, "
                "seed-1 and so on."
            )
    return list(chosen.values())


def _table(runs: list[LoggedRun]) -> pa.Table:
    rows = [
        {"seed": run.seed, "split": run.split, **{key: getattr(point, key) for key in Point._fields[:4]}}
        for run in sorted(runs, key=lambda run: (run.seed or 0, run.split))
        for point in run.points
    ]
    return pa.Table.from_pylist(rows, schema=tables.CURVES)
