"""What the commands share: options, and the source and the checkout that they work on."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rllte.errors import HubError
from rllte.names import Cell, cell_parts

if TYPE_CHECKING:
    from rllte.hub.store.source import Source

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
trust_repo = click.option(
    "--trust-repo", is_flag=True, help="Load models with code that this package's own do not have."
)


class Group(click.Group):
    """A group whose errors of this package and of the disk become one line and exit code 1."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click's own: whoever read has read enough
            raise
        except (HubError, OSError) as error:
            raise click.ClickException(str(error)) from None


def source_options() -> dict[str, str | None]:
    """Return the options of the command line that choose what is loaded: ``repo``, ``rev`` and ``remote``."""
    return dict(click.get_current_context().obj)


def current_source() -> "Source":
    """Return the source that the command line and the environment name."""
    from rllte.hub.store.source import make_source

    return make_source(**source_options())


def source_and_cell(text: str) -> tuple["Source", Cell]:
    """Return the current source and a cell of its catalogue, as ``benchmark/agent/env_id`` names it."""
    source = current_source()
    return source, source.catalogue.cell(*cell_parts(text))


def this_folder() -> Path:
    """Return the checkout that a command works on, which loads nothing from elsewhere."""
    context = click.get_current_context()
    if any(context.obj.values()):
        raise click.UsageError(
            f"--repo, --rev and --remote choose what is loaded; {context.info_name} works on this folder"
        )
    return Path.cwd()
