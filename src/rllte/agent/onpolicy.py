"""What on-policy agents with discrete actions share: collecting rollouts, and training on minibatches."""

import abc
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from rllte.agent.base import Agent
from rllte.agent.encoders import ENCODERS
from rllte.agent.evaluation import Envs
from rllte.agent.moments import RewardScaler
from rllte.agent.networks import ActorCritic
from rllte.agent.rollout import Batch, Network, Rollout
from rllte.agent.settings import between, count, positive
from rllte.agent.speed import as_vector, backward_share, take_rows
from rllte.errors import HubError, UnknownNameError

ADVANTAGE_SCOPES = ("rollout", "minibatch", "none")


@dataclass(frozen=True, kw_only=True)
class OnPolicyConfig:
    """Settings of every on-policy agent. ``pipelines/**/params.yaml`` holds their values.

    Attributes:
        num_envs: Number of parallel environments.
        num_steps: Number of steps of each environment between two updates.
        batch_size: Number of samples in one gradient step.
        n_epochs: Number of passes over the samples of an update.
        learning_rate: Learning rate of Adam.
        adam_eps: ε of Adam.
        gamma: Discount factor γ.
        gae_lambda: λ of generalized advantage estimation.
        normalize_advantage: The samples over which advantages are normalised to zero mean and unit standard
            deviation: "rollout", "minibatch" or "none".
        normalize_reward: Whether rewards are divided by the running standard deviation of their discounted
            sums.
        ent_coef: Weight of the entropy in the loss.
        vf_coef: Weight of the value loss, which each agent defines.
        max_grad_norm: Norm to which gradients are clipped.
        encoder: Name of the encoder in ``encoders.ENCODERS``.
        feature_dim: Number of features that the encoder returns.
        hidden_dim: Width of the hidden layer of actor and critic; 0 for no hidden layer.
    """

    num_envs: int = count(1, 10_000)
    num_steps: int = count()
    batch_size: int = count()
    n_epochs: int = count(1, 1000)
    learning_rate: float = positive(1.0)
    adam_eps: float = positive(1.0)
    gamma: float = between(0.0, 1.0)
    gae_lambda: float = between(0.0, 1.0)
    normalize_advantage: str
    normalize_reward: bool = False
    ent_coef: float = between(0.0, math.inf)
    vf_coef: float = between(0.0, math.inf)
    max_grad_norm: float = positive()
    encoder: str
    feature_dim: int = count(1, 2**16)
    hidden_dim: int = count(0, 2**16)


class OnPolicyAgent(Agent):
    """An agent that learns from its last rollout, with one network for policy and values."""

    config: OnPolicyConfig
    network: nn.Module

    def build(self) -> None:
        """Make the network, its optimizer and the rollout's buffers."""
        config = self.config
        self.network = ActorCritic(
            config.encoder, self.obs_shape, config.feature_dim, config.hidden_dim, self.num_actions
        )
        self.policy = self.network.policy
        self.modules = {"network": self.network}
        self._prepare()

    def _prepare(self) -> None:
        """Check the settings, lay out ``modules`` on the device, and make optimizers and buffers."""
        config = self.config
        if config.num_steps * config.num_envs % config.batch_size:
            raise HubError(
                f"batch_size is {config.batch_size}; it must divide num_steps × num_envs "
                f"({config.num_steps} × {config.num_envs})."
            )
        if config.normalize_advantage not in ADVANTAGE_SCOPES:
            raise UnknownNameError("normalize_advantage", config.normalize_advantage, ADVANTAGE_SCOPES)
        self.optimizers = {name: self.make_optimizer(module) for name, module in self.modules.items()}
        self.rollout = Rollout(
            config.num_steps,
            config.num_envs,
            self.observation_space,
            self.num_actions,
            self.device,
            ENCODERS[config.encoder].memory_format,
        )
        self.reward_scaler = RewardScaler(config.num_envs) if config.normalize_reward else None

    def make_optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        """Move a module to the device, and return an Adam optimizer of its weights."""
        weights = as_vector(module.to(self.device))
        return torch.optim.Adam([weights], self.config.learning_rate, eps=self.config.adam_eps, fused=True)

    @property
    def obs_shape(self) -> tuple[int, ...]:
        """Shape of one observation."""
        return self.observation_space.shape

    @property
    def num_actions(self) -> int:
        """Number of discrete actions."""
        return int(self.action_space.n)

    @property
    def steps_per_update(self) -> int:
        """Number of env steps in one rollout."""
        return self.config.num_steps * self.config.num_envs

    def start_segment(self) -> None:
        """Reset the sums of the reward scaler, because the environments begin new episodes."""
        if self.reward_scaler is not None:
            self.reward_scaler.begin()

    def update(self, envs: Envs, obs: torch.Tensor) -> torch.Tensor:
        """Collect a rollout, then train on it in ``n_epochs`` passes of random minibatches."""
        samples, obs = self.collect(self.network, envs, obs)
        self.minimize(self.loss, samples, self.config.n_epochs, "network")
        return obs

    @property
    def piece_size(self) -> int:
        """Number of samples of a minibatch that are computed at once (see ``speed.backward_share``)."""
        piece_size = ENCODERS[self.config.encoder].piece_size if self.device.type == "cpu" else None
        return piece_size or self.steps_per_update

    @abc.abstractmethod
    def loss(self, batch: Batch) -> torch.Tensor:
        """Return the policy's loss on a minibatch, a mean over its samples."""

    def collect(self, network: Network, envs: Envs, obs: torch.Tensor) -> tuple[Batch, torch.Tensor]:
        """Collect a rollout with a network; return its samples and the next ``obs``."""
        config = self.config
        obs = self.act(network, envs, obs)
        if self.reward_scaler is not None:
            self.reward_scaler.scale_(self.rollout.rewards, self.rollout.ended)
        samples = self.rollout.batch(config.gamma, config.gae_lambda)
        if config.normalize_advantage == "rollout":
            samples = samples._replace(advantages=standardize(samples.advantages))
        return samples, obs

    def act(self, network: Network, envs: Envs, obs: torch.Tensor) -> torch.Tensor:
        """Fill the rollout with a network's actions; return the next ``obs``."""
        return self.rollout.collect(network, envs, obs, self.generator, self.record_episodes)

    def minimize(
        self, loss: Callable[[Batch], torch.Tensor], samples: Batch, n_epochs: int, module: str
    ) -> None:
        """Take gradient steps on a loss of minibatches, which are shuffled again for each pass.

        Args:
            loss: Maps samples to a scalar, a mean over them.
            samples: The samples; each part is ``(num_samples, …)``.
            n_epochs: Number of passes over the samples.
            module: Key in ``modules`` and ``optimizers`` of the network that learns.
        """
        config, optimizer = self.config, self.optimizers[module]
        for _ in range(n_epochs):
            order = torch.randperm(len(samples.actions), generator=self.generator, device=self.device)
            shuffled = (take_rows(part, order).split(config.batch_size) for part in samples)
            for parts in zip(*shuffled, strict=True):
                batch = Batch(*parts)
                if config.normalize_advantage == "minibatch":
                    batch = batch._replace(advantages=standardize(batch.advantages))
                optimizer.zero_grad(set_to_none=False)
                for piece in zip(*(part.split(self.piece_size) for part in batch), strict=True):
                    backward_share(loss(Batch(*piece)), len(piece[0]), config.batch_size)
                nn.utils.clip_grad_norm_(optimizer.param_groups[0]["params"], config.max_grad_norm)
                optimizer.step()

    def extra_state(self) -> dict[str, Any]:
        """Return the state of the reward scaler."""
        return {} if self.reward_scaler is None else {"reward_scaler": self.reward_scaler.state_dict()}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the state of the reward scaler."""
        if self.reward_scaler is not None:
            self.reward_scaler.load_state_dict(state["reward_scaler"])


def standardize(values: torch.Tensor) -> torch.Tensor:
    """Return the values with zero mean and unit standard deviation.

    The denominator is the standard deviation plus 1e-5, as in pytorch-a2c-ppo-acktr-gail and idaac.
    train-procgen and phasic-policy-gradient add 1e-8.
    """
    return (values - values.mean()) / (values.std() + 1e-5)
