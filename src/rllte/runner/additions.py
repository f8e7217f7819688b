"""Add runs to runs.yaml while a batch trains them, and keep the entries of cells that were finished."""

import io
import json
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from rllte.errors import HubError, UnknownNameError
from rllte.files import write_bytes
from rllte.names import Cell, Run
from rllte.recipes.project import RELEASE, Project
from rllte.runner.recorded import collected
from rllte.runner.tasks import Wanted, Work

_ADDED, _ASIDE = "scratch/added.json", "scratch/aside"


@dataclass(frozen=True)
class Lines:
    """Entries to add to runs.yaml, for runs that it does not list yet.

    Attributes:
        runs: The runs to add, in the order in which they are to be trained.
        envs: The settings of each cell that has no entry under ``envs:`` yet.
    """

    runs: list[Run] = field(default_factory=list)
    envs: dict[Cell, dict[str, Any]] = field(default_factory=dict)

    @property
    def cells(self) -> list[Cell]:
        """Return the cells of the runs, each once, in the order of their first run."""
        return list(dict.fromkeys(run.cell for run in self.runs))

    def of(self, cells: set[Cell]) -> "Lines":
        """Return the entries of the given cells only."""
        return Lines(
            [run for run in self.runs if run.cell in cells],
            {cell: settings for cell, settings in self.envs.items() if cell in cells},
        )

    def in_order(self, works: list[Work]) -> list[Work]:
        """Return the work in order: first that of other cells, then that of these cells in their order."""
        place = {cell: i for i, cell in enumerate(self.cells)}
        return sorted(works, key=lambda work: place.get(work.cell, -1))


def lines_to_add(project: Project, wanted: Wanted, *, planned: bool, release: bool) -> Lines:
    """Return the entries for runs that are requested and that runs.yaml does not list.

    The cells of the release come first. Planned cells follow, without those of the release.
    """
    first = release_lines(project, wanted) if release else Lines()
    then = planned_lines(project, wanted) if planned else Lines()
    then = then.of(set(then.cells) - set(first.cells))
    return Lines(first.runs + then.runs, first.envs | then.envs)


def planned_lines(project: Project, wanted: Wanted) -> Lines:
    """Return the entries of the support list's cells that have no run yet, at the paper scale.

    A cell is trained on a GPU if the ``resources`` of its pipeline have one.
    """
    runs = []
    for benchmark, agent in project.pipelines():
        support = project.support(benchmark)
        listed = {run.cell for run in project.runs(benchmark, agent)}
        for env_id in support.env_ids:
            cell = Cell(benchmark, agent, env_id)
            runs += [Run(cell, seed) for seed in range(support.num_seeds) if cell not in listed]
    runs = [run for run in runs if wanted(run)]
    cells = dict.fromkeys(run.cell for run in runs)
    return Lines(runs, {cell: _settings(project, cell, "paper") for cell in cells})


def release_lines(project: Project, wanted: Wanted) -> Lines:
    """Return the entries for runs that ``release.yaml`` names and runs.yaml does not list.

    The runs are in the order of ``release.yaml``.

    Raises:
        UnknownNameError: A cell is not in the support list.
        HubError: There is no ``release.yaml``, one of its rows is invalid, or a row has another budget than
            the cell's available runs.
    """
    runs: list[Run] = []
    envs: dict[Cell, dict[str, Any]] = {}
    for i, row in enumerate(project.release()):
        cell = Cell.parse(row.cell)
        known = project.support(cell.benchmark).env_ids
        if cell.env_id not in known:
            raise UnknownNameError("env_id", cell.env_id, known, where=f"{RELEASE}: cells.{i}")
        line = project.line(cell)
        if line is None:
            envs[cell] = _settings(project, cell, "published") | {"num_train_steps": row.num_train_steps}
        elif line.num_train_steps != row.num_train_steps:
            raise HubError(
                f"{RELEASE}: cells.{i} gives {cell} {row.num_train_steps:,} env steps; its available runs "
                f"have {line.num_train_steps:,}. Write that number, or change it in runs.yaml, too; then "
                "all runs of the cell are trained again."
            )
        listed = project.runs(cell.benchmark, cell.agent)
        some = [Run(cell, seed) for seed in range(row.num_seeds)]
        runs += [run for run in some if run not in listed and wanted(run)]
    return Lines(runs, envs).of({run.cell for run in runs})


def _settings(project: Project, cell: Cell, scale: str) -> dict[str, Any]:
    """Return the settings of a cell's entry under ``envs:``.

    The budget is always that of the paper scale. ``scale`` chooses the hyper-parameters.
    """
    hyperparameters = project.own_hyperparameters(cell, scale)
    return {
        "num_train_steps": project.support(cell.benchmark).budget(cell),
        **({"scale": scale} if scale != "published" else {}),
        **({"hyperparameters": hyperparameters} if hyperparameters else {}),
        **({"device": "cuda"} if project.resources(cell.benchmark, cell.agent).num_gpus else {}),
    }


def add_lines(project: Project, lines: Lines) -> None:
    """Write entries into runs.yaml, and restore the files of their runs that ``remove_lines`` set aside."""
    content = {"runs": [str(run) for run in lines.runs], "cells": [str(cell) for cell in lines.envs]}
    write_bytes(project.root / _ADDED, json.dumps(content).encode())
    for names, some in _by_pipeline(lines):
        listed = project.listed(*names)
        envs = {**listed.envs, **{cell.env_id: line for cell, line in some.envs.items()}}
        runs = {run.key: {"env_id": run.cell.env_id, "seed": run.seed} for run in some.runs}
        project.write_listed(*names, replace(listed, envs=envs, runs={**listed.runs, **runs}))
    for folder in _folders(lines):
        _move(project.root / _ASIDE / folder, project.root / folder)


def remove_lines(project: Project, lines: Lines) -> None:
    """Remove entries from runs.yaml, and set the files of their runs aside.

    All other entries that ``add_lines`` wrote become permanent. The files must go because DVC's stages depend
    on whole folders: a file that no stage makes would make the stages of its folder stale.
    """
    for names, some in _by_pipeline(lines):
        listed = project.listed(*names)
        cells, runs = {cell.env_id for cell in some.envs}, {run.key for run in some.runs}
        project.write_listed(
            *names,
            replace(
                listed,
                envs={key: line for key, line in listed.envs.items() if key not in cells},
                runs={key: line for key, line in listed.runs.items() if key not in runs},
            ),
        )
    for folder in _folders(lines):
        _move(project.root / folder, project.root / _ASIDE / folder)
    (project.root / _ADDED).unlink(missing_ok=True)


def take_back(project: Project) -> None:
    """Remove the entries that a killed batch added, except for cells whose runs are all recorded."""
    if not (project.root / _ADDED).exists():
        return
    content = json.loads((project.root / _ADDED).read_text(encoding="utf-8"))
    added = Lines(
        [Run.parse(text) for text in content["runs"]], {Cell.parse(c): {} for c in content["cells"]}
    )
    done = {cell for cell in added.cells if set(added.of({cell}).runs) <= set(_recorded(project, cell))}
    remove_lines(project, added.of(set(added.cells) - done))


def _by_pipeline(lines: Lines) -> Iterable[tuple[tuple[str, str], Lines]]:
    for names in dict.fromkeys((cell.benchmark, cell.agent) for cell in lines.cells):
        yield names, lines.of({cell for cell in lines.cells if (cell.benchmark, cell.agent) == names})


def _recorded(project: Project, cell: Cell) -> list[Run]:
    try:
        return collected(project, cell.benchmark, cell.agent).get(cell, [])
    except HubError:  # the cell's tables are not here, or differ from the recorded ones
        return []


def _folders(lines: Lines) -> list[str]:
    files = [run.path(kind) for run in lines.runs for kind in ("curves", "train", "model")]
    files += [cell.path("curves") for cell in lines.envs]
    return [str(Path(file).parent) for file in files]


def _move(source: Path, target: Path) -> None:
    """Move a file, or all files of a folder, but never replace a file that exists."""
    if source.is_dir():
        for path in source.iterdir():
            _move(path, target / path.name)
        with suppress(OSError):  # a file stayed because its target exists
            source.rmdir()
    elif source.exists() and not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, target)


def list_extras(project: Project) -> None:
    """Add the demonstrations and videos of available cells that ``release.yaml`` names to runs.yaml.

    Raises:
        UnknownNameError: A level does not exist.
        HubError: A row of ``release.yaml`` is not valid.
    """
    rows, filmed = project.release_datasets(), project.release_videos()
    for names in project.pipelines():
        listed = project.listed(*names)
        datasets, videos = dict(listed.datasets), dict(listed.videos)
        for cell in collected(project, *names) if rows or filmed else ():
            if any(fnmatchcase(str(cell), pattern) for pattern in filmed):
                videos.setdefault(cell.env_id, {})
            for row in rows:
                if fnmatchcase(str(cell), row.cells):
                    for level in row.levels:
                        datasets.setdefault(f"{cell.env_id}/{level}", {"env_id": cell.env_id, "level": level})
        if (datasets, videos) != (listed.datasets, listed.videos):
            project.write_listed(*names, replace(listed, datasets=datasets, videos=videos))


def list_tables(project: Project) -> None:
    """Add the agents with collected cells to ``tables`` in params.yaml.

    DVC then makes one file for each of them, with all its tables.
    """
    path = project.root / "params.yaml"
    yaml = YAML()
    content = yaml.load(path.read_text(encoding="utf-8"))
    listed = set(content["tables"] or [])
    found = {"/".join(names) for names in project.pipelines() if collected(project, *names)}
    if found - listed:
        content["tables"] = sorted(listed | found)
        yaml.indent(sequence=4, offset=2)
        stream = io.StringIO()
        yaml.dump(content, stream)
        write_bytes(path, stream.getvalue().encode())
