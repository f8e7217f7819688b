"""Specs: all settings of a cell, checked."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from rllte.agent.settings import TrainSettings
from rllte.errors import HubError, UnknownNameError
from rllte.files import sha256
from rllte.names import Cell, Run
from rllte.recipes.checked import checked, has_default

FORMAT_VERSION = 1
"""Version of the files' formats, as docs/formats.md describes them."""

SCALES = ("published", "paper")


@dataclass(frozen=True)
class EvaluationSettings:
    """How final scores are made.

    Attributes:
        num_episodes: Of each seed.
        num_envs: Environments that play them, the same number each.
        deterministic: Whether the most probable action is taken or one is drawn.
        num_threads: PyTorch's CPU threads.
    """

    num_episodes: int
    num_envs: int
    deterministic: bool
    num_threads: int


@dataclass(frozen=True)
class Spec:
    """All settings of a cell.

    Attributes:
        cell: Whose settings they are.
        scale: ``"published"`` (what this repository's artifacts were trained with) or ``"paper"``.
        version: Of the agent's behaviour.
        source: Where the hyper-parameters come from.
        num_train_steps: Budget in env steps.
        env: Options of the environments, for ``training`` and for ``evaluation``; other keys are further
            conditions to evaluate under, each a split of the scores.
        train: How training is run and watched.
        evaluation: How scores are made.
        hyperparameters: The agent's ``Config``.
        device: Where the networks are trained.
    """

    cell: Cell
    scale: str
    version: int
    source: str
    num_train_steps: int
    env: dict[str, Any]
    train: TrainSettings
    evaluation: EvaluationSettings
    hyperparameters: Any
    device: str = "cpu"

    @property
    def splits(self) -> dict[str, str]:
        """Return the splits of the scores, each with its key in ``env``."""
        return {"eval": "evaluation"} | {
            key: key for key in self.env if key not in ("training", "evaluation")
        }

    def training(self) -> dict[str, Any]:
        """Return the settings that decide the bytes of a training run, as plain values."""
        settings = dataclasses.asdict(self)
        del settings["source"], settings["evaluation"]
        # a setting at its default is left out, so that a new one does not rename what was trained before
        for field in dataclasses.fields(self.hyperparameters):
            if has_default(field) and getattr(self.hyperparameters, field.name) == field.default:
                del settings["hyperparameters"][field.name]
        if self.device == "cpu":
            del settings["device"]
        return {**settings, "cell": str(self.cell)}

    @property
    def hash(self) -> str:
        """Sixteen hexadecimal digits that name the settings of training."""
        return sha256(json.dumps(self.training(), sort_keys=True).encode())[:16]

    def describe(self, run: Run) -> dict[str, str]:
        """Return what a published file says of itself."""
        return {
            "format": str(FORMAT_VERSION),
            "run": str(run),
            "scale": self.scale,
            "num_train_steps": str(self.num_train_steps),
            "spec": self.hash,
        }


def override(spec: Spec, changes: dict[str, Any]) -> Spec:
    """Return a spec with some settings changed by name.

    Raises:
        UnknownNameError: No such setting.
        HubError: A value of the wrong kind.
    """
    parts = {"train": spec.train, "hyperparameters": spec.hyperparameters}
    known = {field.name: part for part, value in parts.items() for field in dataclasses.fields(value)}
    for name, value in changes.items():
        if name == "num_train_steps":
            raise HubError("num_train_steps is an argument of train: .train(num_train_steps=…)")
        if name not in known:
            raise UnknownNameError("setting", name, known, where=str(spec.cell))
        part = parts[known[name]]
        values = {**dataclasses.asdict(part), name: value}
        parts[known[name]] = checked(type(part), values, f"settings of {spec.cell}")
    return dataclasses.replace(spec, **parts)
