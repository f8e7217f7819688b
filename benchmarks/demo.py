"""Show everything in a few minutes: pull, list, load, play, plot, and retrain one run to the same hashes."""

import json
import subprocess
import tempfile
import time
from pathlib import Path

from rllte.common.utils import get_episode_statistics
from rllte.env import make_envpool_minigrid_env
from rllte.files import md5
from rllte.hub import MiniGrid
from rllte.hub.store.catalogue import read_catalogue
from rllte.names import Cell, Run

ROOT = Path(__file__).parents[1]
RUN = Run(Cell("minigrid", "ppo", "Empty-5x5-v0"), 0)


def step(title: str, *command: str, cwd: Path = ROOT) -> None:
    print(f"\n── {title}", flush=True)
    if command:
        print(f"$ {' '.join(command)}", flush=True)
        subprocess.run(command, cwd=cwd, check=True)


def load_and_play() -> None:
    step("Load curves, scores and a model in Python, and play ten episodes")
    cell = {"agent": "ppo", "env_id": RUN.cell.env_id}
    curves, scores = MiniGrid().load_curves(**cell), MiniGrid().load_scores(**cell)
    print({split: values.shape for split, values in curves.items()}, scores.shape)
    agent = MiniGrid().load_models(**cell, seed=RUN.seed, device="cpu")
    envs = make_envpool_minigrid_env(env_id=RUN.cell.env_id, num_envs=1, seed=0, device="cpu")
    obs, infos = envs.reset(seed=0)
    returns: list[float] = []
    while len(returns) < 10:
        actions = agent(obs).softmax(dim=1).argmax(dim=1)
        obs, _, _, _, infos = envs.step(actions)
        returns += get_episode_statistics(infos)[0]
    print(f"mean episode return, most probable actions: {sum(returns) / len(returns):.3f}")
    print(f"published mean of this seed, drawn actions: {scores[RUN.seed].mean():.3f}")


def machine(root: Path) -> str:
    """Return the processor and the PyTorch version with which the run of a checkout was trained."""
    facts = json.loads((root / RUN.path("train")).read_text())
    return f"{facts['cpu']} with PyTorch {facts['torch']}"


def retrain() -> tuple[bool, str, str]:
    """Train and evaluate one run again in a clone, and compare its files with the catalogue's.

    Returns:
        Whether all files have the catalogue's hashes, and the machines of the published run and of the new
        one.
    """
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        step("Train one run again in a clone", "git", "clone", "-q", str(ROOT), str(clone))
        start = time.perf_counter()
        for stage in ("train", "evaluate"):
            address = f"{RUN.cell.stage_file}:{stage}@{RUN.cell.env_id}/seed-{RUN.seed}"
            step(f"{stage} {RUN}", "dvc", "repro", "-q", "-f", "-s", address, cwd=clone)
        print(f"{time.perf_counter() - start:.0f} s")
        catalogue, same = read_catalogue(ROOT), True
        for kind in ("curves", "policy", "scores"):
            published = catalogue.artifact(RUN, kind).md5
            again = md5((clone / RUN.path(kind)).read_bytes())
            same &= again == published
            print(f"{kind:7} {published} {'=' if again == published else '≠'} {again}")
        return same, machine(ROOT), machine(clone)


def main() -> None:
    step("Pull every artifact from the embedded remote", "dvc", "pull")
    step("What there is", "rllte-hub", "list")
    load_and_play()
    cells = ["minigrid/ppo/Empty-5x5-v0", "minigrid/ppo/DoorKey-5x5-v0"]
    step("Plot learning curves", "rllte-hub", "plot", *cells, "-o", "demo.png")
    same, there, here = retrain()
    if same:
        print("\nThe retrained run has the hashes of the catalogue.")
    elif there != here:
        print(f"\nThe hashes differ, as they may: {there} and {here} (docs/explanation/determinism.md).")
    else:
        raise SystemExit(f"The hashes differ from the catalogue's, on the same kind of machine: {here}.")


if __name__ == "__main__":
    main()
