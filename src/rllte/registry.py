"""Objects that are imported when they are used, and what to install when they cannot be."""

import importlib
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
    "dvc_s3": "s3",
    "ray": "ray",
    "rich": "ray",
}
"""The extra of rllte-hub that installs each optional package."""


def load(target: str, purpose: str = "This needs") -> Any:
    """Import ``"package.module:attribute"``, or a module when no attribute is named.

    Raises:
        MissingExtraError: A package of an optional extra is missing.
    """
    module, _, attribute = target.partition(":")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package not in EXTRA_OF:
            raise
        raise MissingExtraError(purpose, package, EXTRA_OF[package]) from None
    return getattr(found, attribute) if attribute else found
