"""The lines of cells to come in params.yaml: written while they are trained, and kept when they are done."""

import json
import re
import shutil
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from rllte.errors import HubError, UnknownNameError
from rllte.files import write_bytes
from rllte.names import BENCHMARKS, Cell, Run
from rllte.recipes.params import (
    RELEASE,
    own_hyperparameters,
    published_env,
    read_agent,
    read_release,
    read_resources,
    read_runs,
    read_support,
)
from rllte.runner.recorded import collected
from rllte.runner.tasks import Wanted, Work

_ADDED, _ASIDE = "scratch/added.json", "scratch/aside"


@dataclass(frozen=True)
class Lines:
    """Lines for runs that params.yaml does not list.

    Attributes:
        runs: One line each, in the order in which they are to be trained.
        envs: What the line of each cell says that has none yet.
    """

    runs: list[Run] = field(default_factory=list)
    envs: dict[Cell, dict[str, Any]] = field(default_factory=dict)

    @property
    def cells(self) -> list[Cell]:
        """Return the cells of the runs, in the order of their first."""
        return list(dict.fromkeys(run.cell for run in self.runs))

    def of(self, cells: set[Cell]) -> "Lines":
        """Return those of some cells."""
        return Lines(
            [run for run in self.runs if run.cell in cells],
            {cell: settings for cell, settings in self.envs.items() if cell in cells},
        )

    def in_order(self, works: list[Work]) -> list[Work]:
        """Return the work of other cells, then that of these in their order."""
        place = {cell: i for i, cell in enumerate(self.cells)}
        return sorted(works, key=lambda work: place.get(work.cell, -1))


def lines_to_add(root: Path, wanted: Wanted, *, planned: bool, release: bool) -> Lines:
    """Return the lines of what is asked for and not listed: those of the release, then planned ones."""
    first = release_lines(root, wanted) if release else Lines()
    then = planned_lines(root, wanted) if planned else Lines()
    then = then.of(set(then.cells) - set(first.cells))
    return Lines(first.runs + then.runs, first.envs | then.envs)


def planned_lines(root: Path, wanted: Wanted) -> Lines:
    """Return the lines of what the support list plans at the paper scale, of cells without any run yet.

    Cells are trained on a GPU if their pipeline's ``resources`` have one.
    """
    runs = []
    for benchmark in BENCHMARKS:
        support = read_support(root, benchmark)
        for agent in support.agents:
            listed = {run.cell for run in read_runs(root, benchmark, agent)}
            for env_id in support.env_ids:
                cell = Cell(benchmark, agent, env_id)
                runs += [Run(cell, seed) for seed in range(support.num_seeds) if cell not in listed]
    runs = [run for run in runs if wanted(run)]
    return Lines(
        runs, {cell: _paper_settings(root, cell) for cell in dict.fromkeys(run.cell for run in runs)}
    )


def release_lines(root: Path, wanted: Wanted) -> Lines:
    """Return the lines of what ``release.yaml`` names and params.yaml does not list, in its order.

    Raises:
        UnknownNameError: A cell is not in the support list.
        HubError: There is no such file, a row is not valid, or it has another budget than the cell's
            published runs.
    """
    runs: list[Run] = []
    envs: dict[Cell, dict[str, Any]] = {}
    for i, row in enumerate(read_release(root)):
        cell = Cell.parse(row.cell)
        known = read_support(root, cell.benchmark).env_ids
        if cell.env_id not in known:
            raise UnknownNameError("env_id", cell.env_id, known, where=f"{RELEASE}: cells.{i}")
        published = published_env(read_agent(root, cell.benchmark, cell.agent), cell)
        if published is None:
            envs[cell] = {"num_train_steps": row.num_train_steps} | _settings(root, cell, "published")
        elif published.num_train_steps != row.num_train_steps:
            raise HubError(
                f"{RELEASE}: cells.{i} gives {cell} {row.num_train_steps:,} env steps; its published runs "
                f"have {published.num_train_steps:,}. Write that, or change both lines: then all its runs "
                "are trained anew."
            )
        listed = read_runs(root, cell.benchmark, cell.agent)
        some = [Run(cell, seed) for seed in range(row.num_seeds)]
        runs += [run for run in some if run not in listed and wanted(run)]
    return Lines(runs, envs).of({run.cell for run in runs})


def add_lines(root: Path, lines: Lines) -> None:
    """Write lines into params.yaml, and bring back what ``remove_lines`` has put aside of their runs."""
    content = {"runs": [str(run) for run in lines.runs], "cells": [str(cell) for cell in lines.envs]}
    write_bytes(root / _ADDED, json.dumps(content).encode())
    _edit(root, lines, _with_lines)
    for folder in _folders(lines):
        _move(root / _ASIDE / folder, root / folder)


def remove_lines(root: Path, lines: Lines) -> None:
    """Take lines out of params.yaml, and put the files of their runs aside; the others are there to stay.

    DVC's stages depend on whole folders: a file there that no stage makes would make them stale.
    """
    _edit(root, lines, _without_lines)
    for folder in _folders(lines):
        _move(root / folder, root / _ASIDE / folder)
    (root / _ADDED).unlink(missing_ok=True)


def take_back(root: Path) -> None:
    """Remove the lines that a batch added which was killed, but those whose stages are recorded."""
    if not (root / _ADDED).exists():
        return
    content = json.loads((root / _ADDED).read_text())
    added = Lines(
        [Run.parse(text) for text in content["runs"]], {Cell.parse(c): {} for c in content["cells"]}
    )
    done = {cell for cell in added.cells if set(added.of({cell}).runs) <= set(_recorded(root, cell))}
    remove_lines(root, added.of(set(added.cells) - done))


def _recorded(root: Path, cell: Cell) -> list[Run]:
    try:
        return collected(root, cell.benchmark, cell.agent).get(cell, [])
    except HubError:  # its tables are not here, or others
        return []


def _folders(lines: Lines) -> list[str]:
    files = [run.path(kind) for run in lines.runs for kind in ("curves", "train", "model")]
    files += [cell.path("curves") for cell in lines.envs]
    return [str(Path(file).parent) for file in files]


def _move(source: Path, target: Path) -> None:
    """Move a file, or the files of a folder, to where they are not yet; nothing is replaced."""
    if source.is_dir():
        for path in source.iterdir():
            _move(path, target / path.name)
        with suppress(OSError):  # something is left
            source.rmdir()
    elif source.exists() and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, target)


def list_tables(root: Path) -> None:
    """Write the agents whose cells are collected into params.yaml, for a file of all their tables."""
    path = root / "params.yaml"
    text = path.read_text()
    agents = [
        f"{benchmark}/{agent}" for benchmark in BENCHMARKS for agent in read_support(root, benchmark).agents
    ]
    found = [name for name in agents if collected(root, *name.split("/"))]
    head, listed = text.partition("tables:")[0], YAML(typ="safe").load(text)["tables"] or []
    if set(found) - set(listed):
        lines = "".join(f"  - {name}\n" for name in sorted({*listed, *found}))
        write_bytes(path, f"{head}tables:\n{lines}".encode())


def _edit(root: Path, lines: Lines, change: Callable[[str, str, list[str], Path], str]) -> None:
    by_file: dict[Path, list[Cell]] = defaultdict(list)
    for cell in lines.cells:
        by_file[root / f"pipelines/{cell.benchmark}/{cell.agent}/params.yaml"].append(cell)
    for path, cells in by_file.items():
        some = lines.of(set(cells))
        text = change(path.read_text(), "envs", [_env_line(*item) for item in some.envs.items()], path)
        text = change(text, "runs", [_run_line(run) for run in some.runs], path)
        write_bytes(path, text.encode())


def _paper_settings(root: Path, cell: Cell) -> dict[str, Any]:
    settings = {"num_train_steps": read_support(root, cell.benchmark).budget(cell), "scale": "paper"}
    return settings | _settings(root, cell, "paper")


def _settings(root: Path, cell: Cell, scale: str) -> dict[str, Any]:
    values = own_hyperparameters(read_agent(root, cell.benchmark, cell.agent), cell, scale)
    return ({"hyperparameters": values} if values else {}) | _device(root, cell)


def _device(root: Path, cell: Cell) -> dict[str, Any]:
    return {"device": "cuda"} if read_resources(root, cell.benchmark, cell.agent).num_gpus else {}


def _env_line(cell: Cell, settings: dict[str, Any]) -> str:
    return f"  {cell.env_id}: {_flow(settings)}\n"


def _run_line(run: Run) -> str:
    return f"  {run.cell.env_id}/seed-{run.seed}: {_flow({'env_id': run.cell.env_id, 'seed': run.seed})}\n"


def _flow(value: object) -> str:
    """Return plain values as YAML in one line that every reader takes for the same kind."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str):
        return value
    return re.sub(r"^(-?\d+)(e[-+]?\d+)$", r"\1.0\2", json.dumps(value))  # 1e-05 would be text to some


def _block(text: str, key: str, path: Path) -> re.Match[str]:
    found = re.search(
        rf"^{key}:(?P<empty> \{{\}})?(?P<note>[^\n{{]*)\n(?P<lines>(?:  .*\n|\n+(?=  ))*)", text, re.MULTILINE
    )
    if found is None:
        raise HubError(f"{path} has no block {key!r} of one line for each; write: {key}: {{}}")
    return found


def _with_lines(text: str, key: str, lines: list[str], path: Path) -> str:
    block = _block(text, key, path)
    kept = "".join(block["lines"])
    added = "".join(line for line in lines if line not in kept)
    return f"{text[: block.start()]}{key}:{block['note']}\n{kept}{added}{text[block.end() :]}"


def _without_lines(text: str, key: str, lines: list[str], path: Path) -> str:
    block = _block(text, key, path)
    names = {line.partition(":")[0] for line in lines}
    kept = "".join(
        line for line in block["lines"].splitlines(keepends=True) if line.partition(":")[0] not in names
    )
    empty = "" if kept else " {}"
    return f"{text[: block.start()]}{key}:{empty}{block['note']}\n{kept}{text[block.end() :]}"
