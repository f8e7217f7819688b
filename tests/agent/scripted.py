"""Environments that follow a script and a network small enough to compute in one's head."""

import gymnasium as gym
import numpy as np
import torch

from rllte.agent.encoders import ENCODERS, Encoder
from rllte.agent.settings import TrainSettings

SETTINGS = TrainSettings(
    num_points=1,
    num_eval_episodes=1,
    num_eval_envs=1,
    deterministic=True,
    checkpoint_steps=1000,
    num_threads=1,
)
ON_POLICY = {
    "num_envs": 2, "num_steps": 3, "batch_size": 2, "n_epochs": 1, "learning_rate": 1e-3, "adam_eps": 1e-5,
    "gamma": 0.5, "gae_lambda": 1.0, "normalize_advantage": "none", "ent_coef": 0.0, "vf_coef": 0.5,
    "max_grad_norm": 1e6, "encoder": "plain", "feature_dim": 1, "hidden_dim": 0,
}  # fmt: skip
OFF_POLICY = {
    "num_envs": 2, "buffer_size": 100, "learning_starts": 4, "batch_size": 4, "learning_rate": 1e-3,
    "adam_eps": 1e-8, "gamma": 0.5, "tau": 0.25, "hidden_dim": 4,
}  # fmt: skip


class PlainEncoder(Encoder):
    """The observation itself."""

    memory_format = torch.contiguous_format

    def __init__(self, obs_shape, feature_dim):
        super().__init__()

    def forward(self, obs):
        return obs.float()


class Scripted:
    """Environment i shows 100 i + the age of its episode; the reward of a step is the age it leads to.

    Args:
        num_envs: How many.
        ends: ``{(step, env): "terminated", "truncated" or "both"}``, where the first step is 1.
        action_space: Two actions, or one number.
        obs_shape: Filled with the number that an environment shows.
    """

    def __init__(self, num_envs, ends, action_space, obs_shape=(1,), dtype=np.float32):
        self.num_envs, self.ends = num_envs, ends
        self.single_observation_space = gym.spaces.Box(0, 255, obs_shape, dtype)
        self.single_action_space = action_space
        self.calls, self.actions = [], []
        self.steps, self.age = 0, np.zeros(num_envs, int)

    def _obs(self):
        numbers = torch.from_numpy(self.age + 100 * np.arange(self.num_envs)).float()
        shape = self.single_observation_space.shape
        return numbers.reshape(-1, *[1] * len(shape)).expand(-1, *shape).clone()

    def reset(self):
        self.steps, self.age = 0, np.zeros(self.num_envs, int)
        return self._obs(), {}

    def step_async(self, actions):
        self.calls.append("step_async")
        self.actions.append(actions.clone())

    def step_wait(self):
        self.calls.append("step_wait")
        self.steps, self.age = self.steps + 1, self.age + 1
        rewards = torch.from_numpy(self.age).float()
        how = [self.ends.get((self.steps, env)) for env in range(self.num_envs)]
        terminated, truncated = (
            torch.tensor([one in (kind, "both") for one in how]) for kind in ("terminated", "truncated")
        )
        infos, ended = {}, (terminated | truncated).numpy()
        if ended.any():
            returns = self.age * (self.age + 1) / 2
            infos = {
                "final_obs": self._obs(),
                "episode": {"r": returns * ended, "l": self.age * ended},
                "_episode": ended,
            }
            self.age[ended] = 0
        return self._obs(), rewards, terminated, truncated, infos

    def step(self, actions):
        self.step_async(actions)
        return self.step_wait()

    def close(self):
        self.calls.append("close")


TWO_ACTIONS, ONE_NUMBER = gym.spaces.Discrete(2), gym.spaces.Box(-1.0, 1.0, (1,), np.float32)


def make(agent_class, monkeypatch, settings=SETTINGS, ends=(), action_space=TWO_ACTIONS, space=(), **config):
    """Return an agent and a list of the environments that it has made; ``space`` is their shape and dtype."""
    monkeypatch.setitem(ENCODERS, "plain", PlainEncoder)
    made = []

    def make_envs(num_envs, seeds, training):
        envs = Scripted(num_envs, dict(ends), action_space, *space)
        envs.seeds, envs.training = list(seeds), training
        made.append(envs)
        return envs

    agent = agent_class(agent_class.Config(**config), settings, make_envs, seed=0)
    return agent, made


def constant(network, value):
    """Make a network's output the same everywhere."""
    for parameter in network.parameters():
        parameter.data.zero_()
    list(network.parameters())[-1].data.fill_(value)
