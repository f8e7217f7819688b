"""Play the stored evaluation of a run again, with the model that users load."""

from typing import Any

import numpy as np

from rllte import tables, torchscript
from rllte.hub.store.cache import fetch
from rllte.hub.store.source import Source
from rllte.names import Run
from rllte.recipes.project import Project
from rllte.stages.evaluate import play


def replay(source: Source, run: Run, *, trust_repo: bool = False) -> list[dict[str, Any]]:
    """Play the stored episodes of a run again, and return one row for each, in order.

    Args:
        source: Where the run is published.
        run: The run.
        trust_repo: The same as in ``load_models``.

    Returns:
        Rows with ``split``, ``episode``, the ``published`` return and the ``replayed`` one. On the kind of
        machine that made the scores the two are equal. Another kind may round sums differently, and an
        episode may then take another course.

    Raises:
        MissingArtifactError: The run is not available, or its model or scores cannot be fetched.
    """
    catalogue = source.catalogue
    cell = catalogue.cell(run.cell.benchmark, run.cell.agent, run.cell.env_id)
    artifacts = {kind: catalogue.artifact(Run(cell, run.seed), kind) for kind in ("model", "scores")}
    model = torchscript.load(
        fetch(source, artifacts["model"]), artifacts["model"].path, trust_repo=trust_repo
    )
    stored = tables.read_parquet(fetch(source, artifacts["scores"]), tables.SCORES, artifacts["scores"].path)
    spec, rows = Project(source.root).spec(cell), []
    for split in spec.splits:
        published = [row for row in stored.to_pylist() if row["split"] == split]
        episodes = play(spec, model, run.seed, len(published), split=split)
        returns = episodes.returns.astype(np.float32)  # scores are stored as float32
        for row, replayed in zip(published, returns.tolist(), strict=True):
            rows.append(
                {
                    "split": split,
                    "episode": row["episode"],
                    "published": row["episode_return"],
                    "replayed": replayed,
                }
            )
    return rows
