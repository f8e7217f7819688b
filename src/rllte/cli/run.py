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
@click.option("--release", is_flag=True, help="Also run the cells of release.yaml, in its order.")
@click.option("--planned", is_flag=True, help="Also run planned cells, at the paper scale.")
@click.option("--jobs", type=click.IntRange(1), help="Tasks to run at once; default: the number of cores.")
@click.option("--threads", type=click.IntRange(1), help="Cores for each run; default: its num_threads.")
@click.option("--address", help="A Ray cluster: auto, host:port or ray://host:port; default: this machine.")
@click.option("--shared", is_flag=True, help="All nodes of the cluster can read and write this folder.")
@click.option("--remote", help="The DVC remote that nodes share results through, without --shared.")
@click.option("--dry-run", is_flag=True, help="Only print what would run, and how long it takes.")
def run(dry_run: bool, **options: Any) -> None:
    """Train, evaluate, export and collect what is missing or stale, of everything or of each CELL and RUN."""
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
    click.echo(f"{len(summary.done)} tasks finished, {len(summary.failed)} failed.", err=True)
    if summary.interrupted:
        click.echo("Stopped; the same command resumes from here.", err=True)
    sys.exit(130 if summary.interrupted else 1 if summary.failed else 0)


@click.command()
@as_json
def status(as_json: bool) -> None:
    """List the runs of this checkout: available, stale and why, missing here, or not trained yet."""
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
        if row["reasons"] and row["state"] != "missing":
            click.echo(f"{name}: {row['state']}: {'; '.join(row['reasons'][:3])}")
    if "missing" in states:
        click.echo("The files of missing runs are recorded, but not here. Download them with: dvc pull")
    if found["hours_left"]:
        click.echo(f"About {found['hours_left']:.1f} hours of training are left, one run at a time.")


COMMANDS = (run, status)
