"""The Arcade Learning Environment (Bellemare et al., 2013) on envpool.

Frames are preprocessed as in Mnih et al., 2015: frame skip 4 with a maximum over the last two frames, 84 × 84
grey pixels, and a stack of 4. Each reset plays 1 to 30 frames of no-ops and FIRE. With ``episodic_life``
there is a reset after each lost life. Actions are never sticky.
"""

from collections.abc import Sequence
from typing import Any

import envpool
import gymnasium as gym
import numpy as np
import torch

from rllte.env.vector import Array, EnvpoolVectorEnv, check_task, discrete_space, integers


class AtariVectorEnv(EnvpoolVectorEnv):
    """Atari games whose ``infos["episode"]`` always covers the whole game, in the game's own score.

    With ``episodic_life`` a lost life terminates an episode, but the game goes on. It is reported when it is
    over.
    """

    stack_size = 4

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
    render_mode: str | None = None,
) -> AtariVectorEnv:
    """Make a vector of Atari games.

    Args:
        env_id: Name of the game, ``<Game>-v5``, such as ``"BeamRider-v5"``.
        num_envs: Number of parallel environments.
        seed: A seed (environment i takes ``seed + i``), or one for each environment.
        device: Device of observations, rewards and flags.
        asynchronous: Whether the caller will split steps into ``step_async`` and ``step_wait``, to compute
            while envpool's threads play. It changes nothing: both ways are always available, with the same
            results.
        episodic_life: Whether a lost life ends an episode, which is useful in training.
        reward_clip: Whether rewards are clipped to their sign, which is useful in training.
        num_threads: Number of envpool's threads; 0 lets envpool choose. Results do not depend on it.
        render_mode: ``"rgb_array"`` if frames are wanted from ``render()``: the screen in colour, 160 × 210
            pixels.

    Returns:
        Environments with observations ``(num_envs, 4, 84, 84)`` uint8 and the game's own discrete actions. A
        game is truncated after 27,000 agent steps (108,000 frames).

    Raises:
        UnknownNameError: envpool has no such game.
    """
    del asynchronous  # part of the interface only: envpool can always step asynchronously
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
        render_mode=render_mode,
    )
