"""Time our planner, `dvc status` and `dvc repro` on a synthetic repository of thousands of stages."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
from dvc.stage.serialize import to_single_stage_lockfile
from ruamel.yaml import YAML

from rllte.recipes.project import runs_text
from rllte.runner.dvc_records import merge_entries, open_repository
from rllte.runner.locks import entry_text
from rllte.runner.staleness import Plan

ROOT = Path(__file__).parents[1]


def make_recipes(root: Path, num_runs: int, pipelines: str = "*/*") -> None:
    """Write a repository in which the given pipelines list ``num_runs`` untrained runs in total."""
    for name in ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore", "README.md"):
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / "references", root / "references")
    shutil.copytree(ROOT / "pipelines", root / "pipelines", ignore=shutil.ignore_patterns("dvc.lock"))
    yaml, paths = YAML(), sorted(root.glob(f"pipelines/{pipelines}/params.yaml"))
    for path in root.glob("pipelines/*/*/params.yaml"):
        env_ids = yaml.load((path.parent.parent / "params.yaml").read_text())["support"]["env_ids"][:10]
        share = len(range(paths.index(path), num_runs, len(paths))) if path in paths else 0
        runs = [(env_ids[j % 10], j // 10) for j in range(share)]
        envs = {env_id: {"num_train_steps": 1000} for env_id, _ in runs}
        lines = {f"{env_id}/seed-{seed}": {"env_id": env_id, "seed": seed} for env_id, seed in runs}
        path.with_name("runs.yaml").write_text(runs_text(envs, lines))
    for command in (
        ["git", "init", "-q"],
        ["dvc", "init", "-q"],
        ["dvc", "config", "core.analytics", "false"],
    ):
        subprocess.run(command, cwd=root, check=True)


def make_repository(root: Path, num_runs: int) -> list[str]:
    """Write a repository whose runs have small, recorded files; return the paths of its dvc.yaml files."""
    make_recipes(root, num_runs)
    files = sorted(str(path.relative_to(root)) for path in root.glob("pipelines/*/*/dvc.yaml"))
    entries = {}
    with open_repository(root) as repo, repo.lock:
        for file in files:
            for stage in repo.stage.load_all(str(root / file)):
                for out in stage.outs:
                    Path(out.fs_path).parent.mkdir(parents=True, exist_ok=True)
                    Path(out.fs_path).write_text(f"{stage.name} {out}")
                stage.save(run_cache=False)
                stage.commit()
                entries[f"{file}:{stage.name}"] = entry_text(to_single_stage_lockfile(stage))
    merge_entries(root, entries)  # writes each lock once; `dvc commit` would write it once for each stage
    return files


def seconds(*command: str, cwd: Path) -> float:
    """Return how many seconds a command takes."""
    start = time.perf_counter()
    subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


@click.command(context_settings={"show_default": True})
@click.option("--num-runs", default=1000, help="Runs of three stages each, over all pipelines.")
@click.option("--repeats", default=1, help="The median counts; one takes some minutes, most of them in DVC.")
@click.option("--json", "as_json", is_flag=True, help="End with one line of JSON.")
def main(num_runs: int, repeats: int, as_json: bool) -> None:
    """Time the three commands in turn, each in a new process."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files = make_repository(root, num_runs)
        plan = Plan(root)
        print(f"{len(plan.stages):,} stages, {len(plan.reasons)} stale")
        planner = "from pathlib import Path; from rllte.runner.staleness import Plan; Plan(Path('.'))"
        commands = {
            "planner_s": (sys.executable, "-c", planner),
            "dvc_status_s": ("dvc", "status", "-q", *files),
            "dvc_repro_s": ("dvc", "repro", "-q", *files),
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
