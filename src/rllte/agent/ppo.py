"""Proximal policy optimization for discrete actions.

Paper: Schulman et al., 2017, https://arxiv.org/abs/1707.06347. Reference code:
ikostrikov/pytorch-a2c-ppo-acktr-gail. It differs from the reference in two things: an episode that was
truncated is bootstrapped from its own last observation (Pardo et al., 2018), not from the next one's first;
and over what advantages are normalised, always the rollout there, is a setting.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from rllte.agent.base import Agent
from rllte.agent.evaluation import Envs
from rllte.agent.networks import ENCODERS, DiscretePolicy, mlp
from rllte.agent.rollout import Batch, Rollout
from rllte.errors import HubError, UnknownNameError

ADVANTAGE_SCOPES = ("rollout", "minibatch", "none")


@dataclass(frozen=True)
class PPOConfig:
    """Settings of PPO; their values stand in the recipes.

    Attributes:
        num_envs: Parallel environments.
        num_steps: Steps of each environment between two updates.
        batch_size: Samples of one gradient step.
        n_epochs: Passes over the samples of an update.
        learning_rate: Of Adam.
        adam_eps: Adam's ε.
        gamma: Discount.
        gae_lambda: λ of generalized advantage estimation.
        normalize_advantage: Over what advantages get zero mean and unit deviation: "rollout",
            "minibatch" or "none".
        clip_range: ε of the clipped objective.
        clip_range_vf: How far the value may move from its old one.
        ent_coef: Weight of the entropy.
        vf_coef: Weight of half the squared value error.
        max_grad_norm: Gradients are clipped to this norm.
        encoder: A name in ``networks.ENCODERS``.
        feature_dim: Output of the encoder.
        hidden_dim: Of the actor's and the critic's one hidden layer.
    """

    num_envs: int
    num_steps: int
    batch_size: int
    n_epochs: int
    learning_rate: float
    adam_eps: float
    gamma: float
    gae_lambda: float
    normalize_advantage: str
    clip_range: float
    clip_range_vf: float
    ent_coef: float
    vf_coef: float
    max_grad_norm: float
    encoder: str
    feature_dim: int
    hidden_dim: int


class ActorCritic(nn.Module):
    """A policy and a value function on one encoder."""

    def __init__(self, config: PPOConfig, num_actions: int) -> None:
        super().__init__()
        dims, gain = (config.feature_dim, config.hidden_dim), nn.init.calculate_gain("tanh")
        actor = mlp(*dims, num_actions, activation=nn.Tanh, gain=gain, last_gain=0.01)
        self.policy = DiscretePolicy(ENCODERS[config.encoder](config.feature_dim), actor)
        self.critic = mlp(*dims, 1, activation=nn.Tanh, gain=gain, last_gain=1.0)

    def forward(self, obs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits ``(batch, num_actions)`` and values ``(batch,)``."""
        features = self.policy.encoder(obs)
        return self.policy.actor(features), self.critic(features).squeeze(1)


class PPO(Agent):
    """An on-policy agent that maximises the clipped surrogate objective."""

    Config = PPOConfig
    config: PPOConfig

    def build(self) -> None:
        """Make the network, its optimizer and the rollout's buffers."""
        config = self.config
        if config.num_steps * config.num_envs % config.batch_size:
            raise HubError(
                f"batch_size is {config.batch_size}; it must divide num_steps × num_envs "
                f"({config.num_steps} × {config.num_envs})."
            )
        if config.normalize_advantage not in ADVANTAGE_SCOPES:
            raise UnknownNameError("normalize_advantage", config.normalize_advantage, ADVANTAGE_SCOPES)
        num_actions = int(self.action_space.n)
        self.network = ActorCritic(config, num_actions)
        self.policy = self.network.policy
        self.modules = {"network": self.network}
        self.network.to(self.device)
        optimizer = torch.optim.Adam(
            self.network.parameters(), config.learning_rate, eps=config.adam_eps, fused=True
        )
        self.optimizers = {"network": optimizer}
        self.rollout = Rollout(
            config.num_steps, config.num_envs, self.observation_space, num_actions, self.device
        )

    @property
    def steps_per_update(self) -> int:
        """Env steps of one rollout."""
        return self.config.num_steps * self.config.num_envs

    def update(self, envs: Envs, obs: torch.Tensor) -> torch.Tensor:
        """Collect a rollout, then pass over it ``n_epochs`` times in random minibatches."""
        config = self.config
        obs = self.rollout.collect(self.network, envs, obs, self.generator, self.record_episodes)
        samples = self.rollout.batch(config.gamma, config.gae_lambda)
        if config.normalize_advantage == "rollout":
            samples = samples._replace(advantages=standardize(samples.advantages))
        for _ in range(config.n_epochs):
            order = torch.randperm(self.steps_per_update, generator=self.generator, device=self.device)
            shuffled = (part[order].split(config.batch_size) for part in samples)
            for minibatch in zip(*shuffled, strict=True):
                self._learn(Batch(*minibatch))
        return obs

    def _learn(self, batch: Batch) -> None:
        config, optimizer = self.config, self.optimizers["network"]
        if config.normalize_advantage == "minibatch":
            batch = batch._replace(advantages=standardize(batch.advantages))
        optimizer.zero_grad()
        ppo_loss(self.network(batch.obs), batch, config).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), config.max_grad_norm)
        optimizer.step()


def standardize(values: torch.Tensor) -> torch.Tensor:
    """Return values with zero mean and unit standard deviation; the reference adds 1e-5 to it."""
    return (values - values.mean()) / (values.std() + 1e-5)


def ppo_loss(output: tuple[torch.Tensor, torch.Tensor], batch: Batch, config: PPOConfig) -> torch.Tensor:
    """Return the clipped policy loss plus the clipped value loss minus the entropy, weighted.

    Args:
        output: Logits ``(batch, num_actions)`` and values ``(batch,)`` of the present network.
        batch: The samples, with what the old network said of them.
        config: Clip ranges and weights.
    """
    logits, values = output
    all_log_probs = F.log_softmax(logits, dim=1)
    log_probs = all_log_probs.gather(1, batch.actions[:, None]).squeeze(1)
    ratio = (log_probs - batch.log_probs).exp()
    clipped_ratio = ratio.clamp(1 - config.clip_range, 1 + config.clip_range)
    policy_loss = -torch.min(ratio * batch.advantages, clipped_ratio * batch.advantages).mean()
    clipped_values = batch.values + (values - batch.values).clamp(-config.clip_range_vf, config.clip_range_vf)
    squared_errors = torch.max((values - batch.returns).square(), (clipped_values - batch.returns).square())
    value_loss = 0.5 * squared_errors.mean()
    entropy = -(all_log_probs.exp() * all_log_probs).sum(dim=1).mean()
    return policy_loss + config.vf_coef * value_loss - config.ent_coef * entropy
