"""Write a published run as a folder for Hugging Face: a card, the model in three formats, and its curves."""

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rllte.errors import HubError
from rllte.extras import requires_extra
from rllte.files import new_folder, sha256
from rllte.hub.benchmark import BENCHMARK_CLASSES
from rllte.hub.model_cards import LICENCE, Facts, Score, model_card
from rllte.hub.onnx_export import checked_onnx, load_agent, output_name, published_spec
from rllte.hub.statistics import mean_interval
from rllte.hub.store import git
from rllte.hub.store.cache import fetch
from rllte.hub.store.source import Source
from rllte.names import VIDEO, Cell, Run
from rllte.recipes.spec import Spec


def best_run(source: Source, cell: Cell) -> Run:
    """Return the run of a cell with the highest mean score, the first of equals.

    Raises:
        MissingArtifactError: The cell is planned, or its scores cannot be fetched.
    """
    means = _returns(source, cell, "eval").mean(axis=1, dtype=np.float64)
    return Run(cell, source.catalogue.cells[str(cell)]["seeds"][int(means.argmax())])


def write_huggingface_folder(source: Source, run: Run, folder: Path) -> None:
    """Write a published run as a folder that ``huggingface_hub.upload_folder`` can upload.

    The folder appears when it is complete.

    Args:
        source: Where the run is published.
        run: The run.
        folder: The new folder.

    Raises:
        MissingArtifactError: The run is not available, or its files cannot be fetched.
        MissingExtraError: huggingface_hub, ONNX or onnxruntime is not installed.
        HubError: The folder exists, or the settings are not those of the run.
    """
    if os.path.lexists(folder):
        raise HubError(f"{folder} exists. Delete it, or choose another folder.")
    with requires_extra("Model cards need"):
        import huggingface_hub  # noqa: F401  # say that it is missing before the work begins
    facts = _facts(source, run)
    files = _published_files(source, run)
    files["model.onnx"] = checked_onnx(source, run, facts.spec, facts.agent)
    if facts.licence is not None:
        files[LICENCE] = facts.licence.encode()
    files["config.json"] = (json.dumps(_config(facts, files), indent=2) + "\n").encode()
    files["README.md"] = model_card(facts, files).encode()
    with new_folder(folder) as begun:
        for name, data in files.items():
            (begun / name).write_bytes(data)


def _published_files(source: Source, run: Run) -> dict[str, bytes]:
    """Return the model and the weights of a run, and the curves and the video of its cell."""
    catalogue, video = source.catalogue, run.cell.path(VIDEO)
    artifacts = {
        "model.pt": catalogue.artifact(run, "model"),
        "model.safetensors": catalogue.artifact(run, "policy"),
        "curves.parquet": catalogue.artifact(run.cell, "curves"),
    }
    if video in catalogue.artifacts:
        artifacts["replay.mp4"] = catalogue.artifact(run.cell, VIDEO)
    return {name: fetch(source, artifact) for name, artifact in artifacts.items()}


def _facts(source: Source, run: Run) -> Facts:
    spec = published_spec(source, run)
    licence, url = source.read_file(LICENCE), git.without_password(source.repo)
    policy = source.catalogue.artifacts[run.path("policy")]
    return Facts(
        run=run,
        best_seed=best_run(source, run.cell).seed,
        row=source.catalogue.cells[str(run.cell)],
        machine={key: policy[key] for key in ("cpu", "gpu", "num_threads") if key in policy},
        spec=spec,
        agent=load_agent(source, run, spec),
        scores=_scores(source, run, spec),
        repository=url if re.match(r"(https?|ssh)://|git@", url) else None,
        commit=source.listing_commit,
        licence=None if licence is None else licence.decode(errors="replace"),
    )


def _returns(source: Source, cell: Cell, split: str) -> "npt.NDArray[np.float32]":
    hub = BENCHMARK_CLASSES[cell.benchmark](source.repo, source.rev, source.remote)
    return hub.load_scores(cell.env_id, cell.agent, split)


def _scores(source: Source, run: Run, spec: Spec) -> list[Score]:
    """Return the mean of the run over its episodes and that of the cell over its seeds, for each split."""
    seeds, scores = source.catalogue.cells[str(run.cell)]["seeds"], []
    for split in spec.splits:
        returns = _returns(source, run.cell, split).astype(np.float64)
        of_run, of_seeds = returns[seeds.index(run.seed)], returns.mean(axis=1)
        scores.append(_score(split, f"seed {run.seed}, {len(of_run)} episodes", of_run))
        scores.append(_score(split, f"all {len(seeds)} seeds", of_seeds))
    return scores


def _score(split: str, name: str, values: "npt.NDArray[np.float64]") -> Score:
    low, high = (round(float(end), 4) for end in mean_interval(values))
    return Score(split, name, round(float(values.mean()), 4), (low, high) if len(values) > 1 else None)


def _config(facts: Facts, files: dict[str, bytes]) -> dict[str, Any]:
    """Return the content of config.json: what the model takes and returns, and the settings that made it."""
    cell, agent = facts.run.cell, facts.agent
    return {
        "run": str(facts.run),
        **{key: getattr(cell, key) for key in ("benchmark", "agent", "env_id")},
        "seed": facts.run.seed,
        "observation_space": str(agent.observation_space),
        "action_space": str(agent.action_space),
        "output": output_name(agent),
        "policy_mode": facts.row["policy_mode"],
        "scores": [dataclasses.asdict(score) for score in facts.scores],
        "settings": facts.spec.training(),
        "settings_source": facts.spec.source.strip(),
        "evaluation": dataclasses.asdict(facts.spec.evaluation),
        "spec": facts.spec.hash,
        "commit": facts.commit,
        "sha256": {name: sha256(data) for name, data in sorted(files.items())},
    }
