"""Options that commands share, and the source and the checkout that commands work on."""

from pathlib import Path
from typing import TYPE_CHECKING

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


def source_options() -> dict[str, str | None]:
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
