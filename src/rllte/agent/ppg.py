"""Phasic policy gradient: PPO with two networks, and phases that distil values into the policy's network.

Paper: Cobbe et al., 2020, https://arxiv.org/abs/2009.04416. Reference code: openai/phasic-policy-gradient,
its "dual" architecture. This agent differs from the reference in six ways:

* Networks are initialised as in the other agents.
* Adam's ε is a setting, with the value of the other agents.
* Gradients of the policy phase are clipped.
* Both phases draw single samples, not pieces of 256 steps.
* The scale of a reward includes the steps up to it, not the whole rollout.
* It bootstraps a truncated episode from the episode's own last observation.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from rllte.agent.encoders import ENCODERS
from rllte.agent.evaluation import Envs
from rllte.agent.losses import clipped_policy_loss, log_probs_and_entropy
from rllte.agent.networks import DiscretePolicy, ValueFunction, head, make_encoder
from rllte.agent.onpolicy import OnPolicyAgent, OnPolicyConfig
from rllte.agent.rollout import Batch
from rllte.agent.settings import between, count, positive
from rllte.agent.speed import backward_share, take_rows
from rllte.errors import HubError


@dataclass(frozen=True, kw_only=True)
class PPGConfig(OnPolicyConfig):
    """Settings of PPG in addition to those of every on-policy agent; ``n_epochs`` is for the policy phase.

    Attributes:
        clip_range: Clip range ε of the policy's objective.
        policy_updates: Number of updates in a policy phase.
        aux_epochs: Number of passes of an auxiliary phase over the samples of its policy phase.
        aux_batch_size: Number of samples in one gradient step of the auxiliary phase.
        aux_learning_rate: Learning rate of Adam in the auxiliary phase.
        beta_clone: Weight of the KL divergence from the policy before the auxiliary phase.
    """

    clip_range: float = positive()
    policy_updates: int = count()
    aux_epochs: int = count(1, 1000)
    aux_batch_size: int = count()
    aux_learning_rate: float = positive(1.0)
    beta_clone: float = between(0.0, math.inf)


class PhasicNetwork(nn.Module):
    """A policy with an auxiliary value head, and a value function with its own encoder."""

    def __init__(self, policy: DiscretePolicy, aux_critic: nn.Module, critic: ValueFunction) -> None:
        super().__init__()
        self.policy, self.aux_critic, self.critic = policy, aux_critic, critic

    def forward(self, obs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits ``(batch, num_actions)`` and values ``(batch,)``."""
        return self.policy(obs), self.critic(obs)

    def auxiliary(self, obs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return logits, values of the auxiliary head, and values of the value function.

        Logits are ``(batch, num_actions)``; both values are ``(batch,)``.
        """
        features = self.policy.encoder(obs)
        return self.policy.actor(features), self.aux_critic(features).squeeze(1), self.critic(obs)


class PPG(OnPolicyAgent):
    """PPO with separate networks for policy and values, and a phase that distils values into the policy's."""

    Config = PPGConfig
    config: PPGConfig
    network: PhasicNetwork

    def build(self) -> None:
        """Make the networks, an optimizer for each phase and the rollout's buffers."""
        config = self.config
        encoders = [make_encoder(config.encoder, self.obs_shape, config.feature_dim) for _ in range(2)]
        sizes = (config.feature_dim, config.hidden_dim)
        self.policy = DiscretePolicy(encoders[0], head(*sizes, self.num_actions, last_gain=0.01))
        self.network = PhasicNetwork(
            self.policy,
            head(*sizes, 1, last_gain=1.0),
            ValueFunction(encoders[1], head(*sizes, 1, last_gain=1.0)),
        )
        self.modules = {"network": self.network}
        self._prepare()
        if config.aux_batch_size > self.steps_per_update:
            raise HubError(
                f"aux_batch_size is {config.aux_batch_size}; write num_steps × num_envs "
                f"({config.num_steps} × {config.num_envs}) or less."
            )
        self.optimizers["auxiliary"] = torch.optim.Adam(
            self.optimizers["network"].param_groups[0]["params"],
            config.aux_learning_rate,
            eps=config.adam_eps,
            fused=True,
        )
        self.memory: list[tuple[torch.Tensor, torch.Tensor]] = []

    def update(self, envs: Envs, obs: torch.Tensor) -> torch.Tensor:
        """Do one update of the policy phase; after the last one, also do the auxiliary phase."""
        config = self.config
        samples, obs = self.collect(self.network, envs, obs)
        self.minimize(self.loss, samples, config.n_epochs, "network")
        self.memory.append((samples.obs.clone(), samples.returns))
        if len(self.memory) == config.policy_updates:
            self._auxiliary_phase()
            self.memory = []
        return obs

    def loss(self, batch: Batch) -> torch.Tensor:
        """Return the policy phase's loss on a minibatch."""
        logits, values = self.network(batch.obs)
        log_probs, entropy = log_probs_and_entropy(logits, batch.actions)
        config = self.config
        policy_loss = clipped_policy_loss(log_probs, batch.log_probs, batch.advantages, config.clip_range)
        value_loss = F.mse_loss(values, batch.returns)
        return policy_loss + config.vf_coef * value_loss - config.ent_coef * entropy

    def _auxiliary_phase(self) -> None:
        config, optimizer = self.config, self.optimizers["auxiliary"]
        per_rollout = self.steps_per_update
        with torch.no_grad():
            old_logits = torch.cat(
                [self.policy(part) for obs, _ in self.memory for part in obs.split(self.piece_size)]
            )
        returns = torch.cat([returns for _, returns in self.memory])
        for _ in range(config.aux_epochs):
            order = torch.randperm(len(returns), generator=self.generator, device=self.device)
            for index in order.split(config.aux_batch_size):
                optimizer.zero_grad(set_to_none=False)
                for piece in index.split(self.piece_size):
                    obs = _gather([obs for obs, _ in self.memory], piece, per_rollout)
                    output = self.network.auxiliary(obs)
                    loss = auxiliary_loss(output, old_logits[piece], returns[piece], config.beta_clone)
                    backward_share(loss, len(piece), len(index))
                optimizer.step()

    def extra_state(self) -> dict[str, Any]:
        """Return the state of the reward scaler, and the samples of the running policy phase."""
        memory = [(obs.contiguous().cpu(), returns.cpu()) for obs, returns in self.memory]
        return {**super().extra_state(), "memory": memory}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Restore what ``extra_state`` returned."""
        super().load_extra_state(state)
        layout = ENCODERS[self.config.encoder].memory_format
        self.memory = [
            (obs.to(self.device).contiguous(memory_format=layout), returns.to(self.device))
            for obs, returns in state["memory"]
        ]


def _gather(rollouts: list[torch.Tensor], index: torch.Tensor, per_rollout: int) -> torch.Tensor:
    """Return rows of several rollouts without copying the rollouts into one tensor.

    The index counts the rows of all rollouts, one rollout after the other.
    """
    rows = torch.empty_like(rollouts[0][: len(index)])
    which, place = index // per_rollout, index % per_rollout
    for i, rollout in enumerate(rollouts):
        rows[which == i] = take_rows(rollout, place[which == i])
    return rows


def auxiliary_loss(
    output: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    old_logits: torch.Tensor,
    returns: torch.Tensor,
    beta_clone: float,
) -> torch.Tensor:
    """Return the auxiliary phase's loss.

    It is ``beta_clone`` · KL(old policy, policy) + half the squared error of each of the two values.

    Args:
        output: Logits ``(batch, num_actions)``, values of the auxiliary head ``(batch,)`` and values of the
            value function ``(batch,)``.
        old_logits: ``(batch, num_actions)``, from before the phase.
        returns: ``(batch,)``, the targets of the values.
        beta_clone: Weight of the divergence.
    """
    logits, aux_values, values = output
    divergence = F.kl_div(
        logits.log_softmax(dim=1), old_logits.log_softmax(dim=1), log_target=True, reduction="batchmean"
    )
    return beta_clone * divergence + 0.5 * F.mse_loss(aux_values, returns) + 0.5 * F.mse_loss(values, returns)
