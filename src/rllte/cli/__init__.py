"""The ``rllte-hub`` command: each command reads options, calls one function and prints the result."""

import click

from rllte.cli import browse, compare, run, stages, store
from rllte.cli.options import Group
from rllte.kernels import use_chosen_kernels


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rllte-hub")
@click.option("--repo", help="A checkout or a git URL to load from; default: RLLTE_HUB_REPO, else this one.")
@click.option("--rev", help="The tag, branch or commit to load; default: RLLTE_HUB_REV.")
@click.option("--remote", help="The DVC remote to download from; default: RLLTE_HUB_REMOTE.")
@click.pass_context
def main(context: click.Context, repo: str | None, rev: str | None, remote: str | None) -> None:
    """Trained agents, learning curves and scores of reinforcement learning, versioned as data.

    CELL is benchmark/agent/env_id, such as minigrid/ppo/Empty-6x6-v0; RUN adds /seed-0.
    """
    use_chosen_kernels()
    context.obj = {"repo": repo, "rev": rev, "remote": remote}


for command in (*browse.COMMANDS, *compare.COMMANDS, *store.COMMANDS, *run.COMMANDS, *stages.COMMANDS):
    main.add_command(command)
