"""The catalogue: every artifact with its hashes, and every cell, available or planned."""

import functools
import json
import math
import re
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rllte.errors import HubError, MissingArtifactError, UnknownNameError
from rllte.names import (
    KINDS,
    LEVELS,
    VIDEO,
    Cell,
    Dataset,
    Run,
    agent_name,
    benchmark_name,
    cell_parts,
    env_name,
    tables_path,
)

FILE = "catalogue.json"
_MAX_DIGITS = 18
MAX_BYTES = 2**32
"""The largest size of an artifact that is accepted, in bytes."""

_Kinds = Mapping[str, type | tuple[type, ...]]
_SCALARS = {str, int, float, bool, type(None)}
_ARTIFACT: _Kinds = {
    **dict.fromkeys(("path", "md5", "sha256", "kind", "benchmark", "agent"), str), "size": int
}  # fmt: skip
_CELL: _Kinds = {
    **dict.fromkeys(("benchmark", "agent", "env_id", "status", "scale"), str),
    **dict.fromkeys(("num_train_steps", "num_seeds"), int),
}  # fmt: skip
_AVAILABLE: _Kinds = {
    "seeds": list, "num_episodes": int, "policy_mode": str, "version": int, "spec": str, "mean": (int, float),
    "interval": (list, type(None)),
}  # fmt: skip


@dataclass(frozen=True)
class Artifact:
    """One file of a run, of a cell, or of all cells of an agent, as the catalogue lists it.

    Attributes:
        path: The path in the repository.
        md5: The md5 in hexadecimal.
        sha256: The sha256 in hexadecimal.
        size: The size in bytes.
        kind: The kind of artifact: one of ``rllte.names.KINDS``, ``"demonstrations"``, ``"video"``, or
            ``"tables"`` for a zip of tables.
        benchmark: The benchmark.
        agent: The agent.
        env_id: The environment; None for a zip of tables.
        seed: The seed of a run; None for a file of a cell or of an agent.
        level: The level of demonstrations; None for other kinds.
    """

    path: str
    md5: str
    sha256: str
    size: int
    kind: str
    benchmark: str
    agent: str
    env_id: str | None = None
    seed: int | None = None
    level: str | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9a-f]{32}", self.md5) or not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise HubError(f"{FILE}: {self.path} has a malformed hash: {self.md5}, {self.sha256}.")
        if not 0 <= self.size <= MAX_BYTES:
            raise HubError(
                f"{FILE}: {self.path} has a size of {self.size:,} bytes; the limit is {MAX_BYTES:,}."
            )
        if self.path != self._expected_path():
            raise HubError(f"{FILE}: the {self.kind} of {self.cell_name} cannot have the path {self.path!r}.")

    @property
    def cell_name(self) -> str:
        """``benchmark/agent/env_id``, or ``benchmark/agent`` for a file of all cells of an agent."""
        return "/".join(name for name in (self.benchmark, self.agent, self.env_id) if name is not None)

    def _expected_path(self) -> str:
        if self.env_id is None:
            return tables_path(self.benchmark, self.agent)
        cell = Cell(self.benchmark, self.agent, self.env_id)
        if self.level is not None:
            return Dataset(cell, self.level).path
        return (cell if self.seed is None else Run(cell, self.seed)).path(self.kind)


@dataclass(frozen=True)
class Catalogue:
    """The contents of the repository at one revision.

    Attributes:
        cells: One row for each cell, by the cell's name, with its status (available or planned), scale,
            budget, seeds and scores.
        artifacts: One row for each file, by its path.
        pipelines: The settings of each pipeline, by ``benchmark/agent``.
    """

    cells: dict[str, dict[str, Any]]
    artifacts: dict[str, dict[str, Any]]
    pipelines: dict[str, dict[str, Any]]
    _checked: dict[str, Artifact] = field(default_factory=dict, repr=False)

    def _artifact(self, path: str) -> Artifact:
        if path not in self._checked:
            row = self.artifacts[path]
            of_owner: _Kinds = {"env_id": str, "seed": int, "level": str}
            kinds = {**_ARTIFACT, **{key: kind for key, kind in of_owner.items() if key in row}}
            _check(row, kinds, f"{FILE}: the row of {path}")
            self._checked[path] = Artifact(**{key: row[key] for key in kinds})
        return self._checked[path]

    def cell(self, benchmark: str, agent: str, env_id: str) -> Cell:
        """Return the cell with these names, available or planned.

        Raises:
            UnknownNameError: There is no such benchmark, agent or env_id.
        """
        benchmark = benchmark_name(benchmark)
        names = (benchmark, agent_name(agent), env_name(benchmark, env_id))
        if "/".join(names) in self.cells:
            return Cell(*names)
        rows = [row for row in self.cells.values() if row["benchmark"] == benchmark]
        agents = {row["agent"]: None for row in rows}
        if agent_name(agent) not in agents:
            raise self._unknown_agent(benchmark, agent, agents)
        rows = [row for row in rows if row["agent"] == agent_name(agent)]
        env_ids = {row["env_id"]: None for row in rows}
        raise UnknownNameError("env_id", env_id, env_ids, where=f"benchmark '{benchmark}'")

    def _unknown_agent(self, benchmark: str, agent: str, agents: Iterable[str]) -> UnknownNameError:
        served = {row["benchmark"] for row in self.cells.values() if row["agent"] == agent_name(agent)}
        hint = f"It runs on {', '.join(sorted(served))}; this benchmark has {', '.join(agents)}."
        hint = hint if served else ""
        return UnknownNameError("agent", agent, agents, where=f"benchmark '{benchmark}'", hint=hint)

    def artifact(self, owner: Cell | Run, kind: str) -> Artifact:
        """Return one artifact of an available cell or of one of its runs.

        Args:
            owner: The cell or the run.
            kind: The kind of artifact, one of ``rllte.names.KINDS``.

        Raises:
            MissingArtifactError: The cell is planned, or does not have such a file.
            UnknownNameError: The cell has no such seed.
        """
        cell = owner.cell if isinstance(owner, Run) else owner
        row = self.cells[str(cell)]
        if row["status"] != "available":
            raise MissingArtifactError(str(cell), _planned_message(cell, row))
        if isinstance(owner, Run) and owner.seed not in row["seeds"]:
            raise UnknownNameError("seed", owner.seed, row["seeds"], where=f"{cell}")
        path = owner.path(kind)
        if path not in self.artifacts:
            raise MissingArtifactError(
                path, f"{path} is not in the catalogue. Make it with: dvc repro {cell.stage_file}"
            )
        return self._artifact(path)

    def dataset(self, benchmark: str, env_id: str, level: str, agent: str | None = None) -> Artifact:
        """Return the demonstrations of one level in an environment.

        Args:
            benchmark: The benchmark.
            env_id: The environment.
            level: One of ``rllte.names.LEVELS``.
            agent: The agent whose environments and policies were used. The default is the agent with the
                highest mean score among those that have such demonstrations.

        Raises:
            UnknownNameError: There is no such environment, level or agent.
            MissingArtifactError: The demonstrations are planned.
        """
        if level not in LEVELS:
            raise UnknownNameError("level", level, LEVELS)
        cells = [self.cell(benchmark, agent, env_id)] if agent else self._best_first(benchmark, env_id)
        paths = [Dataset(cell, level).path for cell in cells]
        for path in paths:
            if path in self.artifacts:
                return self._artifact(path)
        raise MissingArtifactError(paths[0], self._no_dataset(cells, level))

    def mean_of(self, cell: Cell, level: str) -> float | None:
        """Return the mean return of a cell's demonstrations at a level; None if there are none."""
        mean = self.artifacts.get(Dataset(cell, level).path, {}).get("mean")
        return float(mean) if isinstance(mean, (int, float)) else None

    def best_cell(self, text: str) -> Cell:
        """Return the cell ``benchmark/agent/env_id``, or the agent's with the highest mean score.

        Args:
            text: The name of a cell, or ``benchmark/env_id``.

        Raises:
            UnknownNameError: There is no such benchmark, agent or env_id.
        """
        benchmark, _, env_id = text.partition("/")
        if "/" in env_id:
            return self.cell(*cell_parts(text))
        return self._best_first(benchmark, env_id)[0]

    def _best_first(self, benchmark: str, env_id: str) -> list[Cell]:
        """Return the cells of an environment, those with the highest mean scores first."""
        rows = self.rows(None, benchmark, None, env_id)
        rows = sorted(rows, key=lambda row: -row.get("mean", -math.inf))
        return [Cell(row["benchmark"], row["agent"], row["env_id"]) for row in rows]

    def _no_dataset(self, cells: list[Cell], level: str) -> str:
        here = [one for one in LEVELS if any(Dataset(cell, one).path in self.artifacts for cell in cells)]
        there = f" There are: {', '.join(here)}." if here else ""
        make = f"Make them yourself with: rllte-hub demonstrate {cells[0]} --level {level}"
        return (
            f"The demonstrations {Dataset(cells[0], level)} are planned but not available yet.{there} {make}"
        )

    def all_artifacts(self) -> list[Artifact]:
        """Return all artifacts that the catalogue lists."""
        return [self._artifact(path) for path in self.artifacts]

    def bundle(self, benchmark: str, agent: str) -> Artifact | None:
        """Return the zip with the tables of all cells of an agent; None if there is no such file."""
        path = tables_path(benchmark, agent)
        return self._artifact(path) if path in self.artifacts else None

    def tables(self, benchmark: str, agent: str) -> list[Artifact]:
        """Return the curves and scores of all available cells of an agent."""
        return [
            self.artifact(Cell(benchmark, agent, row["env_id"]), kind)
            for row in self.rows("available", benchmark, agent)
            for kind in ("curves", "scores")
        ]

    def files(self, owner: Cell | Run, kinds: Iterable[str]) -> list[Artifact]:
        """Return the files of these kinds of a run, or of a cell.

        A cell has curves and scores of its own and, if they were made, demonstrations and a video. Its other
        files are those of its runs.

        Raises:
            MissingArtifactError: The cell is planned.
            UnknownNameError: The cell has no such seed.
        """
        if isinstance(owner, Run):
            return [self.artifact(owner, kind) for kind in kinds if kind in KINDS]
        self.artifact(owner, "scores")
        runs = [Run(owner, seed) for seed in self.cells[str(owner)]["seeds"]]
        found = []
        for kind in kinds:
            if kind not in KINDS:
                levels = [Dataset(owner, level).path for level in LEVELS]
                paths = [owner.path(VIDEO)] if kind == VIDEO else levels
                found += [self._artifact(path) for path in paths if path in self.artifacts]
            else:
                owners = [owner] if kind in ("curves", "scores") else runs
                found += [self.artifact(one, kind) for one in owners]
        return found

    def rows(
        self,
        status: str | None = None,
        benchmark: str | None = None,
        agent: str | None = None,
        env_id: str | None = None,
    ) -> list[dict[str, Any]]:
        """Return the rows of the cells that match all given filters.

        Args:
            status: ``"available"`` or ``"planned"``.
            benchmark: The benchmark.
            agent: The agent.
            env_id: The environment.

        Raises:
            UnknownNameError: No cell, available or planned, has one of these names.
        """
        found = list(self.cells.values())
        if benchmark is not None:
            found = [row for row in found if row["benchmark"] == benchmark_name(benchmark)]
        for kind, name in (("agent", agent and agent_name(agent)), ("env_id", env_id)):
            if name is None:
                continue
            known = dict.fromkeys(row[kind] for row in found)
            found = [row for row in found if row[kind] == env_name(row["benchmark"], name)]
            if not found and kind == "agent" and benchmark is not None:
                raise self._unknown_agent(benchmark_name(benchmark), name, known)
            if not found:
                raise UnknownNameError(kind, name, known)
        return [row for row in found if status in (None, row["status"])]


def read_catalogue(root: Path) -> Catalogue:
    """Read the catalogue in a folder; each version of the file is parsed only once.

    Raises:
        HubError: The folder has no catalogue, or the file is not a valid catalogue.
    """
    path = root / FILE
    try:
        stat = path.stat()
    except OSError:
        raise HubError(
            f"{root} has no {FILE}, so it is not a checkout of RLLTE Hub. Set RLLTE_HUB_REPO to one."
        ) from None
    return _parse(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=8)
def _parse(path: Path, _mtime_ns: int, _size: int) -> Catalogue:
    try:
        text = path.read_bytes()
        content = json.loads(text, parse_int=_int, parse_float=_float, parse_constant=_float)
        if re.search(rb"\\u[dD][89a-fA-F]", text):  # half of a pair of surrogates cannot be printed
            json.dumps(content, ensure_ascii=False).encode()
        cells = {_checked_name(row, f"{path}: cells.{i}"): row for i, row in enumerate(content["cells"])}
        for i, row in enumerate(content["artifacts"]):
            if not _is_plain(row):
                _check(row, _ARTIFACT, f"{path}: artifacts.{i}")
        artifacts = {row["path"]: row for row in content["artifacts"]}
        pipelines = dict(content["pipelines"])
        _check_levels(pipelines)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise HubError(f"{path} is not a catalogue ({problem}). Make it with: dvc repro catalogue") from None
    return Catalogue(cells, artifacts, pipelines)


def _int(text: str) -> int:
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"{text[:_MAX_DIGITS]}… is too large")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:_MAX_DIGITS]} is not a finite number")
    return value


def _is_plain(row: Any) -> bool:
    """Return whether the row of an artifact passes ``_check``, as nearly all do. This is much faster."""
    return (
        type(row) is dict
        and _is_flat(row)
        and all(type(row.get(key)) is kind for key, kind in _ARTIFACT.items())
    )


def _is_flat(row: dict[str, Any]) -> bool:
    """Return whether all values are scalars or lists of scalars."""
    kinds = set(map(type, row.values())) - _SCALARS
    if kinds != {list}:
        return not kinds
    return all(set(map(type, value)) <= _SCALARS for value in row.values() if type(value) is list)


def _check_levels(values: Any, levels: int = 10) -> None:
    if isinstance(values, (dict, list)):
        if not levels:
            raise ValueError("pipelines have too many levels")
        for value in values.values() if isinstance(values, dict) else values:
            _check_levels(value, levels - 1)


def _checked_name(row: dict[str, Any], where: str) -> str:
    """Check the row of a cell, which may come from an untrusted repository, and return the cell's name."""
    _check(row, _CELL, where)
    name = str(Cell(row["benchmark"], row["agent"], row["env_id"]))
    if row["status"] == "published":  # the word of release 0.1.0
        row["status"] = "available"
    if row["status"] not in ("available", "planned"):
        raise HubError(f"{where} ({name}): status is {row['status']!r}; expected 'available' or 'planned'.")
    planned = row["status"] == "planned"
    _check(
        row, {key: kind for key, kind in _AVAILABLE.items() if not planned or key in row}, f"{where} ({name})"
    )
    _check_numbers(row.get("seeds", []), int, f"{where} ({name}): seeds")
    _check_numbers(row.get("interval") or [0, 0], (int, float), f"{where} ({name}): interval", 2)
    return name


def _check(row: object, kinds: _Kinds, where: str) -> None:
    if not isinstance(row, dict):
        raise HubError(f"{where} is {reprlib.repr(row)}; expected keys and values.")
    if not _is_flat(row):
        raise HubError(f"{where} is {reprlib.repr(row)}; expected values and lists of values only.")
    for key, kind in kinds.items():
        if key not in row:
            raise HubError(f"{where}: {key} is missing.")
        if not isinstance(row[key], kind) or isinstance(row[key], bool):
            names = " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
            raise HubError(f"{where}: {key} is {reprlib.repr(row[key])}; expected {names}.")


def _check_numbers(
    values: list[Any], kind: type | tuple[type, ...], where: str, count: int | None = None
) -> None:
    if not all(isinstance(value, kind) and not isinstance(value, bool) for value in values) or (
        len(values) != (count or len(values))
    ):
        raise HubError(f"{where} is {reprlib.repr(values)}; expected {count or 'a list of'} numbers.")


def _planned_message(cell: Cell, row: dict[str, Any]) -> str:
    budget = f"{row['num_train_steps']:,} env steps × {row['num_seeds']} seeds"
    how = f"Train it yourself with: rllte-hub train {cell}/seed-0"
    return f"{cell} is planned ({budget}) but not available yet. {how}"
