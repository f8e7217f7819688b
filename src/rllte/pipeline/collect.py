"""Collecting: the curves and scores of all seeds of a cell in one table each, and all cells in one file."""

from pathlib import Path

from rllte import tables
from rllte.errors import HubError, MissingArtifactError
from rllte.files import write_bytes
from rllte.hub import bundle
from rllte.names import Cell, agent_name, benchmark_name, tables_path
from rllte.pipeline.params import read_runs
from rllte.pipeline.spec import read_spec


def collect(root: Path, cell: Cell) -> str:
    """Write the curves and scores of a cell from those of its runs, in the order of their seeds.

    Returns:
        One line for people.

    Raises:
        MissingArtifactError: A run has no curves or scores here.
        HubError: The runs have different env steps or numbers of episodes.
    """
    runs = [run for run in read_runs(root, cell.benchmark, cell.agent) if run.cell == cell]
    spec = read_spec(root, cell)
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
                raise HubError(f"{path} has another {axis} axis than {runs[0].path(kind)}.")
        write_bytes(root / cell.path(kind), tables.to_parquet(tables.concat(parts), metadata))
    return f"{cell}: {len(runs)} seeds"


def pack_tables(root: Path, pipeline: str) -> str:
    """Write the curves and scores of all cells of ``benchmark/agent`` into one file; return a line.

    Raises:
        MissingArtifactError: A cell has no curves or scores here.
        HubError: ``pipeline`` has another form.
    """
    benchmark, _, agent = pipeline.partition("/")
    benchmark, agent = benchmark_name(benchmark), agent_name(agent)
    cells = dict.fromkeys(run.cell for run in read_runs(root, benchmark, agent))
    files = []
    for path in (cell.path(kind) for cell in cells for kind in ("curves", "scores")):
        if not (root / path).exists():
            raise MissingArtifactError(path, f"{path} is not here. Get it with: dvc pull {path}")
        files.append((path, (root / path).read_bytes()))
    write_bytes(root / tables_path(benchmark, agent), bundle.write(files))
    return f"{benchmark}/{agent}: {len(files)} tables of {len(cells)} cells"
