"""Seeds of simulators: those of training and those of evaluation never meet."""

import numpy as np

_PURPOSES = {"train": 0, "curve": 1, "score": 2, "extend": 3}
_FOR_TRAINING = ("train", "extend")
_HALF = 2**30


def env_seeds(seed: int, purpose: str, index: int, num_envs: int) -> list[int]:
    """Return one simulator seed for each parallel environment.

    Training seeds lie in ``[0, 2**30)``; seeds of the learning curve's evaluations and of the
    final scores in ``[2**30, 2**31)``: disjoint by construction.

    Args:
        seed: The seed of the run.
        purpose: ``"train"``, ``"extend"`` (training again after it has ended), ``"curve"`` (evaluation during
            training) or ``"score"``.
        index: Which segment of training, how many updates it had, or which point of the curve.
        num_envs: How many environments.
    """
    words = np.random.SeedSequence([seed, _PURPOSES[purpose], index]).generate_state(num_envs)
    offset = 0 if purpose in _FOR_TRAINING else _HALF
    return [offset + int(word) % _HALF for word in words]
