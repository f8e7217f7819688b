"""Commands that compare and draw: compare and plot."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from rllte.cli.options import cells_like, current_source, source_options
from rllte.errors import HubError
from rllte.names import Cell, Run, benchmark_name


@click.command()
@click.argument("agents", nargs=-1, required=True, metavar="BENCHMARK/AGENT...")
@click.option("--mine", multiple=True, metavar="[NAME=]PATH", help="Logs of an own agent; see the tutorial.")
@click.option("--env", "env_ids", multiple=True, metavar="ENV_ID", help="Only these environments.")
@click.option(
    "--column", "columns", multiple=True, metavar="OURS=THEIRS", help="The name of a column in logs."
)
@click.option("--split", type=click.Choice(["train", "eval"]), help="What the logs hold, if they do not say.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Draw the curves into an image."
)
@click.option("--json", "form", flag_value="json", help="Print JSON.")
@click.option("--markdown", "form", flag_value="markdown", help="Print Markdown.")
@click.option("--latex", "form", flag_value="latex", help="Print a LaTeX table.")
def compare(
    agents: tuple[str, ...],
    mine: tuple[str, ...],
    env_ids: tuple[str, ...],
    columns: tuple[str, ...],
    split: str | None,
    output: Path | None,
    form: str | None,
) -> None:
    """Compare agents of the hub with each other, and with own results.

    Prints means with 95 % intervals, differences by Welch's t-test, and what one may conclude. The logs of an
    own agent lie in PATH/<env_id>/ if several environments are compared.
    """
    from rllte.hub.comparing import compare as compare_agents

    benchmark, names = _agents(agents)
    own = _own(mine, env_ids, _pairs(columns), split)
    result = compare_agents(
        own, benchmark=benchmark, agents=names, env_ids=env_ids or None, **source_options()
    )
    printed = {"json": result.to_json, "markdown": result.to_markdown, "latex": result.to_latex}
    click.echo(printed.get(form or "", result.to_text)())
    if output is not None:
        env_ids = tuple(task.env_id for task in result.tasks)
        click.echo(_draw_comparison(benchmark, names, own, env_ids, output), err=True)


@click.command()
@click.argument("cells", nargs=-1, required=True, metavar="CELL...")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="An image."
)
@click.option("--split", type=click.Choice(["train", "eval"]), default="eval", show_default=True)
@click.option(
    "--x", type=click.Choice(["env_steps", "frames", "wall"]), default="env_steps", show_default=True
)
@click.option("--normalize", is_flag=True, help="Draw normalised returns (references/normalization.csv).")
@click.option(
    "--smooth", type=click.IntRange(1), default=1, show_default=True, help="Points of a moving average."
)
@click.option("--references", is_flag=True, help="Add the published numbers of others as dashed lines.")
@click.option("--title", help="A title above all panels.")
@click.option("--columns", type=click.IntRange(1), default=3, show_default=True, help="Panels in a row.")
@click.option(
    "--aggregate",
    type=click.Choice(["iqm", "profile", "improvement"]),
    help="Draw one panel over all environments.",
)
def plot(
    cells: tuple[str, ...],
    output: Path,
    split: str,
    x: str,
    normalize: bool,
    smooth: int,
    references: bool,
    title: str | None,
    columns: int,
    aggregate: str | None,
) -> None:
    """Plot the learning curves of each CELL, one panel for each environment.

    A CELL may be a pattern, such as 'dmc/*/cartpole*'. Thick lines are means over seeds, bands the 95 %
    intervals of the means, and thin lines the seeds.
    """
    from rllte.hub import figures

    chosen = cells_like(cells)
    if aggregate is not None:
        figure = _aggregate_figure(chosen, aggregate)
    else:
        by_env: dict[str, list[Cell]] = {}
        several = len({cell.benchmark for cell in chosen}) > 1
        for cell in chosen:
            by_env.setdefault(f"{cell.benchmark}: {cell.env_id}" if several else cell.env_id, []).append(cell)
        figure, axes = figures.panels(list(by_env), columns)
        colours = figures.colours_of(cell.agent for cell in chosen)
        for env_id, of_env in by_env.items():
            _draw_panel(of_env, axes[env_id], colours, split, x, normalize, smooth, references)
        _warn_of_units(chosen, x)
    if title:
        figure.suptitle(title)
    figures.add_legend(figure, _seeds_of_agents(chosen))
    click.echo(figures.save(figure, output))


def _draw_panel(
    cells: list[Cell],
    ax: Any,
    colours: dict[str, str],
    split: str,
    x: str,
    normalize: bool,
    smooth: int,
    references: bool,
) -> None:
    from rllte.hub import figures
    from rllte.hub.references import load_bounds, read_references

    source = current_source()
    bounds = load_bounds(source, cells[0].benchmark)[cells[0].env_id] if normalize else None
    curves = {cell.agent: _hub(cell.benchmark).load_curves(cell.env_id, cell.agent) for cell in cells}
    scale = {cell.agent: _unit(cell, x) for cell in cells}
    figures.plot_curves(curves, ax, split=split, x_scale=scale, colours=colours, bounds=bounds, smooth=smooth)
    ax.set_xlabel(figures.X_LABELS[x])
    if references and x == "env_steps":
        theirs = {"procgen": {"eval": "unseen_levels", "train": "train_levels"}}.get(cells[0].benchmark, {})
        rows = [
            row
            for row in read_references(source)
            if (row["benchmark"], row["env_id"]) == (cells[0].benchmark, cells[0].env_id)
            and row["split"] in (theirs.get(split, split), None)
            and (row["agent"] in curves or row["env_step"] is None)
        ]
        figures.plot_references(rows, ax, bounds=bounds)


def _seeds_of_agents(cells: list[Cell]) -> dict[str, str]:
    """Return each agent with its number of seeds, for the legend."""
    rows, numbers = current_source().catalogue.cells, dict[str, list[int]]()
    for cell in cells:
        numbers.setdefault(cell.agent, []).append(rows[str(cell)]["num_seeds"])
    spans = {agent: (min(of_agent), max(of_agent)) for agent, of_agent in numbers.items()}
    return {
        agent: f"{agent} ({low if low == high else f'{low}–{high}'} seed{'s' if high > 1 else ''})"
        for agent, (low, high) in spans.items()
    }


def _aggregate_figure(cells: list[Cell], aggregate: str) -> Any:
    from rllte.hub import figures, statistics

    if len(benchmarks := {cell.benchmark for cell in cells}) > 1:
        raise HubError(f"Scores of several benchmarks cannot be combined: {', '.join(sorted(benchmarks))}.")
    agents = list(dict.fromkeys(cell.agent for cell in cells))
    common = set.intersection(*({c.env_id for c in cells if c.agent == agent} for agent in agents))
    if not common:
        raise HubError(f"{', '.join(agents)} have no environment in common.")
    hub = _hub(benchmarks.pop())
    scores = {agent: hub.load_score_matrix(agent, sorted(common), normalize=True).means() for agent in agents}
    figure, axes = figures.panels([f"{hub.name}, {len(common)} environments"])
    (ax,) = axes.values()
    if aggregate == "profile":
        figures.plot_profiles(scores, ax)
    elif aggregate == "iqm":
        values = {agent: statistics.aggregate(one) for agent, one in scores.items()}
        figures.plot_intervals(values, ax, label="IQM of normalised scores")
    else:
        first, *others = agents
        if not others:
            raise HubError(f"An improvement needs two agents; there is only {first}.")
        chances = {f"over {one}": statistics.improvement_over(scores[first], scores[one]) for one in others}
        figures.plot_intervals(chances, ax, label=f"probability that {first} scores higher")
        ax.axvline(0.5, color="0.5", linestyle="--", linewidth=1)
    fewest = min(len(row) for one in scores.values() for row in one.values())
    click.echo(f"{aggregate}: {statistics.coverage_text(fewest)}", err=True)
    return figure


def _draw_comparison(
    benchmark: str, agents: Sequence[str], own: dict[str, Any], env_ids: Sequence[str], output: Path
) -> Path:
    from rllte.hub import figures, logs

    figure, axes = figures.panels(list(env_ids))
    colours = figures.colours_of([*own, *agents])
    for env_id, ax in axes.items():
        curves = {name: logs.to_curves(by_env[env_id]) for name, by_env in own.items()}
        curves |= {agent: _hub(benchmark).load_curves(env_id, agent) for agent in agents}
        for split in ("eval", "train"):  # own logs may have training episodes only
            chosen = {
                name: one for name, one in curves.items() if ("eval" if "eval" in one else "train") == split
            }
            if chosen:
                figures.plot_curves(chosen, ax, split=split, colours=colours)
        ax.set_xlabel(figures.X_LABELS["env_steps"])
    figures.add_legend(figure)
    return figures.save(figure, output)


def _agents(texts: Sequence[str]) -> tuple[str, list[str]]:
    """Return the benchmark and the agents of ``benchmark/agent`` texts."""
    pairs = [text.split("/") for text in texts]
    for text, parts in zip(texts, pairs, strict=True):
        if len(parts) != 2:
            raise click.UsageError(f"{text!r} needs two parts: benchmark/agent")
    benchmarks = {benchmark_name(benchmark) for benchmark, _ in pairs}
    if len(benchmarks) > 1:
        raise click.UsageError(f"agents of several benchmarks: {', '.join(sorted(benchmarks))}")
    return benchmarks.pop(), [agent for _, agent in pairs]


def _own(
    mine: Sequence[str], env_ids: Sequence[str], columns: dict[str, str], split: str | None
) -> dict[str, dict[str, Any]]:
    """Read the logs of own agents: PATH/<env_id>/ for each environment, or PATH for one."""
    from rllte.hub import logs

    own: dict[str, dict[str, Any]] = {}
    for text in mine:
        name, _, path = text.rpartition("=")
        own[name or "mine"] = {
            env_id: logs.read(place, columns=columns, split=split)
            for env_id, place in _places(Path(path), env_ids).items()
        }
    return own


def _places(folder: Path, env_ids: Sequence[str]) -> dict[str, Path]:
    """Return where the logs of each environment are."""
    if not folder.exists():
        raise HubError(f"{folder} does not exist.")
    if len(env_ids) == 1 and not (folder / env_ids[0]).exists():
        return {env_ids[0]: folder}
    if env_ids:
        return {env_id: folder / env_id for env_id in env_ids}
    folders = [one for one in sorted(folder.iterdir()) if one.is_dir()] if folder.is_dir() else []
    if not folders:
        raise HubError(f"{folder} has no folder for an environment. Name the environment with --env.")
    return {one.name: one for one in folders}


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    for text in texts:
        if "=" not in text:
            raise click.UsageError(f"--column {text!r} needs the form OURS=THEIRS")
    return dict(text.split("=", 1) for text in texts)


def _hub(benchmark: str) -> Any:
    from rllte.hub.benchmark import BENCHMARK_CLASSES

    return BENCHMARK_CLASSES[benchmark](**source_options())


def _unit(cell: Cell, x: str) -> float:
    """Return what one env step is on the x axis."""
    if x == "wall":
        return _hours_per_step(cell)
    from rllte.hub.comparing import frame_skip

    return frame_skip(cell.benchmark, cell.agent) if x == "frames" else 1


def _hours_per_step(cell: Cell) -> float:
    """Return the mean training time of an env step over the seeds of a cell, from train.json."""
    source = current_source()
    hours = []
    for seed in source.catalogue.cells[str(cell)]["seeds"]:
        path = Run(cell, seed).path("train")
        data = source.read_file(path)
        if data is None:
            raise HubError(f"{path} is not here, so training time is not known. Get it with: dvc pull {path}")
        hours.append(1 / json.loads(data)["env_steps_per_s"] / 3600)
    return sum(hours) / len(hours)


def _warn_of_units(cells: Sequence[Cell], x: str) -> None:
    if x == "env_steps" and len({_unit(cell, "frames") for cell in cells}) > 1:
        click.echo(
            "Env steps here have different numbers of frames; --x frames makes them comparable.", err=True
        )


COMMANDS = (compare, plot)
