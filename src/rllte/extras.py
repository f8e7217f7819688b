"""Optional packages: import them when they are needed, or raise an error that says what to install."""

import importlib
import logging
import os
import sys
import warnings
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
    "minari": "minari",
    "PIL": "minari",
    "av": "video",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
    "huggingface_hub": "huggingface",
    "dvc_s3": "s3",
    "ray": "ray",
    "rich": "ray",
    "jinja2": "site",
    "zensical": "site",
    "material": "bench",
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
    with requires_extra(purpose), process_unchanged():
        return getattr(importlib.import_module(module), attribute)


@contextmanager
def process_unchanged() -> Iterator[None]:
    """Undo what imports inside the block do to the process besides importing.

    envpool sets ``MPLBACKEND``, which would turn off the plots of a user's notebook, and ``MPLCONFIGDIR``.
    dm_control installs a handler of the root logger. DVC wraps the standard streams, and silences the loggers
    of asyncio and aiohttp. Several packages add filters of warnings.
    """
    environment, root = dict(os.environ), logging.getLogger()
    handlers, streams = list(root.handlers), (sys.stdout, sys.stderr)
    levels = {logger: logger.level for logger in (root, *map(logging.getLogger, ("asyncio", "aiohttp")))}
    try:
        with warnings.catch_warnings():
            yield
    finally:
        for name in set(os.environ) - set(environment):
            del os.environ[name]
        os.environ.update(environment)
        root.handlers[:] = handlers
        for logger, level in levels.items():
            logger.setLevel(level)
        sys.stdout, sys.stderr = streams
