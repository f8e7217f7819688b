"""Commands that show the contents of the hub: list, show, curves, scores, plot and play."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from rllte.cli.options import as_json, cells_like, current_source, source_and_cell, source_options, trust_repo
from rllte.errors import printable
from rllte.extras import requires_extra
from rllte.names import DEMONSTRATIONS, Run


@click.command(name="list")
@click.option("--benchmark", help="Only this benchmark.")
@click.option("--agent", help="Only this agent.")
@click.option("--env-id", help="Only this environment.")
@click.option("--planned", is_flag=True, help="List the planned cells instead.")
@as_json
def list_cells(
    benchmark: str | None, agent: str | None, env_id: str | None, planned: bool, as_json: bool
) -> None:
    """List the available cells: scale, budget, seeds, mean score and its 95 % interval over seeds."""
    status = "planned" if planned else "available"
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


@click.command()
@click.argument("cell")
@click.option("--hashes", is_flag=True, help="Also list the files with their hashes.")
@as_json
def show(cell: str, hashes: bool, as_json: bool) -> None:
    """Show a CELL: its scores, seeds, budget and settings, and the command that regenerates it."""
    from ruamel.yaml import YAML

    source, owner = source_and_cell(cell)
    catalogue, names = source.catalogue, (owner.benchmark, owner.agent, owner.env_id)
    artifacts = [
        row
        for row in catalogue.artifacts.values()
        if (row["benchmark"], row["agent"], row.get("env_id")) == names
    ]
    row = dict(catalogue.cells[str(owner)])
    first = ("benchmark", "agent", "env_id", "status", "mean", "interval")
    facts: dict[str, Any] = {key: row.pop(key) for key in first if key in row} | {
        "scores": {
            f"seed-{one['seed']}": {key: one.get(key) for key in ("mean", "interval")}
            for one in artifacts
            if one["kind"] == "scores" and "seed" in one
        },
        **row,
    }
    if datasets := [one for one in artifacts if one["kind"] == DEMONSTRATIONS]:
        keys = ("num_episodes", "num_steps", "mean", "policy_seed")
        facts["demonstrations"] = {
            one.get("level"): {key: one[key] for key in keys if key in one} for one in datasets
        }
    if artifacts:
        facts["regenerate"] = f"dvc repro {owner.stage_file}:collect@{owner.env_id}"
    facts["settings"] = catalogue.pipelines.get(f"{owner.benchmark}/{owner.agent}", "no pipeline yet")
    if hashes or as_json:
        facts["artifacts"] = [
            {key: one[key] for key in ("path", "md5", "sha256", "size", "mean", "interval") if key in one}
            for one in artifacts
        ]
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        yaml = YAML(typ="safe")
        yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
        yaml.width = 110
        yaml.dump(facts, sys.stdout)


def _table_command(kind: str, help_text: str) -> click.Command:
    @click.command(name=kind, help=help_text)
    @click.argument("cells", nargs=-1, required=True, metavar="CELL...")
    @click.option("--format", "form", type=click.Choice(["csv", "json", "parquet"]), default="csv")
    @click.option(
        "-o", "--output", type=click.File("wb"), default="-", help="A file; default: standard output."
    )
    def command(cells: tuple[str, ...], form: str, output: Any) -> None:
        from rllte import tables
        from rllte.hub.store.cache import fetch

        source, owners = current_source(), cells_like(cells)
        schema = {"curves": tables.CURVES, "scores": tables.SCORES}[kind]
        found = [
            tables.read_parquet(fetch(source, source.catalogue.artifact(owner, kind)), schema, str(owner))
            for owner in owners
        ]
        table = found[0] if len(owners) == 1 else tables.tidy(dict(zip(owners, found, strict=True)), schema)
        output.write(tables.convert(table, form))

    return command


curves = _table_command(
    "curves",
    "Print the learning curves of each CELL, one row per seed, split and point. A CELL may be a pattern, "
    "such as 'dmc/*/cartpole*'; with several cells, the columns benchmark, agent and env_id come first.",
)
scores = _table_command(
    "scores",
    "Print the scores of each CELL, one row per seed, split and episode. A CELL may be a pattern, such as "
    "'dmc/*/cartpole*'; with several cells, the columns benchmark, agent and env_id come first.",
)


@click.command()
@click.argument("run")
@click.option("-n", "--num-episodes", default=10, show_default=True, type=click.IntRange(1), help="Episodes.")
@click.option(
    "--video",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Instead, film the one of ten episodes nearest to the mean: FILE.mp4, .webm or .gif.",
)
@trust_repo
def play(run: str, num_episodes: int, video: Path | None, trust_repo: bool) -> None:
    """Play new episodes with the model of RUN; print their returns beside the published score."""
    from rllte.hub.benchmark import BENCHMARK_CLASSES

    with requires_extra("Playing needs"):
        from rllte.recipes.project import Project
        from rllte.stages.evaluate import play as play_model
    parsed = Run.parse(run)
    source, cell = source_and_cell(str(parsed.cell))
    hub = BENCHMARK_CLASSES[cell.benchmark](**source_options())
    model = hub.load_models(cell.env_id, cell.agent, parsed.seed, trust_repo=trust_repo)
    spec = Project(source.root).spec(cell)
    row = source.catalogue.artifacts[Run(cell, parsed.seed).path("scores")]
    if video is not None:
        with requires_extra("Playing needs"):
            from rllte.stages.video import film, write_film
        shot = film(spec, model, parsed.seed, row["mean"])
        click.echo(f"{video}: {write_film(video, shot, Run(cell, parsed.seed))}", err=True)
        return
    episodes = play_model(spec, model, parsed.seed, num_episodes, index=1)
    for episode_return, length in zip(episodes.returns, episodes.lengths, strict=True):
        click.echo(f"return {episode_return:.4g}, {length} steps")
    low, high = row["interval"]
    click.echo(
        f"mean of {num_episodes} new episodes: {episodes.returns.mean():.4g}; published mean of "
        f"{source.catalogue.cells[str(cell)]['num_episodes']}: {row['mean']:.4g} "
        f"(95 % interval [{low:.4g}, {high:.4g}])"
    )


COMMANDS = (list_cells, show, curves, scores, play)
