"""Build catalogue.json from the outputs that DVC has recorded, and the README's support table from it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rllte import tables
from rllte.errors import HubError
from rllte.files import md5, read_pulled, sha256, write_bytes
from rllte.hub.demonstrations import Demonstrations
from rllte.hub.statistics import mean_interval
from rllte.hub.store.catalogue import FILE
from rllte.names import DEMONSTRATIONS, KINDS, VIDEO, Cell, Run, tables_path
from rllte.publish import results
from rllte.recipes.project import Project
from rllte.recipes.schema import Support
from rllte.recipes.spec import Spec
from rllte.runner.recorded import collected, read_output, read_recorded, recorded_outputs

CATALOGUE_VERSION = 2
"""The version of the catalogue's format. Version 1 (release 0.1.0) says published instead of available."""

TIDY_TABLES = {"curves": "tables/curves.parquet", "scores": "tables/scores.parquet"}
"""Files in git with the curves and the scores of all available cells, a row for each point or episode."""

TABLE_BEGIN, TABLE_END = "<!-- support table: begin -->", "<!-- support table: end -->"


def build_catalogue(root: Path) -> None:
    """Write catalogue.json, the page of results, the support table in README.md, and the tidy tables.

    Args:
        root: The folder of the checkout.

    Raises:
        MissingArtifactError: An artifact of an available cell is not in the checkout.
        HubError: A file differs from its hash in dvc.lock, or was made with settings other than those of the
            checkout.
    """
    cells: list[dict[str, Any]] = []
    artifacts: list[dict[str, Any]] = []
    pipelines: dict[str, dict[str, Any]] = {}
    project = Project(root)
    for benchmark, agent in project.pipelines():
        support, collected_runs = project.support(benchmark), dict[Cell, list[Run]]()
        if (root / f"pipelines/{benchmark}/{agent}/dvc.yaml").exists():
            pipelines[f"{benchmark}/{agent}"] = _settings(project, benchmark, agent)
            collected_runs = collected(project, benchmark, agent)
        locked = recorded_outputs(root, benchmark, agent)
        for env_id in support.env_ids:
            cell = Cell(benchmark, agent, env_id)
            runs = collected_runs.get(cell, [])
            artifacts += [_artifact(root, owner, kind, locked) for owner, kind in _files(cell, runs)]
            cells.append(_available(project, cell, runs) if runs else _planned(cell, support))
        artifacts += _bundle(root, benchmark, agent) + _datasets(project, benchmark, agent, locked)
    content = {"format": CATALOGUE_VERSION, "cells": cells, "artifacts": artifacts, "pipelines": pipelines}
    files = {
        FILE: _one_row_a_line(content).encode(),
        results.FILE: results.results_page(root, cells).encode(),
        "README.md": _readme(root, cells).encode(),
        **{path: _tidy_table(root, cells, kind) for kind, path in TIDY_TABLES.items()},
    }
    for path, data in files.items():  # write only after all were made without an error
        write_bytes(root / path, data)


def _tidy_table(root: Path, cells: list[dict[str, Any]], kind: str) -> bytes:
    """Return the curves or scores of all available cells as one Parquet file."""
    schema = {"curves": tables.CURVES, "scores": tables.SCORES}[kind]
    available = [
        Cell(row["benchmark"], row["agent"], row["env_id"]) for row in cells if row["status"] == "available"
    ]
    by_cell = {
        cell: tables.read_parquet((root / cell.path(kind)).read_bytes(), schema, cell.path(kind))
        for cell in available
    }
    return tables.to_parquet(tables.tidy(by_cell, schema))


def _files(cell: Cell, runs: list[Run]) -> list[tuple[Cell | Run, str]]:
    if not runs:
        return []
    return [(cell, "curves"), (cell, "scores")] + [(run, kind) for run in runs for kind in KINDS]


def _settings(project: Project, benchmark: str, agent: str) -> dict[str, Any]:
    own = project.agent(benchmark, agent)
    return {
        "version": own.version,
        "source": own.source,
        "env": project.env_options(benchmark, agent),
        "train": project.train_settings(benchmark, agent),
        "evaluation": project.evaluation_settings(benchmark, agent),
        "hyperparameters": own.hyperparameters,
        "by_env": own.by_env,
        "paper": own.paper,
    }


def _artifact(root: Path, owner: Cell | Run, kind: str, locked: dict[str, str]) -> dict[str, Any]:
    path, cell = owner.path(kind), owner.cell if isinstance(owner, Run) else owner
    data = read_recorded(root, owner, kind, locked)
    row = {**_file_facts(path, data, kind), **_names(cell)}
    if isinstance(owner, Run):
        row["seed"] = owner.seed
        if kind == "policy":
            row |= _machine(root, owner)
        if kind == "scores":
            returns = _returns(root, owner)
            row["mean"], row["interval"] = _summary(returns, returns)
    return row


def _machine(root: Path, run: Run) -> dict[str, Any]:
    """Return the machine that trained a run."""
    cost = json.loads(read_pulled(root, run.path("train")))
    return {key: cost[key] for key in ("cpu", "gpu", "num_threads") if key in cost}


def _bundle(root: Path, benchmark: str, agent: str) -> list[dict[str, Any]]:
    path = tables_path(benchmark, agent)
    if not (root / path).exists():
        return []
    facts = _file_facts(path, (root / path).read_bytes(), "tables")
    return [{**facts, "benchmark": benchmark, "agent": agent}]


def _datasets(project: Project, benchmark: str, agent: str, locked: dict[str, str]) -> list[dict[str, Any]]:
    """Return a row for each of an agent's demonstrations and videos that dvc.lock records."""
    rows = []
    for cell in project.videos(benchmark, agent):
        path = cell.path(VIDEO)
        if path in locked:
            data = read_output(project.root, path, cell, locked)
            rows.append({**_file_facts(path, data, VIDEO), **_names(cell)})
    for dataset in project.datasets(benchmark, agent):
        if dataset.path not in locked:
            continue
        data = read_output(project.root, dataset.path, dataset.cell, locked)
        demonstrations = Demonstrations(data, dataset.path)
        by_model = {"policy_seed": demonstrations.metadata["seed"]} if dataset.level != "random" else {}
        rows.append(
            {
                **_file_facts(dataset.path, data, DEMONSTRATIONS),
                **_names(dataset.cell),
                "level": dataset.level,
                **by_model,
                "num_episodes": len(demonstrations),
                "num_steps": int(demonstrations.lengths.sum()),
                "mean": round(float(demonstrations.returns.mean()), 4),
            }
        )
    return rows


def _file_facts(path: str, data: bytes, kind: str) -> dict[str, Any]:
    return {"path": path, "md5": md5(data), "sha256": sha256(data), "size": len(data), "kind": kind}


def _available(project: Project, cell: Cell, runs: list[Run]) -> dict[str, Any]:
    root, spec = project.root, project.spec(cell)
    notes = project.agent(cell.benchmark, cell.agent).notes
    _check_made_with(root, cell, spec)
    returns = np.stack([_returns(root, run) for run in runs])
    mean, interval = _summary(returns, returns.mean(axis=1))
    return {
        **_names(cell),
        "status": "available",
        "scale": spec.scale,
        "num_train_steps": spec.num_train_steps,
        "num_seeds": len(runs),
        "seeds": [run.seed for run in runs],
        "num_episodes": returns.shape[1],
        "policy_mode": "deterministic" if spec.evaluation.deterministic else "sampled",
        "version": spec.version,
        "spec": spec.hash,
        "mean": mean,
        "interval": interval if len(runs) > 1 else None,  # one seed gives no interval over seeds
        **({"note": notes[cell.env_id]} if cell.env_id in notes else {}),
    }


def _check_made_with(root: Path, cell: Cell, spec: Spec) -> None:
    path = cell.path("scores")
    made = tables.read_metadata((root / path).read_bytes(), path)
    if made.get("spec") != spec.hash:
        raise HubError(
            f"{path} was made with settings {made.get('spec')} ({made.get('num_train_steps')} env steps); "
            f"the checkout has settings {spec.hash} ({spec.num_train_steps}). Run: rllte-hub run {cell}"
        )


def _planned(cell: Cell, support: Support) -> dict[str, Any]:
    return {
        **_names(cell),
        "status": "planned",
        "scale": "paper",
        "num_train_steps": support.budget(cell),
        "num_seeds": support.num_seeds,
    }


def _names(cell: Cell) -> dict[str, Any]:
    return {"benchmark": cell.benchmark, "agent": cell.agent, "env_id": cell.env_id}


def _returns(root: Path, run: Run) -> npt.NDArray[np.float64]:
    path = run.path("scores")
    return tables.read_eval_scores((root / path).read_bytes(), path)[1].astype(np.float64)


def _summary(values: npt.NDArray[np.float64], samples: npt.NDArray[np.float64]) -> tuple[float, list[float]]:
    low, high = mean_interval(samples)
    return round(float(values.mean()), 4), [round(float(low), 4), round(float(high), 4)]


def _one_row_a_line(content: dict[str, Any]) -> str:
    """Return JSON with one line for each row of a list or entry of a dict, so that git diffs are readable."""
    lines = []
    for key, value in content.items():
        if isinstance(value, list):
            rows = ",\n".join("  " + json.dumps(row) for row in value)
            text = f"[\n{rows}\n ]"
        elif isinstance(value, dict):
            rows = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in value.items())
            text = f"{{\n{rows}\n }}"
        else:
            text = json.dumps(value)
        lines.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def support_table(cells: list[dict[str, Any]]) -> str:
    """Return a Markdown table with one row for each agent of a benchmark: available and planned cells."""
    lines = [
        "| benchmark | agent | available | seeds | env steps | planned environments |",
        "|:--|:--|:--|--:|--:|--:|",
    ]
    for benchmark, agent in dict.fromkeys((row["benchmark"], row["agent"]) for row in cells):
        rows = [row for row in cells if (row["benchmark"], row["agent"]) == (benchmark, agent)]
        available = [row for row in rows if row["status"] == "available"]
        names = ", ".join(f"`{row['env_id']}`" for row in available) or "–"
        seeds = _span([len(row["seeds"]) for row in available])
        steps = _span([row["num_train_steps"] for row in available])
        lines.append(
            f"| {benchmark} | {agent} | {names} | {seeds} | {steps} | {len(rows) - len(available)} |"
        )
    return "\n".join(lines)


def _span(numbers: list[int]) -> str:
    if not numbers:
        return "–"
    low, high = min(numbers), max(numbers)
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def _readme(root: Path, cells: list[dict[str, Any]]) -> str:
    before, begin, rest = (root / "README.md").read_text(encoding="utf-8").partition(TABLE_BEGIN)
    _, end, after = rest.partition(TABLE_END)
    if not begin or not end:
        raise HubError(f"README.md has no place for the support table. Add: {TABLE_BEGIN} … {TABLE_END}")
    return f"{before}{begin}\n{support_table(cells)}\n{end}{after}"
