"""Commands that the DVC stages of a checkout call."""

from pathlib import Path

import click

from rllte.cli.options import current_source, this_folder, trust_repo
from rllte.extras import requires_extra
from rllte.names import LEVELS, Cell, Dataset, Run, cell_parts

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
@click.argument("name", metavar="RUN|CELL")
@click.argument("target", metavar="[FILE|DIR]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--format", "form", type=click.Choice(["onnx", "huggingface"]), help="Write this format instead."
)
def export(name: str, target: Path | None, form: str | None) -> None:
    """Export the policy of RUN as TorchScript, in this checkout.

    With --format, write a model of the hub to a new place: --format onnx to FILE, --format huggingface to
    DIR, with a model card. Of a CELL, the seed with the highest mean score is taken.
    """
    if form is None:
        if target is not None:
            raise click.UsageError(f"name a --format for {target}")
        with requires_extra(_PURPOSE):
            from rllte.stages.export import export
        click.echo(export(this_folder(), Run.parse(name)), err=True)
        return
    if target is None:
        raise click.UsageError(f"name the {'FILE' if form == 'onnx' else 'DIR'} to write")
    with requires_extra("Exporting needs"):
        from rllte.hub.huggingface_folder import best_run, write_huggingface_folder
        from rllte.hub.onnx_export import write_onnx
    source = current_source()
    cell_name, marker, seed = name.partition("/seed-")
    cell = source.catalogue.cell(*cell_parts(cell_name))
    run = Run.parse(f"{cell}{marker}{seed}") if marker else best_run(source, cell)
    write = {"onnx": write_onnx, "huggingface": write_huggingface_folder}[form]
    write(source, run, target)
    click.echo(f"{target}: {run}", err=True)


@click.command()
@click.argument("cell", metavar="CELL")
def collect(cell: str) -> None:
    """Collect the curves and scores of all seeds of CELL."""
    with requires_extra(_PURPOSE):
        from rllte.stages.collect import collect
    click.echo(collect(this_folder(), Cell.parse(cell)), err=True)


@click.command()
@click.argument("name", metavar="CELL/LEVEL|CELL")
@click.option("--level", type=click.Choice(LEVELS), help="Write a file of your own, at this level.")
@click.option("-n", "--num-episodes", type=int, help="Default: the benchmark's setting.")
@click.option("--noise", type=float, help="The noise of the level noise: a probability, or a deviation.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Default: ENV_ID-LEVEL.parquet."
)
@trust_repo
def demonstrate(
    name: str,
    level: str | None,
    num_episodes: int | None,
    noise: float | None,
    output: Path | None,
    trust_repo: bool,
) -> None:
    """Make demonstrations: those of the pipeline (CELL/LEVEL), or a file of your own (CELL --level LEVEL).

    For a file of your own, CELL may be written without the agent; its best agent is taken then.
    """
    with requires_extra(_PURPOSE):
        from rllte.stages.demonstrate import demonstrate, demonstrate_on_demand
    if level is None:
        if trust_repo or (num_episodes, noise, output) != (None, None, None):
            raise click.UsageError("name a --level")
        click.echo(demonstrate(this_folder(), Dataset.parse(name)), err=True)
        return
    source = current_source()
    dataset = Dataset(source.catalogue.best_cell(name), level)
    path = output or Path(f"{dataset.cell.env_id}-{level}.parquet")
    line = demonstrate_on_demand(source, dataset, path, num_episodes, noise, trust_repo=trust_repo)
    click.echo(line, err=True)


@click.command()
@click.argument("cell", metavar="CELL")
def film(cell: str) -> None:
    """Film an ordinary episode of seed 0 of CELL."""
    with requires_extra(_PURPOSE):
        from rllte.stages.video import make_video
    click.echo(make_video(this_folder(), Cell.parse(cell)), err=True)


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


@click.command()
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default="site",
    show_default=True,
    help="The folder to write.",
)
def site(output: Path) -> None:
    """Write a site that shows the hub in a browser, also without a network."""
    with requires_extra(_PURPOSE):
        from rllte.publish.site import build_site
    num_pages = build_site(this_folder(), output)
    click.echo(f"{num_pages} pages; open {output / 'index.html'}", err=True)


COMMANDS = (train, evaluate, export, collect, demonstrate, film, tables, catalogue, site)
