"""stable-baselines3's agents with our settings; everything that we have no setting for is its default."""

from typing import Any

import gymnasium as gym
import stable_baselines3
import torch
from originals import ControlEnv
from stable_baselines3.common import vec_env as vec_envs
from stable_baselines3.common.env_util import make_atari_env, make_vec_env
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import nn

from rllte.agent.ppo import PPOConfig
from rllte.agent.sac import SACConfig


class ViewEncoder(BaseFeaturesExtractor):
    """The layers of our ``MiniGridCNN`` as convolutions; views come as ``(batch, 3, 7, 7)`` float32."""

    def __init__(self, observation_space: gym.spaces.Box, features_dim: int) -> None:
        super().__init__(observation_space, features_dim)
        self.layers = nn.Sequential(
            nn.Conv2d(observation_space.shape[0], 16, 2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 2), nn.ReLU(),
            nn.Conv2d(32, 64, 2), nn.ReLU(),
            nn.Flatten(), nn.Linear(64, features_dim), nn.ReLU(),
        )  # fmt: skip

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        return self.layers(observations)


def ppo(env: vec_envs.VecEnv, settings: PPOConfig, **options: Any) -> stable_baselines3.PPO:
    """Return PPO on images; advantages are normalised per minibatch or not at all."""
    same = (
        "learning_rate", "batch_size", "n_epochs", "gamma", "gae_lambda", "clip_range", "clip_range_vf",
        "ent_coef", "vf_coef", "max_grad_norm",
    )  # fmt: skip
    return stable_baselines3.PPO(
        "CnnPolicy",
        env,
        n_steps=settings.num_steps,
        normalize_advantage=settings.normalize_advantage != "none",
        seed=0,
        device="cpu",
        **{name: getattr(settings, name) for name in same},
        **options,
    )


def atari(env_id: str, settings: PPOConfig, vec_env: str) -> stable_baselines3.PPO:
    """Return PPO on a game: frame skip 4, 84 × 84 grey, a stack of 4, one life, clipped rewards."""
    game = f"ale_py:{env_id.removesuffix('-v5')}NoFrameskip-v4"  # AtariWrapper skips the frames
    env = make_atari_env(game, settings.num_envs, seed=0, vec_env_cls=getattr(vec_envs, vec_env))
    optimizer = {"eps": settings.adam_eps}
    policy = {"features_extractor_kwargs": {"features_dim": settings.feature_dim}}
    return ppo(
        vec_envs.VecFrameStack(env, 4), settings, policy_kwargs={**policy, "optimizer_kwargs": optimizer}
    )


def minigrid(env_id: str, settings: PPOConfig, vec_env: str) -> stable_baselines3.PPO:
    """Return PPO with our network on a grid world whose observation is the agent's view alone."""
    from minigrid.wrappers import ImgObsWrapper

    env = make_vec_env(
        f"minigrid:MiniGrid-{env_id}",
        settings.num_envs,
        seed=0,
        wrapper_class=ImgObsWrapper,
        vec_env_cls=getattr(vec_envs, vec_env),
    )
    policy = {
        "features_extractor_class": ViewEncoder,
        "features_extractor_kwargs": {"features_dim": settings.feature_dim},
        "normalize_images": False,
        "net_arch": {"pi": [settings.hidden_dim], "vf": [settings.hidden_dim]},
        "activation_fn": nn.Tanh,
        "optimizer_kwargs": {"eps": settings.adam_eps},
    }
    return ppo(env, settings, policy_kwargs=policy)


def dmc(env_id: str, settings: SACConfig, vec_env: str) -> stable_baselines3.SAC:
    """Return SAC on the state of a control task, with a gradient step for each env step."""
    env = make_vec_env(
        ControlEnv,
        settings.num_envs,
        seed=0,
        env_kwargs={"env_id": env_id},
        vec_env_cls=getattr(vec_envs, vec_env),
    )
    same = (
        "learning_rate", "buffer_size", "learning_starts", "batch_size", "tau", "gamma",
        "target_update_interval",
    )  # fmt: skip
    return stable_baselines3.SAC(
        "MlpPolicy",
        env,
        train_freq=1,
        gradient_steps=-1,  # as many as env steps
        ent_coef=f"auto_{settings.initial_temperature}",
        policy_kwargs={"net_arch": [settings.hidden_dim] * 2, "optimizer_kwargs": {"eps": settings.adam_eps}},
        seed=0,
        device="cpu",
        **{name: getattr(settings, name) for name in same},
    )


MODELS = {"atari": atari, "dmc": dmc, "minigrid": minigrid}
