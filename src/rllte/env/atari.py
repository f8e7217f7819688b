"""The Arcade Learning Environment (Bellemare et al., 2013) on envpool.

Frames are preprocessed as in Mnih et al., 2015: frame skip 4 with a maximum over the last two, 84 × 84 grey,
a stack of 4, 1 to 30 frames of no-ops and FIRE at each reset, which with ``episodic_life`` is after each lost
life; actions are never sticky.
"""

from collections.abc import Sequence
from typing import Any

import envpool
import gymnasium as gym
import numpy as np
import torch

from rllte.env.vector import Array, EnvpoolVectorEnv, check_task, discrete_space, integers


class AtariVectorEnv(EnvpoolVectorEnv):
    """Games whose ``infos["episode"]`` is always that of the whole game in its own score.

    With ``episodic_life`` a lost life terminates an episode; the game goes on, and is reported when it
    is over.
    """

    def _outcome(self, rewards: Array, ended: Array, info: dict[str, Any]) -> tuple[Array, Array]:
        limit = self._pool.spec.config.max_episode_steps
        return info["reward"], ended & (info["terminated"].astype(bool) | (info["elapsed_step"] >= limit))


def make_envpool_atari_env(
    env_id: str = "Pong-v5",
    num_envs: int = 8,
    seed: int | Sequence[int] = 0,
    device: str | torch.device = "cpu",
    asynchronous: bool = False,
    episodic_life: bool = False,
    reward_clip: bool = False,
    num_threads: int = 0,
) -> AtariVectorEnv:
    """Make a vector of Atari games.

    Args:
        env_id: ``<Game>-v5``, such as ``"BeamRider-v5"``.
        num_envs: How many games.
        seed: A seed (environment i takes ``seed + i``), or one for each environment.
        device: Where observations, rewards and flags go.
        asynchronous: Whether the caller will split steps into ``step_async`` and ``step_wait``, to compute
            while envpool's threads play. Both ways give the same results, and both are always there.
        episodic_life: Whether losing a life ends an episode; of use in training.
        reward_clip: Whether rewards are clipped to their sign; of use in training.
        num_threads: envpool's threads; 0 lets it choose. Results do not depend on it.

    Returns:
        Observations ``(num_envs, 4, 84, 84)`` uint8, the game's own discrete actions; games of at most
        27,000 agent steps (108,000 frames), then truncated.

    Raises:
        UnknownNameError: envpool has no such game.
    """
    del asynchronous  # a word of the interface: envpool is always asynchronous beneath
    games = [name for name, spec in envpool.registration.registry.specs.items() if spec[0] == "envpool.atari"]
    check_task("atari", env_id, env_id, {name: name for name in games})
    return AtariVectorEnv(
        env_id,
        num_envs=num_envs,
        seed=seed,
        device=device,
        observation_space=lambda space: gym.spaces.Box(0, 255, space.shape or (), np.uint8),
        action_space=discrete_space,
        read_obs=lambda raw: raw,
        write_action=integers,
        episodic_life=episodic_life,
        reward_clip=reward_clip,
        num_threads=num_threads,
    )
