"""Pack the curves and scores of all cells of an agent into one file, so that one request fetches them."""

from pathlib import Path

from rllte.files import write_bytes
from rllte.hub.store import table_archive
from rllte.names import agent_name, benchmark_name, tables_path
from rllte.recipes.project import Project
from rllte.runner.recorded import collected, read_recorded, recorded_outputs


def pack_tables(root: Path, pipeline: str) -> str:
    """Write the curves and scores of all cells of an agent into one zip, and return a line that sums it up.

    Args:
        root: The folder of the checkout.
        pipeline: The pipeline, ``benchmark/agent``.

    Raises:
        MissingArtifactError: The curves or scores of a cell are not in the checkout.
        UnknownNameError: There is no such benchmark.
        HubError: There is no such pipeline, or a file differs from its hash in dvc.lock.
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
