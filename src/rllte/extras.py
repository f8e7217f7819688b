"""Optional packages: import them when they are needed, or raise an error that says what to install."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rllte.errors import MissingExtraError

EXTRA_OF = {
    "torch": "torch",
    "safetensors": "train",
    "dm_control": "train",
    "envpool": "train",
    "gymnasium": "train",
    "minigrid": "train",
    "matplotlib": "plot",
    "scipy": "plot",
    "tensorboard": "logs",
    "pandas": "pandas",
    "dvc_s3": "s3",
    "ray": "ray",
    "rich": "ray",
}
"""The extra of rllte-hub that installs each optional package."""


@contextmanager
def requires_extra(purpose: str) -> Iterator[None]:
    """Convert a failed import inside the block into an error that names the extra to install.

    Args:
        purpose: The first words of the error message, such as ``"Training needs"``.

    Raises:
        MissingExtraError: A package of an optional extra is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in EXTRA_OF:
            raise
        raise MissingExtraError(purpose, package, EXTRA_OF[package]) from None


def load(target: str, purpose: str) -> Any:
    """Import and return an object by its name.

    Args:
        target: The name, ``"package.module:attribute"``, as in the tables AGENTS and ENVS.
        purpose: The first words of the error message, such as ``"Training needs"``.

    Raises:
        MissingExtraError: A package of an optional extra is missing.
    """
    module, _, attribute = target.partition(":")
    with requires_extra(purpose):
        return getattr(importlib.import_module(module), attribute)
