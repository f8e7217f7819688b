"""Make a hub of any size with made-up numbers: it has the layout of a real one, but nothing was trained."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from s3_server import BUCKET, S3Server

from rllte import tables
from rllte.files import md5, sha256
from rllte.hub.store import table_archive
from rllte.names import Cell, Run, tables_path

ROOT = Path(__file__).parents[1]
NUM_POINTS, NUM_EPISODES = 60, 100


def curves_table(seeds: range, rng: np.random.Generator) -> pa.Table:
    rows = [
        (seed, split, step) for seed in seeds for split in ("train", "eval") for step in range(NUM_POINTS)
    ]
    seed, split, step = zip(*rows, strict=True)
    returns = rng.normal(size=(2, len(rows))).astype(np.float32)
    columns = [seed, split, [10_000 * (one + 1) for one in step], *returns, [10] * len(rows)]
    return pa.table([pa.array(column) for column in columns], names=tables.CURVES.names).cast(tables.CURVES)


def scores_table(seeds: range, rng: np.random.Generator) -> pa.Table:
    seed = np.repeat(seeds, NUM_EPISODES)
    episode = np.tile(np.arange(NUM_EPISODES), len(seeds))
    returns = rng.normal(size=len(seed)).astype(np.float32)
    columns = [seed, ["eval"] * len(seed), episode, returns, episode + 1]
    return pa.table([pa.array(column) for column in columns], names=tables.SCORES.names).cast(tables.SCORES)


def cell_files(cell: Cell, num_seeds: int, model_bytes: int) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Yield the catalogue's row and the bytes of each file of a cell."""
    rng = np.random.default_rng(abs(hash(cell.env_id)) % 2**32)
    seeds = range(num_seeds)
    names = {"benchmark": cell.benchmark, "agent": cell.agent, "env_id": cell.env_id}
    for kind, table in (("curves", curves_table(seeds, rng)), ("scores", scores_table(seeds, rng))):
        yield {"path": cell.path(kind), "kind": kind, **names}, tables.to_parquet(table)
    for seed in seeds:
        row = {"path": Run(cell, seed).path("model"), "kind": "model", **names, "seed": seed}
        yield row, rng.bytes(model_bytes)


def make_hub(root: Path, cells: list[Cell], num_seeds: int, model_bytes: int, server: S3Server) -> None:
    """Write and commit a checkout whose artifacts are only in the server's bucket."""
    objects: dict[str, bytes] = {}

    def listed(row: dict[str, Any], data: bytes) -> dict[str, Any]:
        digest = md5(data)
        objects[f"{BUCKET}/hub/files/md5/{digest[:2]}/{digest[2:]}"] = data
        return {**row, "md5": digest, "sha256": sha256(data), "size": len(data)}

    artifacts, packed = [], []
    for cell in cells:
        for row, data in cell_files(cell, num_seeds, model_bytes):
            artifacts.append(listed(row, data))
            packed += [(row["path"], data)] if row["kind"] != "model" else []
    names = {"benchmark": cells[0].benchmark, "agent": cells[0].agent}
    path = tables_path(**names)
    artifacts.append(listed({"path": path, "kind": "tables", **names}, table_archive.write(packed)))
    content = {"format": 2, "cells": [cell_row(cell, num_seeds) for cell in cells], "artifacts": artifacts}
    write_checkout(root, {**content, "pipelines": {}}, server)
    server.filesystem().pipe(objects)


def cell_row(cell: Cell, num_seeds: int) -> dict[str, Any]:
    return {
        "benchmark": cell.benchmark, "agent": cell.agent, "env_id": cell.env_id, "status": "available",
        "scale": "published", "num_train_steps": 1_000_000, "num_seeds": num_seeds,
        "seeds": list(range(num_seeds)), "num_episodes": NUM_EPISODES, "version": 1,
        "spec": "0", "mean": 0.0, "interval": [0.0, 0.0],
    }  # fmt: skip


def write_checkout(root: Path, content: dict[str, Any], server: S3Server) -> None:
    """Write and commit catalogue, settings and one file that DVC tracks, the first table."""
    (root / ".dvc").mkdir(parents=True)
    server.add_remotes(root)
    settings = (root / ".dvc/config.local").read_text()
    (root / ".dvc/config.local").unlink()
    (root / ".dvc/config").write_text(f"[core]\n    remote = s3\n    analytics = false\n{settings}")
    (root / "catalogue.json").write_text(json.dumps(content))
    first = content["artifacts"][0]
    facts = {"md5": first["md5"], "size": first["size"], "hash": "md5", "path": Path(first["path"]).name}
    out = "outs:\n- " + "\n  ".join(f"{key}: {fact}" for key, fact in facts.items()) + "\n"
    (root / first["path"]).parent.mkdir(parents=True)
    (root / f"{first['path']}.dvc").write_text(out)
    shutil.copytree(ROOT / "pipelines", root / "pipelines", ignore=shutil.ignore_patterns("dvc.*"))
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=root, check=True)
    commit(root, "synthetic")


def commit(root: Path, message: str) -> None:
    identity = ["-c", "user.name=bench", "-c", "user.email=bench@example.org"]
    for command in (["add", "-A"], ["commit", "-qm", message]):
        subprocess.run(["git", *identity, *command], cwd=root, check=True)
