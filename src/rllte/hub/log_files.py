"""The logs of other libraries, one reader for each format."""

import csv
import json
import math
import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from rllte.errors import HubError, UnknownNameError
from rllte.extras import requires_extra

NAMES: dict[str, tuple[str, ...]] = {
    "env_step": ("env_step", "global_step", "num_env_steps", "total_timesteps", "timesteps", "step", "steps"),
    "episode_return": (
        "episode_return", "episodic_return", "episode_reward", "mean_reward", "return", "reward", "score",
        "charts/episodic_return", "rollout/ep_rew_mean", "training/episode reward", "train/episode_reward",
        "eval/mean_reward", "eval/episode_reward", "evaluation/episode reward",
    ),
    "episode_length": ("episode_length", "episodic_length", "ep_length", "length"),
    "seed": ("seed", "random_seed"),
    "split": ("split",),
    "env_id": ("env_id", "env", "environment", "task", "game"),
}  # fmt: skip
"""Names by which each column is known, in order of preference; upper case does not matter."""

_TRAIN_TAGS = (
    "charts/episodic_return",
    "rollout/ep_rew_mean",
    "training/episode reward",
    "train/episode_reward",
)
_EVAL_TAGS = ("eval/mean_reward", "eval/episodic_return", "eval/episode_reward", "evaluation/episode reward")
_SEED = re.compile(
    r"seed[-_=]?(\d+)|__(\d+)__\d+$|^(\d+)$", re.IGNORECASE
)  # the second is CleanRL's run name


class Point(NamedTuple):
    """One row of a curve, and where it was read."""

    env_step: int
    episode_return: float
    episode_length: float = math.nan
    num_episodes: int = 1
    where: str = ""


PREFERRED = ("npz", "monitor", "csv", "parquet", "events")
"""Kinds of log in order of preference, where one run has several: each episode before running means."""


@dataclass
class LoggedRun:
    """The points of one training run.

    Attributes:
        where: The file or folder, for messages.
        place: The file or folder whose name may tell the seed.
        points: In the order of the log.
        split: ``"train"`` or ``"eval"``; None if the log does not say.
        seed: None if the log does not say.
        env_id: None if the log does not say.
        files: What it was read from.
    """

    where: str
    place: Path
    points: list[Point] = field(default_factory=list)
    split: str | None = None
    seed: int | None = None
    env_id: str | None = None
    files: list[Path] = field(default_factory=list)


def groups(path: Path) -> Iterator[list[Path]]:
    """Give the files of each run: one file, or the event or monitor files of one folder."""
    if path.is_file():
        yield [path]
        return
    walk = os.walk(path, followlinks=True)
    files = sorted(Path(folder, name) for folder, _, names in walk for name in names)
    folders: dict[tuple[Path, str], list[Path]] = {}
    for one in files:
        kind = kind_of(one)
        if kind in ("events", "monitor"):
            folders.setdefault((one.parent, kind), []).append(one)
        elif kind:
            folders[one, kind] = [one]
    yield from folders.values()


def kind_of(path: Path) -> str | None:
    """Return the kind of a log, by the name of its file; None if it is no log."""
    name = path.name
    if name.startswith("events.out.tfevents"):
        return "events"
    if name.endswith("monitor.csv"):
        return "monitor"
    if name.endswith(".npz"):
        return "npz"
    if path.suffix in (".parquet", ".pq"):
        return "parquet"
    return "csv" if path.suffix == ".csv" or name in ("train.log", "eval.log") else None


def read_group(files: list[Path], columns: dict[str, str]) -> list[LoggedRun]:
    """Read the runs of files that belong together, as ``groups`` gives them."""
    kind = kind_of(files[0]) or "csv"
    if unknown := set(columns) - set(NAMES):
        raise UnknownNameError("column", unknown.pop(), NAMES, where="the hub's tables")
    if kind == "events":
        return _read_events(files, columns)
    if kind == "monitor":
        return [_read_monitor(files)]
    if kind == "npz":
        return [_read_evaluations(files[0])]
    return _read_rows(files[0], columns, _parquet_rows if kind == "parquet" else _csv_rows)


Rows = tuple[list[str], Iterable[tuple[str, Mapping[str, Any]]]]
"""Names of the columns, and each row with where it stands."""


def _csv_rows(path: Path) -> Rows:
    with path.open(newline="", encoding="utf-8-sig") as file:
        head = file.readline()
        file.seek(0)
        delimiter = next((sign for sign in ",;\t" if sign in head), ",")
        reader = csv.DictReader(file, delimiter=delimiter)
        names = list(reader.fieldnames or [])
        return names, [(f"{path}, line {reader.line_num}", row) for row in reader]


def _parquet_rows(path: Path) -> Rows:
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise HubError(f"{path} is not a Parquet file: {error}") from None
    return table.column_names, ((f"{path}, row {i}", row) for i, row in enumerate(table.to_pylist(), 1))


def _read_rows(path: Path, columns: dict[str, str], rows_of: Any) -> list[LoggedRun]:
    names, rows = rows_of(path)
    if not names:
        raise HubError(f"{path} is empty.")
    if series := _wandb_series(names):
        return _read_wandb(path, names, list(rows), series, columns)
    found = {key: _find(names, key, columns, path) for key in NAMES}
    for key in ("env_step", "episode_return"):
        if found[key] is None:
            raise HubError(
                f"{path} has no column for {key}; it has {', '.join(names)}. "
                f'Name it: columns={{"{key}": "…"}}, or --column {key}=….'
            )
    runs: dict[Any, LoggedRun] = {}
    for where, row in rows:
        values = {key: row[name] for key, name in found.items() if name is not None}
        seed = _integer(values["seed"], where, str(found["seed"])) if "seed" in values else None
        split = values.get("split") or {"train.log": "train", "eval.log": "eval"}.get(path.name)
        run = runs.setdefault((seed, split), LoggedRun(str(path), path, [], split, seed))
        _same_environment(run, values.get("env_id"), where)
        length = values.get("episode_length")
        run.points.append(
            Point(
                _integer(values["env_step"], where, str(found["env_step"])),
                _number_of(values["episode_return"], where, str(found["episode_return"])),
                math.nan
                if length in (None, "")
                else _number_of(length, where, str(found["episode_length"]), nan=True),
                where=where,
            )
        )
    if not runs:
        raise HubError(f"{path} has column names and no rows.")
    return list(runs.values())


def _find(names: Sequence[str], key: str, columns: Mapping[str, str], where: object) -> str | None:
    """Return the name of a column in a file: the one that the caller says, else one that is known."""
    if key in columns:
        if columns[key] not in names:
            raise UnknownNameError("column", columns[key], names, where=str(where))
        return columns[key]
    lower = {name.lower(): name for name in reversed(names)}
    return next((lower[name] for name in NAMES[key] if name in lower), None)


def _wandb_series(names: Sequence[str]) -> list[str]:
    """Return the columns ``run - metric`` of a file that Weights & Biases exported."""
    return [name for name in names if " - " in name and not name.endswith(("__MIN", "__MAX"))]


def _read_wandb(
    path: Path, names: list[str], rows: list[Any], series: list[str], columns: dict[str, str]
) -> list[LoggedRun]:
    metrics = {name.rsplit(" - ", 1)[1] for name in series}
    metric = columns.get("episode_return")
    known = [name for name in NAMES["episode_return"] if name in {one.lower() for one in metrics}]
    if metric is None:
        if len(metrics) > 1 and not known:
            raise HubError(
                f"{path} has several metrics: {', '.join(sorted(metrics))}. "
                'Name the return: columns={"episode_return": "…"}, or --column episode_return=….'
            )
        metric = next(one for one in metrics if not known or one.lower() == known[0])
    step = _find([name for name in names if name not in series], "env_step", columns, path)
    if step is None:
        raise HubError(f"{path} has no column of steps; it has {', '.join(names)}.")
    split = "train" if metric.lower() in _TRAIN_TAGS else "eval"
    runs = []
    for name in (one for one in series if one.rsplit(" - ", 1)[1] == metric):
        run_name = name.rsplit(" - ", 1)[0]
        points = [
            Point(_integer(row[step], where, step), _number_of(row[name], where, name), where=where)
            for where, row in rows
            if row[name] not in (None, "")
        ]
        runs.append(LoggedRun(f"{path}, {run_name}", path, points, split, _seed_of(run_name)))
    return runs


def _read_monitor(files: list[Path]) -> LoggedRun:
    """Read the episodes of all environments of one run, in the order of their ends."""
    folder = files[0].parent
    run, episodes = LoggedRun(str(folder if len(files) > 1 else files[0]), folder, split="train"), []
    for path in files:
        with path.open(newline="", encoding="utf-8") as file:
            first = file.readline()
            try:
                header = json.loads(first.removeprefix("#"))
                start = float(header["t_start"])
            except (ValueError, KeyError, TypeError):
                raise HubError(
                    f"{path}, line 1: expected stable-baselines3's JSON header, found {first[:60]!r}."
                ) from None
            _same_environment(run, header.get("env_id"), f"{path}, line 1")
            reader = csv.DictReader(file)
            if missing := {"r", "l", "t"} - set(reader.fieldnames or []):
                raise HubError(f"{path}, line 2: the columns {', '.join(sorted(missing))} are missing.")
            for row in reader:
                where = f"{path}, line {reader.line_num + 1}"
                episodes.append((
                    start + _number_of(row["t"], where, "t"),
                    _integer(row["l"], where, "l"), _number_of(row["r"], where, "r"), where,
                ))  # fmt: skip
    env_step = 0
    for _, length, episode_return, where in sorted(episodes, key=lambda one: one[0]):
        env_step += length
        run.points.append(Point(env_step, episode_return, length, where=where))
    return run


def _read_evaluations(path: Path) -> LoggedRun:
    """Read what stable-baselines3's EvalCallback writes."""
    try:
        with np.load(path, allow_pickle=False) as content:
            steps, results, ep_lengths = (content[name] for name in ("timesteps", "results", "ep_lengths"))
    except (ValueError, OSError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise HubError(
            f"{path} is not an evaluations.npz of stable-baselines3 (timesteps, results, ep_lengths): {error}"
        ) from None
    points = [
        Point(int(step), float(np.mean(one)), float(np.mean(length)), len(one), f"{path}, evaluation {i}")
        for i, (step, one, length) in enumerate(zip(steps, results, ep_lengths, strict=True), 1)
    ]
    return LoggedRun(str(path), path, points, "eval")


def _read_events(files: list[Path], columns: dict[str, str]) -> list[LoggedRun]:
    """Read the scalars of TensorBoard's event files in one folder."""
    with requires_extra("Reading TensorBoard's event files needs"):
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    folder = files[0].parent
    reader = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    reader.Reload()
    tags = reader.Tags()["scalars"]
    if "episode_return" in columns:
        chosen = {"eval": _find(tags, "episode_return", columns, folder)}
    else:
        lower = {tag.lower(): tag for tag in tags}
        chosen = {
            split: next((lower[name] for name in names if name in lower), None)
            for split, names in (("train", _TRAIN_TAGS), ("eval", _EVAL_TAGS))
        }
    runs = []
    for split, tag in chosen.items():
        if tag is not None:
            events = reader.Scalars(tag)
            points = _mean_of_each_step(
                Point(event.step, event.value, where=f"{folder}, {tag}, step {event.step}")
                for event in events
            )
            runs.append(LoggedRun(str(folder), folder, points, split))
    if not runs:
        raise HubError(
            f"{folder} has no tag of episode returns; it has {', '.join(tags) or 'none'}. "
            'Name it: columns={"episode_return": "…"}, or --column episode_return=….'
        )
    return runs


def _mean_of_each_step(points: Iterable[Point]) -> list[Point]:
    """Average the points of the same step: parallel environments that end together log one each."""
    by_step: dict[int, list[Point]] = {}
    for point in points:
        by_step.setdefault(point.env_step, []).append(point)
    return [
        Point(step, float(np.mean([one.episode_return for one in same])), math.nan, len(same), same[-1].where)
        for step, same in sorted(by_step.items())
    ]


def _integer(text: Any, where: str, column: str) -> int:
    number = _number_of(text, where, column)
    if number != int(number) or number < 0:
        raise HubError(f"{where}: {column} is {text!r}; expected a whole number of 0 or more.")
    return int(number)


def _number_of(text: Any, where: str, column: str, *, nan: bool = False) -> float:
    try:
        number = float(text)
    except (TypeError, ValueError):
        raise HubError(f"{where}: {column} is {text!r}; expected a number.") from None
    if not math.isfinite(number) and not (nan and math.isnan(number)):
        raise HubError(f"{where}: {column} is {text!r}; NaN and infinite values cannot be compared.")
    return number


def _same_environment(run: LoggedRun, env_id: Any, where: str) -> None:
    if env_id in (None, "", "None"):
        return
    if run.env_id not in (None, env_id):
        raise HubError(f"{where}: the environment is {env_id!r}, but the rows before are of {run.env_id!r}.")
    run.env_id = str(env_id)


def _seed_of(name: str) -> int | None:
    found = _SEED.search(name)
    return next(int(group) for group in found.groups() if group) if found else None


def seed_of_path(path: Path, root: Path) -> int | None:
    """Return the seed in the name of a file or folder, or of the nearest folder above it, up to ``root``."""
    names = [path.stem if path.is_file() else path.name]
    if path != root:
        names += [folder.name for folder in path.parents if folder.is_relative_to(root)]
    return next((seed for seed in map(_seed_of, names) if seed is not None), None)
