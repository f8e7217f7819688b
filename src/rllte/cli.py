"""The ``rllte-hub`` command: thin commands that read options, call one function and print the result."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rllte.cli_store import COMMANDS, as_json, current_source, trust_repo
from rllte.errors import HubError, printable
from rllte.names import Cell, Run, cell_parts

if TYPE_CHECKING:
    from rllte.hub.source import Source


class _Group(click.Group):
    """A group whose errors of this package and of the disk become one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click's own: whoever read has read enough
            raise
        except (HubError, OSError) as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rllte-hub")
@click.option("--repo", help="A checkout or a git URL to load from; default: RLLTE_HUB_REPO, else this one.")
@click.option("--rev", help="A tag, branch or commit of it; default: RLLTE_HUB_REV.")
@click.option("--remote", help="The DVC remote to download from; default: RLLTE_HUB_REMOTE.")
@click.pass_context
def main(context: click.Context, repo: str | None, rev: str | None, remote: str | None) -> None:
    """Trained agents, learning curves and scores of reinforcement learning, versioned as data.

    CELL is benchmark/agent/env_id, such as minigrid/ppo/Empty-6x6-v0; RUN adds /seed-0.
    """
    context.obj = {"repo": repo, "rev": rev, "remote": remote}


@main.command(name="list")
@click.option("--benchmark", help="Only this benchmark.")
@click.option("--agent", help="Only this agent.")
@click.option("--env-id", help="Only this environment.")
@click.option("--planned", is_flag=True, help="List what is planned, not published yet.")
@as_json
def list_cells(
    benchmark: str | None, agent: str | None, env_id: str | None, planned: bool, as_json: bool
) -> None:
    """List the published cells: scale, budget, seeds, mean score and its bootstrap interval over seeds."""
    status = "planned" if planned else "published"
    rows = current_source().catalogue.rows(status, benchmark, agent, env_id)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = [["CELL", "SCALE", "ENV STEPS", "SEEDS", "MEAN RETURN", "INTERVAL"]]
    for row in rows:
        score = f"{row['mean']:.4g}" if "mean" in row else "planned"
        interval = "[{:.4g}, {:.4g}]".format(*row["interval"]) if row.get("interval") else ""
        name = f"{row['benchmark']}/{row['agent']}/{row['env_id']}"
        steps = f"{row['num_train_steps']:,}"
        table.append([name, row["scale"], steps, str(row["num_seeds"]), score, interval])
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    for line in table:
        padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        click.echo(printable("  ".join(padded).rstrip()))


@main.command()
@click.argument("cell")
@as_json
def show(cell: str, as_json: bool) -> None:
    """Show a CELL: budget, seeds, scores, settings, and what regenerates it."""
    from ruamel.yaml import YAML

    source, owner = _source_and_cell(cell)
    catalogue, names = source.catalogue, (owner.benchmark, owner.agent, owner.env_id)
    artifacts = [
        row
        for row in catalogue.artifacts.values()
        if (row["benchmark"], row["agent"], row.get("env_id")) == names
    ]
    facts: dict[str, Any] = {
        **catalogue.cells[str(owner)],
        "settings": catalogue.pipelines.get(f"{owner.benchmark}/{owner.agent}", "no pipeline yet"),
        "artifacts": [
            {key: row[key] for key in ("path", "md5", "sha256", "size", "mean", "interval") if key in row}
            for row in artifacts
        ],
    }
    if artifacts:
        facts["regenerate"] = f"dvc repro {owner.stage_file}:collect@{owner.env_id}"
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        yaml = YAML(typ="safe")
        yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
        yaml.width = 110
        yaml.dump(facts, sys.stdout)


@main.command()
@as_json
def status(as_json: bool) -> None:
    """Say of this checkout's runs which are published, stale and why, missing here, or still untrained."""
    from rllte import registry

    found = registry.load("rllte.pipeline.status:read_status", "The pipeline needs")(_this_folder())
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    states = [run["state"] for run in found["runs"].values()]
    for state in ("published", "stale", "missing", "untrained"):
        click.echo(f"{states.count(state):6}  runs {state}")
    click.echo(f"{found['planned_cells']:6}  cells planned")
    for name, row in [*found["runs"].items(), *found["cells"].items()]:
        if row["reasons"]:
            click.echo(f"{name}: {row['state']}: {'; '.join(row['reasons'][:3])}")
    if "missing" in states:
        click.echo("Bring what is missing here with: dvc pull")
    if found["hours_left"]:
        click.echo(f"About {found['hours_left']:.1f} hours of training left, one run after the other.")


def _table_command(kind: str, help_text: str) -> None:
    @main.command(name=kind, help=help_text)
    @click.argument("cell")
    @click.option("--format", "form", type=click.Choice(["csv", "json", "parquet"]), default="csv")
    @click.option(
        "-o", "--output", type=click.File("wb"), default="-", help="A file; standard output by default."
    )
    def command(cell: str, form: str, output: Any) -> None:
        from rllte import tables
        from rllte.hub.store import fetch

        source, owner = _source_and_cell(cell)
        data = fetch(source, source.catalogue.artifact(owner, kind))
        schema = {"curves": tables.CURVES, "scores": tables.SCORES}[kind]
        output.write(tables.convert(tables.read_parquet(data, schema, cell), form))


_table_command("curves", "Print the learning curves of a CELL, one row per seed, split and point.")
_table_command("scores", "Print the scores of a CELL, one row per seed, split and episode.")


@main.command()
@click.argument("cells", nargs=-1, required=True, metavar="CELL...")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="An image."
)
def plot(cells: tuple[str, ...], output: Path) -> None:
    """Plot the evaluation curves of each CELL: mean and 95 % bootstrap interval over seeds."""
    from rllte.hub.benchmark import BENCHMARK_CLASSES
    from rllte.hub.plot import plot_curves

    curves = {}
    for cell in cells:
        _, owner = _source_and_cell(cell)
        hub = BENCHMARK_CLASSES[owner.benchmark](**_options())
        curves[str(owner)] = hub.load_curves(owner.env_id, owner.agent)
    click.echo(plot_curves(curves, output))


@main.command()
@click.argument("run")
@click.option("-n", "--num-episodes", default=10, show_default=True, type=click.IntRange(1), help="How many.")
@trust_repo
def play(run: str, num_episodes: int, trust_repo: bool) -> None:
    """Play new episodes with the model of RUN; print their returns beside the published score."""
    from rllte import registry
    from rllte.hub.benchmark import BENCHMARK_CLASSES

    parsed = Run.parse(run)
    source, cell = _source_and_cell(str(parsed.cell))
    hub = BENCHMARK_CLASSES[cell.benchmark](**_options())
    model = hub.load_models(cell.env_id, cell.agent, parsed.seed, trust_repo=trust_repo)
    spec = registry.load("rllte.pipeline.spec:read_spec", "Playing needs")(source.root, cell)
    play_model = registry.load("rllte.pipeline.evaluate:play", "Playing needs")
    episodes = play_model(spec, model, parsed.seed, num_episodes, index=1)
    for episode_return, length in zip(episodes.returns, episodes.lengths, strict=True):
        click.echo(f"return {episode_return:.4g}, {length} steps")
    row = source.catalogue.artifacts[Run(cell, parsed.seed).path("scores")]
    low, high = row["interval"]
    click.echo(
        f"mean of {num_episodes} new episodes: {episodes.returns.mean():.4g}; published mean of "
        f"{source.catalogue.cells[str(cell)]['num_episodes']}: {row['mean']:.4g} "
        f"(95 % interval [{low:.4g}, {high:.4g}])"
    )


def _this_folder() -> Path:
    """Return the checkout that a command works on, which loads nothing from elsewhere."""
    context = click.get_current_context()
    if any(context.obj.values()):
        raise click.UsageError(
            f"--repo, --rev and --remote choose what is loaded; {context.info_name} works on this folder"
        )
    return Path.cwd()


def _options() -> dict[str, str | None]:
    return dict(click.get_current_context().obj)


def _source_and_cell(text: str) -> tuple["Source", Cell]:
    source = current_source()
    return source, source.catalogue.cell(*cell_parts(text))


def _stage(name: str, parse: Callable[[str], Cell | Run], metavar: str, help_text: str) -> None:
    @main.command(name=name, help=f"{help_text} Run from a checkout; a DVC stage calls this.")
    @click.argument("target", metavar=metavar)
    def command(target: str) -> None:
        from rllte import registry

        function = registry.load(f"rllte.pipeline.{name}:{name}", "The pipeline needs")
        click.echo(function(_this_folder(), parse(target)), err=True)


for _command in COMMANDS:
    main.add_command(_command)

_stage("train", Run.parse, "RUN", "Train RUN; an interrupted training goes on where it stopped.")
_stage("evaluate", Run.parse, "RUN", "Play the evaluation episodes of RUN.")
_stage("export", Run.parse, "RUN", "Export the policy of RUN as TorchScript.")
_stage("collect", Cell.parse, "CELL", "Collect the curves and scores of all seeds of CELL.")


@main.command()
@click.argument("pipeline", metavar="BENCHMARK/AGENT")
def tables(pipeline: str) -> None:
    """Pack the curves and scores of all cells of an agent into one file; a DVC stage calls this."""
    from rllte import registry

    function = registry.load("rllte.pipeline.collect:pack_tables", "The pipeline needs")
    click.echo(function(_this_folder(), pipeline), err=True)


@main.command()
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
    from rllte import registry

    batch = registry.load("rllte.pipeline.batch", "Running needs")
    if dry_run:
        click.echo(
            registry.load("rllte.pipeline.estimate:describe")(_this_folder(), batch.Options(**options))
        )
        return
    summary = batch.run_batch(_this_folder(), batch.Options(**options))
    for name, error in summary.failed.items():
        log = Path(f"scratch/logs/{name}.log")
        click.echo(f"{name}: {error}{f' ({log})' if log.exists() else ''}", err=True)
    click.echo(f"{len(summary.done)} tasks done, {len(summary.failed)} failed.", err=True)
    if summary.interrupted:
        click.echo("Stopped; the same command goes on from here.", err=True)
    sys.exit(130 if summary.interrupted else 1 if summary.failed else 0)


@main.command()
def catalogue() -> None:
    """Write catalogue.json, and the README's support table; a DVC stage calls this."""
    from rllte import registry

    registry.load("rllte.pipeline.catalogue:build_catalogue", "The pipeline needs")(_this_folder())
