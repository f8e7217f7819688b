"""Write model cards of Hugging Face: what made a published run, how good it is, and how to load it."""

import html
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rllte.agent.base import Agent
from rllte.errors import printable
from rllte.hub.benchmark import BENCHMARK_CLASSES
from rllte.hub.onnx_export import output_name
from rllte.names import Cell, Run
from rllte.recipes.spec import Spec

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

LICENCE = "LICENSE"
"""The name of the file with the licence, in a repository and in a folder for Hugging Face."""


@dataclass(frozen=True)
class Score:
    """A mean return, as the card shows it.

    Attributes:
        split: The split of the scores.
        name: What the mean was taken over.
        mean: The mean return.
        interval: The 95 % interval of the mean by Student's t; None if there is only one value.
    """

    split: str
    name: str
    mean: float
    interval: tuple[float, float] | None


@dataclass(frozen=True)
class Facts:
    """What a card says of a run.

    Attributes:
        run: The run.
        best_seed: The seed of the cell with the highest mean return.
        row: The row of the cell in the catalogue.
        machine: What the catalogue says of the machine that trained the run.
        spec: The settings that made the run.
        agent: The agent, with the run's weights.
        scores: The scores of the run and of the cell, for each split.
        repository: The URL of the repository, if it has one that others can read.
        commit: The commit that lists the files.
        licence: The text of the repository's licence.
    """

    run: Run
    best_seed: int
    row: dict[str, Any]
    machine: dict[str, Any]
    spec: Spec
    agent: Agent
    scores: list[Score]
    repository: str | None
    commit: str | None
    licence: str | None


def model_card(facts: Facts, files: Iterable[str]) -> str:
    """Return a model card: metadata in YAML, then Markdown.

    Texts of the catalogue are shown as they are. They cannot add markup or metadata.

    Args:
        facts: What the card says.
        files: The names of the files beside the card.
    """
    from huggingface_hub import ModelCardData

    cell = facts.run.cell
    data = ModelCardData(
        model_name=f"{cell.benchmark}-{cell.agent}-{cell.env_id}-seed-{facts.run.seed}",
        license="mit" if _is_mit(facts) else "other",
        library_name="rllte-hub",
        pipeline_tag="reinforcement-learning",
        tags=[
            "reinforcement-learning", "deep-reinforcement-learning", cell.benchmark, cell.env_id, cell.agent,
            "onnx", "safetensors",
        ],
        eval_results=[_eval_result(cell, score) for score in facts.scores],
    )  # fmt: skip
    sections = (_introduction, _score_section, _model_section, _origin_section, _file_section)
    body = "\n\n".join(section(facts, files) for section in sections)
    return f"---\n{data.to_yaml()}\n---\n\n{body}\n"


def _eval_result(cell: Cell, score: Score) -> "EvalResult":
    from huggingface_hub import EvalResult

    return EvalResult(
        task_type="reinforcement-learning",
        task_name="reinforcement learning",
        dataset_type=f"{cell.benchmark}/{cell.env_id}",
        dataset_name=cell.env_id,
        dataset_split=score.split,
        metric_type="mean_reward",
        metric_name=f"mean return of {score.name}",
        metric_value=score.mean,
        metric_args=None if score.interval is None else {"interval_95": list(score.interval)},
    )


def escaped(text: object) -> str:
    """Return a text from a catalogue as one line of Markdown without markup of its own."""
    line = " ".join(printable(str(text)).split())
    return html.escape(re.sub(r"([\\`*_{}\[\]#!|~$@])", r"\\\1", line), quote=False)


def _is_mit(facts: Facts) -> bool:
    return facts.licence is not None and facts.licence.lstrip().startswith("MIT License")


def _introduction(facts: Facts, _files: Iterable[str]) -> str:
    cell, num_seeds = facts.run.cell, len(facts.row["seeds"])
    lines = [
        f"# {cell.agent.upper()} on {escaped(cell.env_id)} ({cell.benchmark})",
        "",
        f"A policy that {cell.agent.upper()} trained for {facts.spec.num_train_steps:,} env steps. It is "
        f"seed {facts.run.seed} of the cell `{cell}` of RLLTE Hub, which has {num_seeds} "
        f"{'seed' if num_seeds == 1 else 'seeds'}.",
    ]
    if num_seeds > 1 and facts.run.seed == facts.best_seed:
        lines += [
            "Of these seeds it has the highest mean return. The best of several seeds is better than a new "
            "training on average: compare with the mean over all seeds."
        ]
    elif num_seeds > 1:
        lines += [f"The highest mean return is that of seed {facts.best_seed}."]
    if "note" in facts.row:
        lines += ["", f"Note: {escaped(facts.row['note'])}"]
    return "\n".join(lines)


def _score_section(facts: Facts, _files: Iterable[str]) -> str:
    lines = ["## Scores", "", "| split | mean return of | mean | 95 % interval |", "|:--|:--|--:|:--|"]
    for score in facts.scores:
        interval = "–" if score.interval is None else "[{:.4g}, {:.4g}]".format(*score.interval)
        lines.append(f"| {escaped(score.split)} | {score.name} | {score.mean:.4g} | {interval} |")
    mode = (
        "most probable or deterministic" if facts.spec.evaluation.deterministic else "drawn from the policy"
    )
    return "\n".join(
        [
            *lines,
            "",
            f"Returns are undiscounted, of {facts.spec.evaluation.num_episodes} whole episodes of each seed "
            f"after the last update, in environments whose seeds training did not use. Actions are {mode}. "
            "The intervals are Student's t: for one seed over its episodes, for all seeds over their means.",
        ]
    )


def _model_section(facts: Facts, _files: Iterable[str]) -> str:
    space, run, output = facts.agent.observation_space, facts.run, output_name(facts.agent)
    hub = BENCHMARK_CLASSES[run.cell.benchmark].__name__
    meaning = {
        "logits": f"The output is the logits of {getattr(facts.agent.action_space, 'n', 0)} actions.",
        "actions": "The output is the action, each number in [-1, 1].",
    }[output]
    shape, dtype = ", ".join(map(str, (1, *space.shape))), space.dtype
    return f"""## Load

The input `obs` is a batch of observations `(batch, {", ".join(map(str, space.shape))})` {dtype}, as the
environments of RLLTE Hub return them. {meaning}

```python
from huggingface_hub import snapshot_download

folder = snapshot_download("USER/MODEL")  # the name of this repository
```

With PyTorch:

```python
import torch

model = torch.jit.load(f"{{folder}}/model.pt")
{output} = model(torch.zeros({shape}, dtype=torch.{dtype}))
```

With onnxruntime:

```python
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(f"{{folder}}/model.onnx")
({output},) = session.run(None, {{"obs": np.zeros(({shape}), np.{dtype})}})
```

With RLLTE Hub, which also has the environments:

```python
from rllte.hub import {hub}

model = {hub}().load_models(agent="{run.cell.agent}", env_id="{run.cell.env_id}", seed={run.seed})
```

```sh
rllte-hub play {run}
```"""


def _origin_section(facts: Facts, _files: Iterable[str]) -> str:
    run, spec, machine = facts.run, facts.spec, facts.machine
    rows: dict[str, object] = {
        "run": run,
        "repository": facts.repository,
        "commit": facts.commit,
        "settings": f"{spec.hash} (version {spec.version}, scale {spec.scale})",
        "source of the settings": spec.source,
        "processor": machine.get("cpu"),
        "GPU": machine.get("gpu"),
        "threads": machine.get("num_threads"),
    }
    table = [f"| {key} | {escaped(value)} |" for key, value in rows.items() if value is not None]
    settings = json.dumps(spec.training(), indent=2, ensure_ascii=True)
    stage = f"{run.cell.stage_file}:train@{run.key}"
    return "\n".join(
        [
            "## What made it",
            "",
            "| | |",
            "|:--|:--|",
            *table,
            "",
            "In a clone of the repository, this command trains the run again. On the same kind of machine "
            "the weights have the same bytes.",
            "",
            f"```sh\ndvc repro -f -s {stage}\n```",
            "",
            "The settings:",
            "",
            f"```json\n{settings}\n```",
        ]
    )


def _file_section(facts: Facts, files: Iterable[str]) -> str:
    meanings = {
        "model.pt": "the model as TorchScript",
        "model.onnx": "the same model in ONNX; on 256 observations its outputs differ by at most 1e-5",
        "model.safetensors": "the weights",
        "config.json": "input, output, settings, scores and hashes",
        "curves.parquet": "the learning curves of all seeds of the cell",
        "replay.mp4": "an episode of seed 0 of the cell, whose return is near the mean of that seed",
        LICENCE: "the licence of the repository that published the run",
    }
    present = {*files, "config.json"}
    lines = [f"- `{name}`: {meaning}" for name, meaning in meanings.items() if name in present]
    licence = "MIT." if _is_mit(facts) else "See the repository that published the run."
    return "\n".join(["## Files", "", *lines, "", "## Licence", "", licence])
