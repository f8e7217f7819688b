"""Commands that download, verify, compare and delete artifacts: pull, verify, diff and cache."""

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rllte.cli.options import as_json, cells_like, current_source, trust_repo
from rllte.errors import HubError
from rllte.extras import requires_extra
from rllte.names import DEMONSTRATIONS, KINDS, LEVELS, VIDEO, Cell, Dataset, Run, cell_parts

if TYPE_CHECKING:
    from rllte.hub.store.catalogue import Artifact
    from rllte.hub.store.source import Source


_SINGULAR = {"models": "model", "policies": "policy", "videos": VIDEO}
_KINDS = (*KINDS, DEMONSTRATIONS, VIDEO)


def _kinds(_context: click.Context, _option: click.Parameter, text: str) -> list[str]:
    kinds = [_SINGULAR.get(word.strip(), word.strip()) for word in text.split(",")]
    for kind in kinds:
        if kind not in _KINDS:
            raise click.BadParameter(f"unknown kind {kind!r}; choose from {', '.join(_KINDS)}")
    return list(dict.fromkeys(kinds))


def _artifacts(
    source: "Source", cells: Iterable[str], benchmark: str | None, everything: bool, kinds: Iterable[str]
) -> "list[Artifact]":
    catalogue = source.catalogue
    owners: list[Cell | Run] = [one for text in cells for one in _owners(text)]
    if everything or benchmark:
        rows = catalogue.rows("available", benchmark)
        if not rows:
            raise HubError(
                f"No cell of {benchmark or 'the hub'} is available yet. See: rllte-hub list --planned"
            )
        owners += [catalogue.cell(row["benchmark"], row["agent"], row["env_id"]) for row in rows]
    if not owners:
        raise click.UsageError("name a CELL, or --benchmark, or --all")
    files = (artifact for owner in dict.fromkeys(owners) for artifact in catalogue.files(owner, kinds))
    return list({artifact.path: artifact for artifact in files}.values())


def _owners(text: str) -> "Sequence[Cell | Run]":
    """Return the cells of a name or pattern, or the run of a name that ends in seed-<n>."""
    if re.search(r"/seed-[^/]*$", text):
        run = Run.parse(text)
        return [Run(current_source().catalogue.cell(*cell_parts(str(run.cell))), run.seed)]
    return cells_like([text])


@click.command()
@click.argument("cells", nargs=-1, metavar="[CELL|RUN]...")
@click.option("--benchmark", help="Pull all available cells of a benchmark.")
@click.option("--all", "everything", is_flag=True, help="Pull all available cells.")
@click.option("--kind", "kinds", default="curves,scores,models", show_default=True, callback=_kinds)
@click.option(
    "--local-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Also write the files to this folder, under their paths in the repository, and print where.",
)
def pull(
    cells: tuple[str, ...], benchmark: str | None, everything: bool, kinds: list[str], local_dir: Path | None
) -> None:
    """Download the curves, scores and models of each CELL or RUN into the cache, several files at once.

    A CELL may be a pattern, such as 'dmc/*/cartpole*'.
    """
    from rllte.files import write_bytes
    from rllte.hub.store.cache import fetch, fetch_all

    source = current_source()
    wanted = _artifacts(source, cells, benchmark, everything, kinds)
    fetched = fetch_all(source, wanted, "pull")
    if local_dir is not None:
        for artifact in wanted:
            write_bytes(local_dir / artifact.path, fetch(source, artifact))
            click.echo(local_dir / artifact.path)
    size = sum(artifact.size for artifact in wanted)
    click.echo(f"{len(wanted)} files, {size / 1e6:.2f} MB; {fetched / 1e6:.2f} MB were downloaded", err=True)


@click.command()
@click.argument("cells", nargs=-1, metavar="[CELL]...")
@click.option("--replay", metavar="RUN", help="Instead, play RUN's evaluation again with its model.")
@trust_repo
@as_json
def verify(cells: tuple[str, ...], replay: str | None, trust_repo: bool, as_json: bool) -> None:
    """Check the hash of every copy in checkout and cache, or of each CELL; exit code 1 if one differs."""
    if replay is not None:
        if cells:
            raise click.UsageError("--replay takes one RUN and no CELL")
        _replay(replay, trust_repo, as_json)
        return
    from rllte.hub.store.maintenance import check_copies

    source = current_source()
    catalogue = source.catalogue
    wanted = _artifacts(source, cells, None, False, _KINDS) if cells else catalogue.all_artifacts()
    copies = list(check_copies(source, wanted))
    problems = [copy for copy in copies if copy.problem]
    if as_json:
        rows = [
            {"path": str(copy.path), "artifact": copy.artifact.path, "problem": copy.problem}
            for copy in problems
        ]
        click.echo(json.dumps({"artifacts": len(wanted), "copies": len(copies), "problems": rows}, indent=2))
    else:
        for copy in problems:
            click.echo(f"{copy.path} {copy.problem}")
        found = f"{len(copies)} copies here, {len(problems)} differ from the catalogue"
        click.echo(f"{len(wanted)} artifacts, {found}", err=True)
    if problems:
        raise click.exceptions.Exit(1)


def _replay(text: str, trust_repo: bool, as_json: bool) -> None:
    with requires_extra("Playing needs"):
        from rllte.stages.playback import judge, replay

    source, run = current_source(), Run.parse(text)
    rows = replay(source, run, trust_repo=trust_repo)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    else:
        for row in (row for row in rows if row["published"] != row["replayed"]):
            returns = f"published {row['published']}, replayed {row['replayed']}"
            click.echo(f"{row['split']} episode {row['episode']}: {returns}")
    verdict = judge(source, run, rows)
    click.echo(f"{run}: {verdict.text}", err=True)
    if not verdict.agrees:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("rev_a", metavar="A")
@click.argument("rev_b", metavar="[B]", required=False)
@as_json
def diff(rev_a: str, rev_b: str | None, as_json: bool) -> None:
    """List the cells that differ between revisions A and B; without B, between A and the checkout."""
    from rllte.hub.changes import diff as find_diff

    options = click.get_current_context().obj
    if options["rev"]:
        raise click.UsageError("name the revisions after the command: rllte-hub diff A B")
    rows = find_diff(rev_a, rev_b, repo=options["repo"])
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        means = " -> ".join("none" if row[key] is None else f"{row[key]:.4g}" for key in ("mean_a", "mean_b"))
        moved = f" ({', '.join(row['moved'])})" if row["moved"] else ""
        change = "" if row["difference"] is None else f", difference {row['difference']:+.4g}"
        name = f"{row['benchmark']}/{row['agent']}/{row['env_id']}"
        click.echo(f"{row['change']:8} {name}{moved}: mean score {means}{change}")
    click.echo(f"{len(rows)} cells differ", err=True)


@click.group()
def cache() -> None:
    """List or prune the cache. The variable RLLTE_HUB_CACHE sets its folder."""


@cache.command(name="ls")
@as_json
def cache_ls(as_json: bool) -> None:
    """List the pinned revisions and the size of the cache."""
    from rllte.config import cache_dir
    from rllte.hub.store.maintenance import folder_size, pinned_revisions

    facts: dict[str, Any] = {
        "folder": str(cache_dir()),
        "bytes": {name: folder_size(cache_dir() / name) for name in ("md5", "revisions", "git", "parts")},
        "files": sum(1 for _ in (cache_dir() / "md5").glob("*/*")),
        "revisions": pinned_revisions(),
    }
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    click.echo(f"{facts['folder']}: {facts['files']} files, {facts['bytes']['md5'] / 1e6:.2f} MB")
    for commit, names in facts["revisions"].items():
        click.echo(f"{commit}  {', '.join(names)}")


@cache.command(name="prune")
@click.option("--forget", metavar="REV", multiple=True, help="Unpin this revision first.")
@click.option("--dry-run", is_flag=True, help="Only print what would be deleted.")
def cache_prune(forget: tuple[str, ...], dry_run: bool) -> None:
    """Delete the files that no pinned revision and not the current catalogue uses."""
    from rllte.hub.store import maintenance

    maintenance.check_pinned(forget)
    unused = maintenance.unused_files(current_source(), forget)
    size = sum(maintenance.folder_size(path) for path in unused)
    if dry_run:
        for path in unused:
            click.echo(path)
    else:
        maintenance.forget(forget)
        maintenance.prune(unused)
    click.echo(f"{len(unused)} files, {size / 1e6:.2f} MB{' would be' if dry_run else ''} deleted", err=True)


@click.command("export-minari")
@click.argument("names", nargs=-1, required=True, metavar="CELL|CELL/LEVEL|FILE...")
@click.option(
    "--local-dir", type=click.Path(file_okay=False, path_type=Path), help="Instead of Minari's own."
)
@click.option("--id", "dataset_id", help="The id in Minari; default: rllte/BENCHMARK/ENV/LEVEL-v0.")
@click.option("--stack/--no-stack", default=True, help="Stacks of frames, or single ones.", show_default=True)
def export_minari(
    names: tuple[str, ...], local_dir: Path | None, dataset_id: str | None, stack: bool
) -> None:
    """Write demonstrations as Minari datasets: all levels of a CELL, one level, or a FILE of your own."""
    from rllte.hub.demonstrations import Demonstrations, read_demonstrations
    from rllte.hub.minari_export import export_minari, minari_id
    from rllte.hub.store.cache import fetch

    source = current_source()
    found = {}
    for name in names:
        if name.endswith(".parquet"):
            found[name] = read_demonstrations(name, stack=stack)
            continue
        for artifact in _datasets(source, name):
            found[artifact.path] = Demonstrations(fetch(source, artifact), artifact.path, stack=stack)
    if dataset_id is not None and len(found) > 1:
        raise click.UsageError(f"--id names one dataset, but {len(found)} are asked for")
    for demonstrations in found.values():
        cell, level = Cell.parse(demonstrations.metadata["cell"]), demonstrations.metadata["level"]
        low, high = (source.catalogue.mean_of(cell, one) for one in ("random", "expert"))
        folder = export_minari(
            demonstrations, dataset_id or minari_id(cell, level), local_dir, low=low, high=high
        )
        click.echo(folder)


def _datasets(source: "Source", name: str) -> "list[Artifact]":
    """Return the demonstrations of a cell, or those of one level."""
    if name.rpartition("/")[2] in LEVELS:
        dataset = Dataset.parse(name)
        cell = dataset.cell
        return [source.catalogue.dataset(cell.benchmark, cell.env_id, dataset.level, cell.agent)]
    cell = source.catalogue.cell(*cell_parts(name))
    found = source.catalogue.files(cell, [DEMONSTRATIONS])
    if not found:
        raise HubError(
            f"{cell} has no demonstrations. Make some with: rllte-hub demonstrate {cell} --level expert"
        )
    return found


COMMANDS = (pull, verify, diff, cache, export_minari)
