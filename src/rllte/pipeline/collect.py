"""Collecting: the curves and scores of all seeds of a cell in one table each, and all cells in one file."""

from pathlib import Path

from rllte import tables
from rllte.errors import HubError, MissingArtifactError
from rllte.files import md5, write_bytes
from rllte.hub import bundle
from rllte.names import Cell, Run, agent_name, benchmark_name, tables_path
from rllte.pipeline.lock import read_lock
from rllte.pipeline.params import read_runs
from rllte.pipeline.plan import folder_md5
from rllte.pipeline.spec import read_spec


def collect(root: Path, cell: Cell) -> str:
    """Write the curves and scores of a cell from those of its runs, in the order of their seeds.

    Returns:
        One line for people.

    Raises:
        MissingArtifactError: A run has no curves or scores here.
        HubError: There is none, or one that params.yaml does not list (DVC's stage depends on the whole
            folder), or they have different env steps or numbers of episodes.
    """
    runs = [run for run in read_runs(root, cell.benchmark, cell.agent) if run.cell == cell]
    _check_listed(root, cell, runs)
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


def _check_listed(root: Path, cell: Cell, runs: list[Run]) -> None:
    place = f"under runs: of pipelines/{cell.benchmark}/{cell.agent}/params.yaml"
    if not runs:
        raise HubError(f"{cell} has no run {place}. Add a line there.")
    listed = {f"seed-{run.seed}" for run in runs}
    for path in sorted((root / f"data/runs/{cell}").glob("*")):
        if path.name not in listed:
            raise HubError(
                f"data/runs/{cell}/{path.name} is not listed {place}. List it there, or move it away."
            )


def collected(root: Path, benchmark: str, agent: str) -> dict[Cell, list[Run]]:
    """Return the cells whose tables dvc.lock records, each with the runs that are in them.

    A run that was added since, or that is trained for the first time, is not there until its cell is
    collected again.

    Raises:
        MissingArtifactError: A table is not here.
        HubError: It is not what dvc.lock says, or is older than its runs.
    """
    runs, found = read_runs(root, benchmark, agent), dict[Cell, list[Run]]()
    lock = read_lock(root / f"pipelines/{benchmark}/{agent}/dvc.lock")
    outs = {path: digest for entry in lock.values() for path, digest in entry["outs"].items()}
    for cell in dict.fromkeys(run.cell for run in runs):
        if entry := lock.get(f"collect@{cell.env_id}"):
            seeds = _seeds(root, cell, outs)
            found[cell] = [run for run in runs if run.cell == cell and run.seed in seeds]
            folder = f"data/runs/{cell}"
            paths = [path for run in found[cell] for path in outs if path.startswith(f"data/runs/{run}/")]
            rows = [{"md5": outs[path], "relpath": path.removeprefix(f"{folder}/")} for path in paths]
            if folder_md5(rows) != entry["deps"][folder]:
                raise HubError(
                    f"{cell}: runs were made anew and its tables were not. Run: rllte-hub run {cell}"
                )
    return found


def recorded_outputs(root: Path, benchmark: str, agent: str) -> dict[str, str]:
    """Return the md5 of each output that the lock of a pipeline records, by path."""
    lock = read_lock(root / f"pipelines/{benchmark}/{agent}/dvc.lock")
    return {path: digest for entry in lock.values() for path, digest in entry["outs"].items()}


def read_recorded(root: Path, owner: Cell | Run, kind: str, outs: dict[str, str]) -> bytes:
    """Return a file of a cell or run, of which ``outs`` must have the md5.

    Raises:
        MissingArtifactError: It is not here.
        HubError: It is not what dvc.lock says.
    """
    path, cell = owner.path(kind), owner.cell if isinstance(owner, Run) else owner
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


def pack_tables(root: Path, pipeline: str) -> str:
    """Write the curves and scores of all cells of ``benchmark/agent`` into one file; return a line.

    Raises:
        MissingArtifactError: A cell has no curves or scores here.
        HubError: They are not what dvc.lock says, or ``pipeline`` has another form.
    """
    benchmark, _, agent = pipeline.partition("/")
    benchmark, agent = benchmark_name(benchmark), agent_name(agent)
    cells, outs = collected(root, benchmark, agent), recorded_outputs(root, benchmark, agent)
    files = [
        (cell.path(kind), read_recorded(root, cell, kind, outs))
        for cell in cells
        for kind in ("curves", "scores")
    ]
    write_bytes(root / tables_path(benchmark, agent), bundle.write(files))
    return f"{benchmark}/{agent}: {len(files)} tables of {len(cells)} cells"
