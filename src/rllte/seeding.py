"""Derive the seeds of simulators; training and evaluation never use the same seed."""

import numpy as np

_PURPOSES = {"train": 0, "curve": 1, "score": 2, "extend": 3, "demonstrate": 4}
_FOR_TRAINING = ("train", "extend")
_HALF = 2**30


def env_seeds(seed: int, purpose: str, index: int, num_envs: int) -> list[int]:
    """Return one simulator seed for each parallel environment.

    Training seeds lie in ``[0, 2**30)``. Seeds for the learning curve's evaluations, for the final scores
    and for demonstrations lie in ``[2**30, 2**31)``. The two sets are therefore disjoint.

    Args:
        seed: The seed of the run.
        purpose: What the environments are for: ``"train"``, ``"extend"`` (training that continues within a
            segment in which it had ended), ``"curve"`` (evaluation during training), ``"score"`` (final
            scores) or ``"demonstrate"`` (demonstrations).
        index: A number that keeps the seeds of one purpose apart: the training segment (``"train"``), the
            number of updates so far (``"extend"``), the point of the curve (``"curve"``), the set of
            episodes (``"score"``), or the level (``"demonstrate"``).
        num_envs: The number of environments.
    """
    words = np.random.SeedSequence([seed, _PURPOSES[purpose], index]).generate_state(num_envs)
    offset = 0 if purpose in _FOR_TRAINING else _HALF
    return [offset + int(word) % _HALF for word in words]
