"""Commands that bring a checkout up to date: run and status."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from rllte.cli.options import as_json, this_folder
from rllte.extras import requires_extra


@click.command()
@click.argument("targets", nargs=-1, metavar="[CELL|RUN]...")
@click.option("--benchmark", help="Only this benchmark.")
@click.option("--agent", help="Only this agent.")
@click.option("--release", is_flag=True, help="Also what release.yaml names, in its order.")
@click.option("--planned", is_flag=True, help="Also what is only planned, at the paper scale.")
@click.option("--jobs", type=click.IntRange(1), help="Tasks at once; as many as there are cores by default.")
@click.option("--threads", type=click.IntRange(1), help="Cores for each run; its num_threads by default.")
@click.option("--address", help="A Ray cluster: auto, host:port or ray://host:port; this machine by default.")
@click.option("--shared", is_flag=True, help="All nodes of the cluster see this checkout.")
@click.option("--remote", help="The DVC remote through which nodes share results otherwise.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done, and how long it takes.")
def run(dry_run: bool, **options: Any) -> None:
    """Train, evaluate, export and collect what is missing or stale: everything, or each CELL and RUN."""
    with requires_extra("Running needs"):
        from rllte.runner.batch import Options, run_batch
        from rllte.runner.estimate import describe
    if dry_run:
        click.echo(describe(this_folder(), Options(**options)))
        return
    summary = run_batch(this_folder(), Options(**options))
    for name, error in summary.failed.items():
        log = Path(f"scratch/logs/{name}.log")
        click.echo(f"{name}: {error}{f' ({log})' if log.exists() else ''}", err=True)
    click.echo(f"{len(summary.done)} tasks done, {len(summary.failed)} failed.", err=True)
    if summary.interrupted:
        click.echo("Stopped; the same command resumes from here.", err=True)
    sys.exit(130 if summary.interrupted else 1 if summary.failed else 0)


@click.command()
@as_json
def status(as_json: bool) -> None:
    """Say of this checkout's runs which are available, stale and why, missing here, or still untrained."""
    with requires_extra("The pipeline needs"):
        from rllte.runner.status import read_status
    found = read_status(this_folder())
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    states = [run["state"] for run in found["runs"].values()]
    for state in ("available", "stale", "missing", "untrained"):
        click.echo(f"{states.count(state):6}  runs {state}")
    click.echo(f"{found['planned_cells']:6}  cells planned")
    for name, row in [*found["runs"].items(), *found["cells"].items()]:
        if row["reasons"]:
            click.echo(f"{name}: {row['state']}: {'; '.join(row['reasons'][:3])}")
    if "missing" in states:
        click.echo("Bring what is missing here with: dvc pull")
    if found["hours_left"]:
        click.echo(f"About {found['hours_left']:.1f} hours of training left, one run after the other.")


COMMANDS = (run, status)
