"""The planner beside `dvc status` and `dvc repro`, on a synthetic repository of thousands of stages."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
from ruamel.yaml import YAML

from rllte.pipeline.plan import Plan, read_stages

ROOT = Path(__file__).parents[1]


def make_recipes(root: Path, num_runs: int) -> None:
    """Write a repository in which so many runs are listed and none is trained."""
    for name in ("dvc.yaml", ".dvcignore", ".gitignore", "README.md"):
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "references", root / "references")
    shutil.copytree(ROOT / "pipelines", root / "pipelines", ignore=shutil.ignore_patterns("dvc.lock"))
    yaml = YAML()
    for path in sorted(root.glob("pipelines/*/*/params.yaml")):
        params = yaml.load(path.read_text())
        env_ids = yaml.load((path.parent.parent / "params.yaml").read_text())["support"]["env_ids"]
        chosen = env_ids[:20] if path.parent.match("atari/ppo") else []
        params["envs"] = {env_id: {"num_train_steps": 1000} for env_id in chosen}
        params["runs"] = {
            f"{env_id}/seed-{seed}": {"env_id": env_id, "seed": seed}
            for env_id in chosen
            for seed in range(num_runs // 20)
        }
        with path.open("w") as file:
            yaml.dump(params, file)
    for command in (
        ["git", "init", "-q"],
        ["dvc", "init", "-q"],
        ["dvc", "config", "core.analytics", "false"],
    ):
        subprocess.run(command, cwd=root, check=True)


def make_repository(root: Path, num_runs: int) -> None:
    """Write a repository whose runs have small files of random content, all recorded by DVC."""
    make_recipes(root, num_runs)
    for stage in read_stages(root, "atari/ppo"):
        for out in stage.outs:
            (root / out).parent.mkdir(parents=True, exist_ok=True)
            (root / out).write_text(f"{stage.name} {out}")
    subprocess.run(["dvc", "commit", "-q", "-f", "pipelines/atari/ppo/dvc.yaml"], cwd=root, check=True)


def seconds(*command: str, cwd: Path) -> float:
    """Return how long a command takes."""
    start = time.perf_counter()
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


@click.command(context_settings={"show_default": True})
@click.option("--num-runs", default=1000, help="Runs of three stages each; a multiple of 20.")
@click.option("--repeats", default=3, help="The median counts.")
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON.")
def main(num_runs: int, repeats: int, as_json: bool) -> None:
    """Time the three side by side, each in a new process."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_repository(root, num_runs)
        stale = Plan(root).reasons
        print(f"{len(read_stages(root, 'atari/ppo')):,} stages, {len(stale)} stale")
        planner = "from pathlib import Path; from rllte.pipeline.plan import Plan; Plan(Path('.'))"
        pipeline = "pipelines/atari/ppo/dvc.yaml"
        commands = {
            "planner_s": (sys.executable, "-c", planner),
            "dvc_status_s": ("dvc", "status", "-q", pipeline),
            "dvc_repro_s": ("dvc", "repro", "-q", pipeline),
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(repeats):
            for name, command in commands.items():
                times[name].append(seconds(*command, cwd=root))
        medians = {name: round(sorted(values)[len(values) // 2], 2) for name, values in times.items()}
    for name, value in medians.items():
        print(f"{name:14} {value:6.2f}")
    if as_json:
        print(json.dumps(medians))


if __name__ == "__main__":
    main()
