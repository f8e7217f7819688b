"""The lines of planned cells in params.yaml: written while they are trained, and kept when they are done."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from ruamel.yaml import YAML

from rllte.errors import HubError
from rllte.files import write_bytes
from rllte.names import BENCHMARKS, Cell, Run
from rllte.pipeline.collect import collected
from rllte.pipeline.params import read_agent, read_resources, read_runs, read_support
from rllte.pipeline.work import Wanted


def planned_runs(root: Path, wanted: Wanted) -> list[Run]:
    """Return the runs that the support list plans at the paper scale, of cells without any run yet."""
    runs = []
    for benchmark in BENCHMARKS:
        support = read_support(root, benchmark)
        for agent in support.agents:
            listed = {run.cell for run in read_runs(root, benchmark, agent)}
            for env_id in support.env_ids:
                cell = Cell(benchmark, agent, env_id)
                runs += [Run(cell, seed) for seed in range(support.num_seeds) if cell not in listed]
    return [run for run in runs if wanted(run)]


def add_lines(root: Path, runs: Iterable[Run]) -> None:
    """Write the lines of runs and of their cells, at the paper scale, into params.yaml.

    Cells are trained on a GPU if their pipeline's ``resources`` have one.
    """
    _edit(root, runs, _with_lines)


def remove_lines(root: Path, runs: Iterable[Run]) -> None:
    """Take the lines of runs and of their cells out of params.yaml."""
    _edit(root, runs, _without_lines)


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


def _edit(root: Path, runs: Iterable[Run], change: object) -> None:
    by_file: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        by_file[run.cell.benchmark, run.cell.agent].append(run)
    for (benchmark, agent), group in by_file.items():
        path = root / f"pipelines/{benchmark}/{agent}/params.yaml"
        text = path.read_text()
        cells = dict.fromkeys(run.cell for run in group)
        for key, lines in (
            ("envs", [_env_line(root, cell) for cell in cells]),
            ("runs", [f"  {run.cell.env_id}/seed-{run.seed}: {_run_line(run)}\n" for run in group]),
        ):
            text = change(text, key, lines, path)  # type: ignore[operator]
        write_bytes(path, text.encode())


def _env_line(root: Path, cell: Cell) -> str:
    paper = read_agent(root, cell.benchmark, cell.agent).paper
    steps = read_support(root, cell.benchmark).budget(cell)
    settings = ", ".join(f"{key}: {_number(value)}" for key, value in paper.items())
    own = f", hyperparameters: {{{settings}}}" if settings else ""
    own += ", device: cuda" if read_resources(root, cell.benchmark, cell.agent).num_gpus else ""
    return f"  {cell.env_id}: {{num_train_steps: {steps}, scale: paper{own}}}\n"


def _run_line(run: Run) -> str:
    return f"{{env_id: {run.cell.env_id}, seed: {run.seed}}}"


def _number(value: object) -> str:
    """Return a setting as YAML that every reader takes for the same kind: 1e-05 would be text to some."""
    text = json.dumps(value)
    return re.sub(r"^(-?\d+)(e[-+]?\d+)$", r"\1.0\2", text)


def _block(text: str, key: str, path: Path) -> re.Match[str]:
    found = re.search(
        rf"^{key}:(?P<empty> \{{\}})?(?P<note>[^\n{{]*)\n(?P<lines>(?:  .*\n)*)", text, re.MULTILINE
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
    kept = "".join(line for line in block["lines"].splitlines(keepends=True) if line not in lines)
    empty = "" if kept else " {}"
    return f"{text[: block.start()]}{key}:{empty}{block['note']}\n{kept}{text[block.end() :]}"
