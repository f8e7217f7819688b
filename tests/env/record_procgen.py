"""Record the original Procgen, for test_procgen_trace.py to replay on ours.

The original package, procgen 0.10.7, has wheels up to Python 3.10 only, so it has an environment of its own::

    python3.10 -m venv original
    original/bin/pip install procgen==0.10.7
    original/bin/python tests/env/record_procgen.py

The script writes procgen_trace.npz beside itself, the same arrays on every run:

* ``games``: ``(num_games,)`` names; ``actions``: ``(num_steps,)`` uint8, the same for all games;
* ``levels``: ``(num_games, num_runs)``, the ``start_level`` of each run, where ``num_levels`` is 1;
* ``rewards`` and ``dones``: ``(num_games, num_runs, num_steps)``;
* ``frames``: ``(num_games, num_runs, num_frames, 64, 64, 3)`` uint8, and ``frame_steps``: how many steps
  came before each frame.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from procgen import ProcgenGym3Env
from procgen.env import ENV_NAMES

NUM_STEPS = 1100  # most games time out after 1,000
NUM_RUNS = 2
TRACE = Path(__file__).with_name("procgen_trace.npz")


def play(game: str, level: int, actions: np.ndarray) -> dict[str, np.ndarray]:
    """Return rewards and dones ``(num_steps,)`` and frames ``(num_steps + 1, 64, 64, 3)``."""
    env = ProcgenGym3Env(
        num=1,
        env_name=game,
        num_levels=1,
        start_level=level,
        distribution_mode="easy",
        rand_seed=0,
        num_threads=0,
    )
    steps = [env.observe()]
    for action in actions:
        env.act(np.array([action]))
        steps.append(env.observe())
    rewards, obs, dones = zip(*steps, strict=True)
    return {
        "rewards": np.concatenate(rewards[1:]),
        "dones": np.concatenate(dones[1:]),
        "frames": np.concatenate([frame["rgb"] for frame in obs]),
    }


def telling_runs(game: str, actions: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    """Yield the runs, from level 0 on, in which the actions earn a reward and an episode ends.

    Of their frames these stay: the reset's, the ones before and after the first end of an episode, the last.
    """
    for level in itertools.count():
        run = play(game, level, actions)
        if run["rewards"].any() and run["dones"].any():
            end = int(run["dones"].argmax())
            steps = np.array([0, end, end + 1, len(actions)])
            yield {**run, "levels": np.array(level), "frame_steps": steps, "frames": run["frames"][steps]}


def main() -> None:
    """Write the trace."""
    actions = np.random.default_rng(0).integers(0, 15, NUM_STEPS, dtype=np.uint8)
    runs = [list(itertools.islice(telling_runs(game, actions), NUM_RUNS)) for game in ENV_NAMES]
    arrays = {key: np.array([[run[key] for run in game] for game in runs]) for key in runs[0][0]}
    np.savez_compressed(TRACE, games=np.array(ENV_NAMES), actions=actions, **arrays)


if __name__ == "__main__":
    main()
