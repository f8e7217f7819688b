"""Play the stored evaluation of a run again, with the model that users load."""

import math
from typing import Any, NamedTuple

import numpy as np

from rllte import tables, torchscript
from rllte.hub.statistics import welch
from rllte.hub.store.cache import fetch
from rllte.hub.store.source import Source
from rllte.names import Run
from rllte.recipes.project import Project
from rllte.stages.evaluate import play
from rllte.stages.train import cpu_name


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


LEVEL = 0.01
"""Level of the test by which replayed returns are told from published ones."""


class Verdict(NamedTuple):
    """What a replay shows.

    Attributes:
        agrees: Whether all returns are equal, or their means are compatible.
        text: The same in words, with both means and both processors unless all returns are equal.
    """

    agrees: bool
    text: str


def judge(source: Source, run: Run, rows: list[dict[str, Any]]) -> Verdict:
    """Judge a replay: the same returns, other returns with compatible means, or means that differ.

    Another processor rounds sums differently, so an episode may take another course there. Then the means of
    each split are compared by Welch's test at ``LEVEL``.

    Args:
        source: Where the run is published.
        run: The run.
        rows: What ``replay`` returned.
    """
    equal = sum(row["published"] == row["replayed"] for row in rows)
    counted = f"{equal} of {len(rows)} returns are as published"
    if equal == len(rows):
        return Verdict(True, counted)
    row = source.catalogue.artifacts[run.path("policy")]
    published_on = row.get("cpu", "a processor that the catalogue does not name")
    agrees, lines = True, [f"{counted}. Published from {published_on}; this is {cpu_name()}."]
    for split in dict.fromkeys(row["split"] for row in rows):
        pairs = [(row["published"], row["replayed"]) for row in rows if row["split"] == split]
        published, replayed = np.array(pairs, np.float64).T
        difference = welch(replayed, published)
        if math.isnan(difference.p_value):  # no return varies
            compatible = math.isclose(published.mean(), replayed.mean(), rel_tol=1e-3)
            test = "no return varies"
        else:
            compatible = difference.p_value >= LEVEL
            test = f"Welch's test, p = {difference.p_value:.3g}, level {LEVEL}"
        agrees &= compatible
        lines.append(
            f"{split}: mean {published.mean():.4g} published, {replayed.mean():.4g} replayed: "
            f"{'compatible' if compatible else 'they differ'} ({test})."
        )
    return Verdict(agrees, "\n".join(lines))
