"""Read what the lock of a pipeline records: which cells are collected, and the hash of each output."""

from pathlib import Path
from typing import Any

from rllte import tables
from rllte.errors import HubError, MissingArtifactError
from rllte.files import md5
from rllte.names import Cell, Run
from rllte.recipes.project import Project
from rllte.runner.locks import read_lock
from rllte.runner.staleness import folder_md5


def collected(project: Project, benchmark: str, agent: str) -> dict[Cell, list[Run]]:
    """Return the cells whose tables dvc.lock records, each with the runs that its tables contain.

    A run that was added later, or that is trained for the first time, is left out until its cell is collected
    again.

    Raises:
        MissingArtifactError: A table is not here.
        HubError: A table does not have the md5 of dvc.lock, or is older than its runs.
    """
    runs, found = project.runs(benchmark, agent), dict[Cell, list[Run]]()
    lock = read_lock(project.root / f"pipelines/{benchmark}/{agent}/dvc.lock")
    outs = _outputs(lock)
    for cell in dict.fromkeys(run.cell for run in runs):
        if entry := lock.get(f"collect@{cell.env_id}"):
            seeds = _seeds(project.root, cell, outs)
            found[cell] = [run for run in runs if run.cell == cell and run.seed in seeds]
            folder = f"data/runs/{cell}"
            paths = [path for run in found[cell] for path in outs if path.startswith(f"data/runs/{run}/")]
            rows: list[dict[str, str | None]] = [
                {"md5": outs[path], "relpath": path.removeprefix(f"{folder}/")} for path in paths
            ]
            if folder_md5(rows) != entry["deps"][folder]:
                raise HubError(f"{cell}: its tables are older than its runs. Run: rllte-hub run {cell}")
    return found


def recorded_outputs(root: Path, benchmark: str, agent: str) -> dict[str, str]:
    """Return the md5 of each output that the lock of a pipeline records, by path."""
    return _outputs(read_lock(root / f"pipelines/{benchmark}/{agent}/dvc.lock"))


def _outputs(lock: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {path: digest for entry in lock.values() for path, digest in entry["outs"].items()}


def read_recorded(root: Path, owner: Cell | Run, kind: str, outs: dict[str, str]) -> bytes:
    """Return the content of a file of a cell or run, checked against the recorded md5.

    Args:
        root: The repository.
        owner: The cell or run.
        kind: Kind of the file.
        outs: The recorded md5 of each output, by path.

    Raises:
        MissingArtifactError: The file is not here.
        HubError: The file does not have the md5 of dvc.lock.
    """
    return read_output(root, owner.path(kind), owner.cell if isinstance(owner, Run) else owner, outs)


def read_output(root: Path, path: str, cell: Cell, outs: dict[str, str]) -> bytes:
    """Return the content of an output of a cell's stages, checked against the recorded md5.

    Args:
        root: The repository.
        path: The path of the output.
        cell: The cell.
        outs: The recorded md5 of each output, by path.

    Raises:
        MissingArtifactError: The file is not here.
        HubError: The file does not have the md5 of dvc.lock.
    """
    try:
        data = (root / path).read_bytes()
    except OSError:
        raise MissingArtifactError(path, f"{path} is not in {root}. Get it with: dvc pull {path}") from None
    if outs.get(path) != md5(data):
        raise HubError(
            f"{path} has md5 {md5(data)}; dvc.lock says {outs.get(path)}. Run: dvc repro {cell.stage_file}"
        )
    return data


def _seeds(root: Path, cell: Cell, outs: dict[str, str]) -> set[int]:
    data = read_recorded(root, cell, "scores", outs)
    return set(tables.read_parquet(data, tables.SCORES, cell.path("scores"), ["seed"])["seed"].to_pylist())
