"""What loads return: learning curves and scores, as dictionaries of arrays."""

from typing import TYPE_CHECKING

from rllte.errors import HubError
from rllte.extras import requires_extra

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd
    import pyarrow as pa


class Curves(dict[str, "npt.NDArray[np.float32]"]):
    """Learning curves: ``{"train": …, "eval": …}``, each ``(num_seeds, num_points)``.

    Attributes:
        seeds: ``(num_seeds,)`` int32, the seed of each row, in ascending order.
        train_steps: ``(num_points,)`` int64, the env step of each point of ``"train"``. The values of
            ``"train"`` are NaN until the first training episode has ended.
        eval_steps: ``(num_points,)`` int64, the env step of each point of ``"eval"``.
    """

    seeds: "npt.NDArray[np.int32]"
    train_steps: "npt.NDArray[np.int64]"
    eval_steps: "npt.NDArray[np.int64]"

    def steps(self, split: str) -> "npt.NDArray[np.int64]":
        """Return the env steps of a split, ``(num_points,)``."""
        return self.train_steps if split == "train" else self.eval_steps

    def to_table(self) -> "pa.Table":
        """Return a PyArrow table with a row for each seed, split and point.

        Its columns are ``seed``, ``split``, ``env_step`` and ``episode_return``.
        """
        import numpy as np
        import pyarrow as pa

        parts = [
            {
                "seed": np.repeat(self.seeds, returns.shape[1]),
                "split": [split] * returns.size,
                "env_step": np.tile(self.steps(split), len(self.seeds)),
                "episode_return": returns.ravel(),
            }
            for split, returns in self.items()
        ]
        return pa.concat_tables([pa.table(part) for part in parts])

    def to_pandas(self) -> "pd.DataFrame":
        """Return ``to_table`` as a pandas data frame.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        with requires_extra("Data frames need"):
            import pandas  # noqa: F401  # to_pandas imports it without saying what to install
        return self.to_table().to_pandas()


class ScoreMatrix(dict[str, "npt.NDArray[np.float64]"]):
    """Scores by environment, ``{env_id: (num_seeds, num_episodes)}``; cells may have different seeds.

    Attributes:
        seeds: The seeds of each environment's rows, in ascending order.
    """

    seeds: dict[str, list[int]]

    def means(self) -> "dict[str, npt.NDArray[np.float64]]":
        """Return the mean over episodes for each seed, ``{env_id: (num_seeds,)}``."""
        return {env_id: scores.mean(axis=1) for env_id, scores in self.items()}

    def rectangular(self) -> "npt.NDArray[np.float64]":
        """Return the means ``(num_seeds, num_tasks)`` of the seeds that all environments have.

        Raises:
            HubError: The environments have no seed in common.
        """
        import numpy as np

        common = sorted(set.intersection(*map(set, self.seeds.values()))) if self.seeds else []
        if not common:
            raise HubError(f"The environments have no seed in common: {self.seeds}.")
        means = self.means()
        return np.stack(
            [means[env_id][[own.index(seed) for seed in common]] for env_id, own in self.seeds.items()],
            axis=1,
        )
