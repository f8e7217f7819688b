"""Specs: the checked settings of a cell."""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from rllte.agent.settings import TrainSettings, between, count
from rllte.errors import HubError, UnknownNameError
from rllte.files import sha256
from rllte.names import Cell, Run
from rllte.recipes.checked import checked, has_default

FORMAT_VERSION = 1
"""The version of the file formats that docs/reference/formats.md describes."""

SCALES = ("published", "paper")


@dataclass(frozen=True)
class EvaluationSettings:
    """How final scores are made.

    Attributes:
        num_episodes: The number of episodes of each seed and split.
        num_envs: The number of parallel environments; each plays the same number of episodes.
        deterministic: Whether to take the policy's most probable action (True) or to sample one (False).
        num_threads: The number of CPU threads of PyTorch.
    """

    num_episodes: int
    num_envs: int
    deterministic: bool
    num_threads: int


@dataclass(frozen=True)
class DemonstrationSettings:
    """How demonstrations are made.

    Attributes:
        num_episodes: The number of episodes of a dataset.
        num_envs: The number of environments that play at the same time, one episode each.
        noise: The noise of the level ``noise``. Where actions are discrete, it is the probability with which
            a uniformly random action replaces the policy's; where they are continuous, it is the standard
            deviation of the Gaussian noise that is added to each number, before it is clipped to [-1, 1].
        num_threads: The number of CPU threads of PyTorch.
    """

    num_episodes: int = count()
    num_envs: int = count(1, 10_000)
    noise: float = between(0, 1)
    num_threads: int = count(1, 1024)


@dataclass(frozen=True)
class Spec:
    """All settings of a cell.

    Attributes:
        cell: The cell that the settings belong to.
        scale: The set of hyper-parameters and budgets: ``"published"`` or ``"paper"``.
        version: The version of the agent's behaviour.
        source: Where the hyper-parameters come from.
        num_train_steps: The budget of a run in env steps.
        env: The options of the environments for ``training`` and ``evaluation``. Each other key gives options
            for a further evaluation, which is a split of the scores.
        train: How training is run and evaluated.
        evaluation: How final scores are made.
        hyperparameters: The hyper-parameters, an instance of the agent's ``Config``.
        device: The PyTorch device that trains the networks.
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
        """The splits of the scores, each with its key in ``env``."""
        return {"eval": "evaluation"} | {
            key: key for key in self.env if key not in ("training", "evaluation")
        }

    def training(self) -> dict[str, Any]:
        """Return, as plain values, the settings that determine the bytes of a training run."""
        settings = dataclasses.asdict(self)
        del settings["source"], settings["evaluation"]
        # Defaults are left out, so that adding a setting does not change the hash of existing runs.
        for field in dataclasses.fields(self.hyperparameters):
            if has_default(field) and getattr(self.hyperparameters, field.name) == field.default:
                del settings["hyperparameters"][field.name]
        if self.device == "cpu":
            del settings["device"]
        return {**settings, "cell": str(self.cell)}

    @property
    def hash(self) -> str:
        """The hash of the training settings, sixteen hexadecimal digits."""
        return sha256(json.dumps(self.training(), sort_keys=True).encode())[:16]

    def describe(self, run: Run) -> dict[str, str]:
        """Return the metadata that is stored in the published files of a run."""
        return {
            "format": str(FORMAT_VERSION),
            "run": str(run),
            "scale": self.scale,
            "num_train_steps": str(self.num_train_steps),
            "spec": self.hash,
        }


def override(spec: Spec, changes: dict[str, Any]) -> Spec:
    """Return a copy of a spec with some settings changed.

    Args:
        spec: The spec to copy.
        changes: The new values, by the names of settings of training or hyper-parameters.

    Raises:
        UnknownNameError: There is no such setting.
        HubError: A value has the wrong type, or ``num_train_steps`` is among the changes.
    """
    parts = {"train": spec.train, "hyperparameters": spec.hyperparameters}
    known = {field.name: part for part, value in parts.items() for field in dataclasses.fields(value)}
    for name, value in changes.items():
        if name == "num_train_steps":
            raise HubError("num_train_steps is not a setting; pass it to train: .train(num_train_steps=…)")
        if name not in known:
            raise UnknownNameError("setting", name, known, where=str(spec.cell))
        part = parts[known[name]]
        values = {**dataclasses.asdict(part), name: value}
        parts[known[name]] = checked(type(part), values, f"settings of {spec.cell}")
    return dataclasses.replace(spec, **parts)
