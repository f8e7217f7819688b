"""The curves and scores of all cells of an agent in one file, for one request."""

from pathlib import Path

from rllte.files import write_bytes
from rllte.hub.store import table_archive
from rllte.names import agent_name, benchmark_name, tables_path
from rllte.recipes.project import Project
from rllte.runner.recorded import collected, read_recorded, recorded_outputs


def pack_tables(root: Path, pipeline: str) -> str:
    """Write the curves and scores of all cells of ``benchmark/agent`` into one file; return a line.

    Raises:
        MissingArtifactError: A cell has no curves or scores here.
        HubError: They are not what dvc.lock says, or ``pipeline`` has another form.
    """
    benchmark, _, agent = pipeline.partition("/")
    benchmark, agent = benchmark_name(benchmark), agent_name(agent)
    cells, outs = collected(Project(root), benchmark, agent), recorded_outputs(root, benchmark, agent)
    files = [
        (cell.path(kind), read_recorded(root, cell, kind, outs))
        for cell in cells
        for kind in ("curves", "scores")
    ]
    write_bytes(root / tables_path(benchmark, agent), table_archive.write(files))
    return f"{benchmark}/{agent}: {len(files)} tables of {len(cells)} cells"
