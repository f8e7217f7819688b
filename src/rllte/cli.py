"""The ``rllte-hub`` command."""

from pathlib import Path

import click

from rllte.errors import HubError
from rllte.names import Cell, Run


class _Group(click.Group):
    """A group whose errors of this package become one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except HubError as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rllte-hub")
def main() -> None:
    """Trained agents, learning curves and scores of reinforcement learning, versioned as data."""


def _root() -> Path:
    return Path.cwd()


@main.command()
@click.argument("run")
def train(run: str) -> None:
    """Train RUN; a DVC stage calls this."""
    from rllte.pipeline.train import train

    train(_root(), Run.parse(run))


@main.command()
@click.argument("run")
def evaluate(run: str) -> None:
    """Evaluate the policy of RUN; a DVC stage calls this."""
    from rllte.pipeline.evaluate import evaluate

    evaluate(_root(), Run.parse(run))


@main.command()
@click.argument("run")
def export(run: str) -> None:
    """Export the policy of RUN as TorchScript; a DVC stage calls this."""
    from rllte.pipeline.export import export

    export(_root(), Run.parse(run))


@main.command()
@click.argument("cell")
def collect(cell: str) -> None:
    """Collect the runs of CELL; a DVC stage calls this."""
    from rllte.pipeline.collect import collect

    collect(_root(), Cell.parse(cell))
