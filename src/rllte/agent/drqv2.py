"""DrQ-v2: deterministic policy gradient from images that are shifted at random.

Paper: Yarats et al., 2022, https://arxiv.org/abs/2107.09645. Reference code: facebookresearch/drqv2. This
agent differs from the reference in three ways:

* Images are shifted by whole pixels without interpolation, which is the same up to rounding.
* An episode's last transitions sum fewer than ``n_steps`` rewards. The reference leaves them out.
* Steps of the running episode are sampled, too.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from rllte.agent.ddpg import actor_loss, critic_loss, noisy
from rllte.agent.encoders import PixelCNN, orthogonal
from rllte.agent.frame_replay import FrameReplay
from rllte.agent.networks import TwinCritic, two_layers
from rllte.agent.offpolicy import OffPolicyAgent, OffPolicyConfig, move_target
from rllte.agent.settings import between, count
from rllte.errors import HubError


@dataclass(frozen=True, kw_only=True)
class DrQv2Config(OffPolicyConfig):
    """Settings of DrQ-v2 in addition to those of every off-policy agent.

    Attributes:
        update_interval: Number of env steps between two gradient steps.
        n_steps: Number of rewards that a target sums.
        width: Number of channels of each layer of the encoder.
        feature_dim: Number of features to which actor and critic each reduce an encoded image.
        std_start: Standard deviation of the exploration noise at env step 0.
        std_end: Standard deviation of the exploration noise after ``std_steps``.
        std_steps: Number of env steps over which the standard deviation decreases linearly.
        std_clip: Largest absolute value of the noise that the losses add to actions.
        pad: Largest shift of an image, in pixels.
    """

    update_interval: int = count()
    n_steps: int = count(1, 1000)
    width: int = count(1, 4096)
    feature_dim: int = count(1, 2**16)
    std_start: float = between(0.0, math.inf)
    std_end: float = between(0.0, math.inf)
    std_steps: int = count()
    std_clip: float = between(0.0, math.inf)
    pad: int = count(0, 1000)


class Trunk(nn.Sequential):
    """A linear layer, layer normalisation and tanh, which reduce an encoded image to few features."""

    def __init__(self, fan_in: int, feature_dim: int) -> None:
        linear = orthogonal(nn.Linear(fan_in, feature_dim), 1.0)
        super().__init__(linear, nn.LayerNorm(feature_dim), nn.Tanh())


class PixelActor(nn.Module):
    """Network from encoded images to actions in [-1, 1]."""

    def __init__(self, fan_in: int, config: DrQv2Config, action_dim: int) -> None:
        super().__init__()
        self.trunk = Trunk(fan_in, config.feature_dim)
        self.layers = two_layers(config.feature_dim, config.hidden_dim, action_dim)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return actions ``(batch, action_dim)``."""
        return self.layers(self.trunk(features)).tanh()


class PixelCritic(nn.Module):
    """Network from encoded images and actions to two values."""

    def __init__(self, fan_in: int, config: DrQv2Config, action_dim: int) -> None:
        super().__init__()
        self.trunk = Trunk(fan_in, config.feature_dim)
        self.twin = TwinCritic(config.feature_dim, action_dim, config.hidden_dim)

    def forward(self, features: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both values, each ``(batch,)``."""
        return self.twin(self.trunk(features), actions)


class PixelPolicy(nn.Module):
    """Network from images to actions: the encoder, then the actor."""

    def __init__(self, encoder: PixelCNN, actor: PixelActor) -> None:
        super().__init__()
        self.encoder, self.actor = encoder, actor

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Return actions ``(batch, action_dim)`` in [-1, 1]."""
        return self.actor(self.encoder(obs))


class DrQv2(OffPolicyAgent):
    """An off-policy agent that learns from images."""

    Config = DrQv2Config
    config: DrQv2Config

    def build(self) -> None:
        """Make the networks, their optimizers and the replay."""
        config, (action_dim,) = self.config, self.action_space.shape
        if config.num_envs != 1:
            raise HubError(f"num_envs is {config.num_envs}; DrQ-v2 learns from one environment. Write 1.")
        obs_shape = self.observation_space.shape
        if len(obs_shape) != 3:
            raise HubError(
                f"observations have shape {obs_shape}; DrQ-v2 needs images (channels, height, width)."
            )
        self.encoder = PixelCNN(obs_shape, config.width).to(self.device)
        fan_in = self.encoder.feature_dim
        self.actor = PixelActor(fan_in, config, action_dim).to(self.device)
        self.critic, self.target_critic = (
            PixelCritic(fan_in, config, action_dim).to(self.device) for _ in range(2)
        )
        self.target_critic.requires_grad_(False).load_state_dict(self.critic.state_dict())
        self.policy = PixelPolicy(self.encoder, self.actor)
        self.modules = {"policy": self.policy, "critic": self.critic, "target_critic": self.target_critic}
        self.optimizers = {
            "actor": self.make_optimizer(self.actor.parameters()),
            "critic": self.make_optimizer(self.encoder.parameters(), self.critic.parameters()),
        }
        self.replay = FrameReplay(config.buffer_size, obs_shape, action_dim, config.n_steps, self.device)

    @property
    def noise(self) -> float:
        """Standard deviation of the noise on actions at the current env step."""
        config = self.config
        fraction = min(1.0, self.env_step / config.std_steps)
        return config.std_start + fraction * (config.std_end - config.std_start)

    def explore(self, obs: torch.Tensor) -> torch.Tensor:
        """Return the policy's actions with exploration noise."""
        return noisy(self.policy(obs), self.noise, self.generator)

    def learn(self, env_step: int) -> None:
        """Every ``update_interval`` env steps, take a gradient step for encoder, critics and actor."""
        config = self.config
        if env_step % config.update_interval:
            return
        batch = self.sample()
        features = self.encoder(random_shift(batch.obs, config.pad, self.generator))
        with torch.no_grad():
            next_features = self.encoder(random_shift(batch.next_obs, config.pad, self.generator))
            next_actions = noisy(self.actor(next_features), self.noise, self.generator, config.std_clip)
        encoded = batch._replace(obs=features, next_obs=next_features)
        self.optimizers["critic"].zero_grad()
        critic_loss(self.critic, self.target_critic, encoded, next_actions).backward()
        self.optimizers["critic"].step()

        features = features.detach()
        actions = noisy(self.actor(features), self.noise, self.generator, config.std_clip)
        self.optimizers["actor"].zero_grad()
        actor_loss(actions, features, self.critic).backward(inputs=list(self.actor.parameters()))
        self.optimizers["actor"].step()
        move_target(self.target_critic, self.critic, config.tau)


def random_shift(images: torch.Tensor, pad: int, generator: torch.Generator) -> torch.Tensor:
    """Return images that are each shifted at random by up to ``pad`` pixels; border pixels are repeated.

    Args:
        images: ``(batch, channels, height, width)``.
        pad: Largest shift in each direction, in pixels.
        generator: Random generator of the shifts.

    Returns:
        Images of the same shape and dtype, in channels-last layout.
    """
    batch, _, height, width = images.shape
    shift = torch.randint(2 * pad + 1, (2, batch, 1), generator=generator, device=images.device) - pad
    rows = (torch.arange(height, device=images.device) + shift[0]).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) + shift[1]).clamp(0, width - 1)
    which = torch.arange(batch, device=images.device)[:, None, None]
    shifted = images.permute(0, 2, 3, 1)[which, rows[:, :, None], columns[:, None, :]]
    return shifted.permute(0, 3, 1, 2)
