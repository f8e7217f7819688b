"""Collect a cell: put the curves of all its seeds into one table, and their scores into another."""

from pathlib import Path

from rllte import tables
from rllte.errors import HubError, MissingArtifactError
from rllte.files import write_bytes
from rllte.names import Cell, Run
from rllte.recipes.project import Project


def collect(root: Path, cell: Cell) -> str:
    """Write the tables of a cell: the curves and the scores of its runs, in the order of their seeds.

    Returns:
        One line that sums up the result.

    Raises:
        MissingArtifactError: The curves or scores of a run are not here.
        HubError: runs.yaml lists no run of the cell, or the cell's folder contains a run that it does not
            list (DVC's stage depends on the whole folder), or the runs have different env steps or numbers of
            episodes.
    """
    runs = [run for run in Project(root).runs(cell.benchmark, cell.agent) if run.cell == cell]
    _check_listed(root, cell, runs)
    spec = Project(root).spec(cell)
    metadata = {**spec.describe(runs[0]), "run": str(cell), "seeds": " ".join(str(run.seed) for run in runs)}
    for kind, schema, axis in (("curves", tables.CURVES, "env_step"), ("scores", tables.SCORES, "episode")):
        parts = []
        for run in runs:
            path = run.path(kind)
            if not (root / path).exists():
                raise MissingArtifactError(
                    path, f"{path} is not here. Make it with: dvc repro {cell.stage_file}"
                )
            parts.append(tables.read_parquet((root / path).read_bytes(), schema, path))
            if not parts[-1].select(["split", axis]).equals(parts[0].select(["split", axis])):
                raise HubError(
                    f"{path} has other values of {axis} than {runs[0].path(kind)}. Make both with the same "
                    "settings."
                )
        write_bytes(root / cell.path(kind), tables.to_parquet(tables.concat(parts), metadata))
    return f"{cell}: {len(runs)} seeds"


def _check_listed(root: Path, cell: Cell, runs: list[Run]) -> None:
    place = f"under runs: of pipelines/{cell.benchmark}/{cell.agent}/runs.yaml"
    if not runs:
        raise HubError(f"{cell} has no run {place}. Add a line there.")
    listed = {f"seed-{run.seed}" for run in runs}
    for path in sorted((root / f"data/runs/{cell}").glob("*")):
        if path.name not in listed:
            raise HubError(
                f"data/runs/{cell}/{path.name} is not listed {place}. List it there, or move it away."
            )
