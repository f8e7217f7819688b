"""Measure how long loads take beside the tools that others use, with a real S3 server on this machine.

Each line has our time, the peer's time, their ratio and the limit. Times are medians of runs that alternate.
The machine should do nothing else. It takes about three minutes and needs the extra ``bench``.

    python benchmarks/load.py --json
"""

import hashlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click
import numpy as np
from s3_server import BUCKET, S3Server, s3_server
from synthetic_hub import ROOT, cell_row, commit, make_hub

from rllte.hub import Atari, available
from rllte.hub.benchmark import _read_table
from rllte.hub.store.cache import cache_path, fetch, fetch_all
from rllte.hub.store.source import Source, make_source
from rllte.names import Cell

NUM_ENVS, NUM_SEEDS, MODEL_BYTES = 57, 10, 200_000
CELLS = [Cell("atari", "ppo", f"Game{i:02}-v5") for i in range(NUM_ENVS)]
NAMES = {"agent": "ppo", "env_id": CELLS[0].env_id}


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def beside(ours: Callable[[], object], peer: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Return the median seconds of both functions, which take turns after one warm-up call of each."""
    ours(), peer()
    pairs = [(seconds(ours), seconds(peer)) for _ in range(repeats)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def in_new_process(program: str) -> Callable[[], object]:
    return lambda: subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


def hugging_face_file(folder: Path, name: str, data: bytes) -> Callable[[], str]:
    """Lay out a file as ``hf_hub_download`` caches it, and return a function that finds it offline."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder)}
    from huggingface_hub import hf_hub_download

    base, commit = folder / "hub/models--rllte--scores", "a" * 40
    snapshot = base / "snapshots" / commit
    for path in (snapshot, base / "refs", base / "blobs"):
        path.mkdir(parents=True, exist_ok=True)
    (base / "refs/main").write_text(commit)
    digest = hashlib.sha256(data).hexdigest()
    (base / "blobs" / digest).write_bytes(data)
    (snapshot / name).symlink_to(f"../../blobs/{digest}")
    return lambda: hf_hub_download("rllte/scores", name)


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def warm(folder: Path) -> dict[str, tuple[float, float]]:
    hub = Atari()
    scores, curves = hub.load_scores(**NAMES), np.stack(list(hub.load_curves(**NAMES).values()))
    scores_file = hugging_face_file(folder, "scores.npy", npy(scores))
    curves_file = hugging_face_file(folder, "curves.npy", npy(curves))
    once = _read_table.cache_clear

    def first_scores() -> object:
        once()
        return hub.load_scores(**NAMES)

    return {
        "warm_scores": beside(lambda: hub.load_scores(**NAMES), lambda: np.load(scores_file()), 300),
        "warm_curves": beside(lambda: hub.load_curves(**NAMES), lambda: np.load(curves_file()), 300),
        "first_scores": beside(first_scores, lambda: np.load(scores_file()), 300),
    }


def models(folder: Path) -> tuple[float, float]:
    """Return the seconds of a verified load of a Nature CNN, and of ``torch.jit.load`` with one hash."""
    import torch

    from rllte import torchscript
    from rllte.agent.networks import ActorCritic

    data = torchscript.dump(ActorCritic("nature_cnn", (4, 84, 84), 512, 0, 18).policy.eval(), {})
    (folder / "model.pt").write_bytes(data)
    root = folder / "models"
    row = {"path": "models/atari/ppo/Pong-v5/seed-0/model.pt", "kind": "model", "benchmark": "atari",
           "agent": "ppo", "env_id": "Pong-v5", "seed": 0, "md5": hashlib.md5(data).hexdigest(),
           "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}  # fmt: skip
    path = root / str(row["path"])
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    content = {"cells": [cell_row(Cell("atari", "ppo", "Pong-v5"), 1)], "artifacts": [row], "pipelines": {}}
    (root / "catalogue.json").write_text(json.dumps(content))
    hub = Atari(root)

    def peer() -> object:
        content = (folder / "model.pt").read_bytes()
        hashlib.sha256(content).hexdigest()
        return torch.jit.load(io.BytesIO(content))

    return beside(lambda: hub.load_models("Pong-v5", "ppo"), peer, 30)


def cold(source: Source, server: S3Server) -> tuple[float, float]:
    """Return the seconds of a load from S3 into the cache, and of a plain GET of the same object."""
    filesystem = server.filesystem(anonymous=True)
    artifact = next(one for one in source.catalogue.all_artifacts() if one.kind == "model")
    place = f"{BUCKET}/hub/files/md5/{artifact.md5[:2]}/{artifact.md5[2:]}"

    def ours() -> object:
        cache_path(artifact).unlink(missing_ok=True)
        return fetch(source, artifact)

    return beside(ours, lambda: filesystem.cat_file(place), 30)


def this_hub_on_s3(folder: Path, server: S3Server) -> str:
    """Return the URL of a clone of this repository whose artifacts are in the server's bucket."""
    root = folder / "clone"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(root)], check=True)
    server.add_remotes(root, "real")
    config = (root / ".dvc/config").read_text().replace("remote = hub", "remote = s3")
    (root / ".dvc/config").write_text(config + (root / ".dvc/config.local").read_text())
    (root / ".dvc/config.local").unlink()
    commit(root, "on S3")
    server.filesystem().put(f"{ROOT}/remote/files", f"{BUCKET}/real/", recursive=True)
    return root.as_uri()


def new_process(url: str) -> tuple[float, float]:
    """Return the seconds to load a table from a git URL in a new process: ours and dvc.api's.

    The table is not in the cache, but our catalogue of the revision is, as for any tag, branch or commit that
    was used before.
    """
    commit = make_source(url, "HEAD").commit
    path, names = "data/minigrid/ppo/Empty-5x5-v0/scores.parquet", ("Empty-5x5-v0", "ppo")
    clear = "import os, shutil; shutil.rmtree(os.environ['RLLTE_HUB_CACHE'] + '/md5', ignore_errors=True)\n"
    ours = f"{clear}from rllte.hub import MiniGrid; MiniGrid({url!r}, rev={commit!r}).load_scores(*{names!r})"
    peer = f"import dvc.api; dvc.api.read({path!r}, repo={url!r}, rev={commit!r}, mode='rb')"
    return beside(in_new_process(ours), in_new_process(peer), 5)


def requests(root: Path, server: S3Server, cache: Path) -> int:
    """Return the number of requests to load all scores and curves of the benchmark one by one."""
    os.environ["RLLTE_HUB_CACHE"] = str(cache / "requests")
    before, hub = server.num_requests(), Atari(root)
    for cell in CELLS:
        hub.load_scores(cell.env_id, "ppo")
        hub.load_curves(cell.env_id, "ppo")
    os.environ["RLLTE_HUB_CACHE"] = str(cache)
    return server.num_requests() - before


def many_rows(folder: Path) -> float:
    """Return the seconds of ``available()`` over 20,000 rows."""
    cells = [Cell("atari", "ppo", f"Game{i}-v5") for i in range(20_000)]
    folder.mkdir()
    content = {"cells": [cell_row(cell, 10) for cell in cells], "artifacts": [], "pipelines": {}}
    (folder / "catalogue.json").write_text(json.dumps(content))
    available(repo=folder)
    return statistics.median(seconds(lambda: available(repo=folder)) for _ in range(20))


def pull_all(source: Source, server: S3Server, cache: Path) -> tuple[float, float]:
    """Return the seconds to pull all models, and to GET as many objects into files with a pool of threads."""
    artifacts = [one for one in source.catalogue.all_artifacts() if one.kind == "model"]
    filesystem = server.filesystem(anonymous=True)

    def get(number: int) -> None:
        digest = artifacts[number].md5
        place = f"{BUCKET}/hub/files/md5/{digest[:2]}/{digest[2:]}"
        target = cache / f"plain-{digest}"
        target.write_bytes(filesystem.cat_file(place, start=0, end=2**30))

    def peer() -> None:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(get, range(len(artifacts))))

    def ours() -> None:
        for artifact in artifacts:
            cache_path(artifact).unlink(missing_ok=True)
        fetch_all(source, artifacts)

    return beside(ours, peer, 3)


def line(name: str, ours: str, peer: str, ratio: str, limit: str) -> None:
    print(f"{name:24}{ours:>12}{peer:>12}{ratio:>10}   {limit}", flush=True)


def report(name: str, pair: tuple[float, float], limit: str) -> float:
    ratio = pair[0] / pair[1]
    line(name, f"{1e3 * pair[0]:.3f} ms", f"{1e3 * pair[1]:.3f} ms", f"{ratio:.3f}", limit)
    return round(ratio, 3)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON.")
def main(as_json: bool) -> None:
    """Measure warm loads, cold loads and many loads."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name, s3_server(Path(name) / "s3") as server:
        folder = Path(name)
        cache, root = folder / "cache", folder / "hub"
        os.environ |= {"RLLTE_HUB_CACHE": str(cache), "RLLTE_HUB_REPO": str(root)}
        make_hub(root, CELLS, NUM_SEEDS, MODEL_BYTES, server)
        source = make_source(root)
        line("", "ours", "peer", "ratio", "limit")
        limits = {"warm_scores": "≤ 1.0 × hf_hub_download + np.load, and < 1 ms", "warm_curves": "the same",
                  "first_scores": "as warm_scores, decoded anew each time"}  # fmt: skip
        for name, pair in warm(folder / "hf").items():
            found[name] = report(name, pair, limits[name])
            found[f"{name}_ms"] = round(1e3 * pair[0], 4)
        found["warm_models"] = report("warm_models", models(folder), "≤ 1.1 × torch.jit.load + sha256")
        imports = beside(in_new_process("import rllte.hub"), in_new_process("import huggingface_hub"), 15)
        found["import"] = report("import", imports, "≤ 1.0 × import huggingface_hub, and ≤ 200 ms")
        found["import_ms"] = round(1e3 * imports[0], 1)
        one = cold(source, server)
        found["cold_s3"] = report("cold_s3", one, "≤ 1.3 × a GET by s3fs + 50 ms")
        both = new_process(this_hub_on_s3(folder, server))
        found["cold_over_dvc_api"] = report(
            "cold_over_dvc_api", (one[0], both[1]), "≤ 0.1 × dvc.api.read of a git URL in a new process"
        )
        found["new_process"] = report("new_process", both, "the same, ours in a new process, too")
        found["requests"] = requests(root, server, cache)
        line("requests", str(found["requests"]), str(2 * NUM_ENVS), "", "≤ 60 for 57 × 10 runs")
        found["available_ms"] = round(1e3 * many_rows(folder / "many"), 2)
        line("available", f"{found['available_ms']} ms", "", "", "≤ 50 ms for 20,000 rows")
        found["pull_all"] = report("pull_all", pull_all(source, server, cache), "≤ 1.25 × parallel GETs")
    if as_json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
