"""Options that commands share, and the source and the checkout that commands work on."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rllte.errors import HubError
from rllte.names import Cell, cell_parts

if TYPE_CHECKING:
    from rllte.hub.store.source import Source

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
trust_repo = click.option(
    "--trust-repo", is_flag=True, help="Load models unchecked; only from a repository you trust."
)


class Group(click.Group):
    """A command group that prints errors of this package and of the disk as one line, with exit code 1."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command and convert its expected errors."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click handles it: the reader of the output has closed the pipe
            raise
        except (HubError, OSError) as error:
            raise click.ClickException(str(error)) from None


def source_options() -> dict[str, Any]:
    """Return the global options that choose what is loaded: ``repo``, ``rev`` and ``remote``."""
    return dict(click.get_current_context().obj)


def current_source() -> "Source":
    """Return the source that the command line and the environment variables choose."""
    from rllte.hub.store.source import make_source

    return make_source(**source_options())


def source_and_cell(text: str) -> tuple["Source", Cell]:
    """Return the current source and the cell ``benchmark/agent/env_id`` of its catalogue."""
    source = current_source()
    return source, source.catalogue.cell(*cell_parts(text))


def cells_like(texts: Sequence[str]) -> list[Cell]:
    """Return the cells of names and patterns; a pattern such as ``dmc/*/cartpole*`` means available cells.

    Raises:
        UnknownNameError: There is no such cell.
        HubError: No available cell is like a pattern.
    """
    found: dict[str, Cell] = {}
    for text in texts:
        if not any(sign in text for sign in "*?["):
            cell = source_and_cell(text)[1]
            found[str(cell)] = cell
            continue
        rows = current_source().catalogue.rows("available")
        cells = [Cell(row["benchmark"], row["agent"], row["env_id"]) for row in rows]
        like = {str(cell): cell for cell in cells if fnmatchcase(str(cell), text)}
        if not like:
            raise HubError(f"No available cell is like {text!r}. See them with: rllte-hub list")
        found |= like
    return list(found.values())


def this_folder() -> Path:
    """Return the current folder, for commands that work on a checkout.

    Raises:
        click.UsageError: One of the options --repo, --rev and --remote is given.
    """
    context = click.get_current_context()
    if any(context.obj.values()):
        raise click.UsageError(
            f"--repo, --rev and --remote choose what is loaded; {context.info_name} works on this folder"
        )
    return Path.cwd()
