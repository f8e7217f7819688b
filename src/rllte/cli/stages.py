"""Commands that the DVC stages of a checkout call."""

import click

from rllte.cli.options import this_folder
from rllte.extras import requires_extra
from rllte.names import Cell, Run

_PURPOSE = "The pipeline needs"


@click.command()
@click.argument("run", metavar="RUN")
def train(run: str) -> None:
    """Train RUN; an interrupted training resumes from its last checkpoint."""
    with requires_extra(_PURPOSE):
        from rllte.stages.train import train
    click.echo(train(this_folder(), Run.parse(run)), err=True)


@click.command()
@click.argument("run", metavar="RUN")
def evaluate(run: str) -> None:
    """Play the evaluation episodes of RUN."""
    with requires_extra(_PURPOSE):
        from rllte.stages.evaluate import evaluate
    click.echo(evaluate(this_folder(), Run.parse(run)), err=True)


@click.command()
@click.argument("run", metavar="RUN")
def export(run: str) -> None:
    """Export the policy of RUN as TorchScript."""
    with requires_extra(_PURPOSE):
        from rllte.stages.export import export
    click.echo(export(this_folder(), Run.parse(run)), err=True)


@click.command()
@click.argument("cell", metavar="CELL")
def collect(cell: str) -> None:
    """Collect the curves and scores of all seeds of CELL."""
    with requires_extra(_PURPOSE):
        from rllte.stages.collect import collect
    click.echo(collect(this_folder(), Cell.parse(cell)), err=True)


@click.command()
@click.argument("pipeline", metavar="BENCHMARK/AGENT")
def tables(pipeline: str) -> None:
    """Pack the curves and scores of all cells of an agent into one file."""
    with requires_extra(_PURPOSE):
        from rllte.publish.table_archives import pack_tables
    click.echo(pack_tables(this_folder(), pipeline), err=True)


@click.command()
def catalogue() -> None:
    """Write catalogue.json, tables/, the page of results and the README's table of cells."""
    with requires_extra(_PURPOSE):
        from rllte.publish.catalogue import build_catalogue
    build_catalogue(this_folder())


COMMANDS = (train, evaluate, export, collect, tables, catalogue)
