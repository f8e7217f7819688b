"""IMPALA: an actor-critic that corrects, with V-trace, for samples of an older policy.

Paper: Espeholt et al., 2018, https://arxiv.org/abs/1802.01561. Reference code: facebookresearch/torchbeast
(monobeast, its network without LSTM). This agent differs from the reference in five ways:

* envpool steps the games in the background while the learner takes gradient steps on the previous unrolls.
  The order is fixed, so the seed determines the result.
* The last action and the last reward are not inputs of the network.
* Weights are initialised orthogonally, as in the other agents.
* The learning rate is not annealed.
* It bootstraps a truncated episode from the episode's own last observation.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import nn

from rllte.agent.base import Agent
from rllte.agent.encoders import ENCODERS
from rllte.agent.evaluation import AsyncEnvs, Envs, sample_categorical
from rllte.agent.networks import ActorCritic
from rllte.agent.returns import vtrace
from rllte.agent.settings import between, count, positive
from rllte.errors import HubError


@dataclass(frozen=True, kw_only=True)
class IMPALAConfig:
    """Settings of IMPALA. ``pipelines/**/params.yaml`` holds their values.

    Attributes:
        num_envs: Number of parallel environments.
        num_steps: Number of steps in an unroll.
        batch_size: Number of unrolls in one gradient step.
        learning_rate: Learning rate of RMSprop.
        rmsprop_alpha: Smoothing constant of RMSprop.
        rmsprop_eps: ε of RMSprop.
        gamma: Discount factor γ.
        ent_coef: Weight of the entropy in the loss.
        vf_coef: Weight of half the squared value error in the loss.
        max_grad_norm: Norm to which gradients are clipped.
        encoder: Name of the encoder in ``encoders.ENCODERS``.
        feature_dim: Number of features that the encoder returns.
        hidden_dim: Width of the hidden layer of actor and critic; 0 for no hidden layer.
    """

    num_envs: int = count(1, 10_000)
    num_steps: int = count()
    batch_size: int = count()
    learning_rate: float = positive(1.0)
    rmsprop_alpha: float = between(0.0, 1.0)
    rmsprop_eps: float = positive(1.0)
    gamma: float = between(0.0, 1.0)
    ent_coef: float = between(0.0, math.inf)
    vf_coef: float = between(0.0, math.inf)
    max_grad_norm: float = positive()
    encoder: str
    feature_dim: int = count(1, 2**16)
    hidden_dim: int = count(0, 2**16)


class Unrolls(NamedTuple):
    """Steps of environments: obs ``(num_steps + 1, num_envs, …)``, the others ``(num_steps, num_envs)``.

    Logits are ``(num_steps, num_envs, num_actions)``, from the policy that acted. A discount is 0 where an
    episode ended. Where the episode was truncated, the reward includes the discounted value of its last
    observation.
    """

    obs: torch.Tensor
    actions: torch.Tensor
    logits: torch.Tensor
    rewards: torch.Tensor
    discounts: torch.Tensor


class IMPALA(Agent):
    """An agent that acts while it learns from its previous unrolls."""

    Config = IMPALAConfig
    config: IMPALAConfig

    def build(self) -> None:
        """Make the network, its optimizer and two sets of unrolls: one to fill, one to learn from."""
        config, num_actions = self.config, int(self.action_space.n)
        if config.num_envs % config.batch_size:
            raise HubError(f"batch_size is {config.batch_size}; it must divide num_envs ({config.num_envs}).")
        obs_shape = self.observation_space.shape
        self.network = ActorCritic(
            config.encoder, obs_shape, config.feature_dim, config.hidden_dim, num_actions
        ).to(self.device)
        self.policy = self.network.policy
        self.modules = {"network": self.network}
        self.optimizers = {
            "network": torch.optim.RMSprop(
                self.network.parameters(),
                config.learning_rate,
                alpha=config.rmsprop_alpha,
                eps=config.rmsprop_eps,
            )
        }
        self._filling, self._learning = (self._make_unrolls(obs_shape, num_actions) for _ in range(2))

    def _make_unrolls(self, obs_shape: tuple[int, ...], num_actions: int) -> Unrolls:
        num_steps, num_envs = self.config.num_steps, self.config.num_envs
        dtype = torch.uint8 if self.observation_space.dtype == "uint8" else torch.float32
        obs = torch.zeros(((num_steps + 1) * num_envs, *obs_shape), dtype=dtype, device=self.device)
        obs = obs.contiguous(memory_format=ENCODERS[self.config.encoder].memory_format)
        shape = (num_steps, num_envs)
        return Unrolls(
            obs.unflatten(0, (num_steps + 1, num_envs)),
            torch.zeros(shape, dtype=torch.int64, device=self.device),
            torch.zeros((*shape, num_actions), device=self.device),
            torch.zeros(shape, device=self.device),
            torch.zeros(shape, device=self.device),
        )

    @property
    def steps_per_update(self) -> int:
        """Number of env steps in one unroll of every environment."""
        return self.config.num_steps * self.config.num_envs

    def update(self, envs: Envs, obs: torch.Tensor) -> torch.Tensor:
        """Fill one set of unrolls; while the environments step, learn from the other set."""
        config, asynchronous = self.config, cast(AsyncEnvs, envs)
        minibatches = self._minibatches() if self.num_updates else iter(())
        interval = max(1, config.num_steps // (config.num_envs // config.batch_size))
        for t in range(config.num_steps):
            action = self._act(obs, t)
            asynchronous.step_async(action)
            if t % interval == 0:
                self._learn(next(minibatches, None))
            obs, rewards, terminated, truncated, infos = asynchronous.step_wait()
            self._record(t, rewards, terminated, truncated, infos)
        for minibatch in minibatches:
            self._learn(minibatch)
        self._filling.obs[-1] = obs
        self._filling, self._learning = self._learning, self._filling
        return obs

    @torch.no_grad()
    def _act(self, obs: torch.Tensor, t: int) -> torch.Tensor:
        logits = self.policy(obs)
        action = sample_categorical(logits, self.generator)
        self._filling.obs[t], self._filling.logits[t], self._filling.actions[t] = obs, logits, action
        return action

    @torch.no_grad()
    def _record(
        self,
        t: int,
        rewards: torch.Tensor,
        terminated: torch.Tensor,
        truncated: torch.Tensor,
        infos: dict[str, Any],
    ) -> None:
        self.record_episodes(infos)
        gamma = self.config.gamma
        self._filling.discounts[t] = gamma * (~(terminated | truncated)).float()
        cut = truncated & ~terminated
        if cut.any():
            rewards = rewards.clone()
            rewards[cut] += gamma * self.network(infos["final_obs"][cut])[1]
        self._filling.rewards[t] = rewards

    def _minibatches(self) -> Iterator[Unrolls]:
        order = torch.randperm(self.config.num_envs, generator=self.generator, device=self.device)
        for index in order.split(self.config.batch_size):
            yield Unrolls(*(part[:, index] for part in self._learning))

    def _learn(self, unrolls: Unrolls | None) -> None:
        if unrolls is None:
            return
        config, optimizer = self.config, self.optimizers["network"]
        logits, values = self.network(unrolls.obs.flatten(0, 1))
        shape = unrolls.obs.shape[:2]
        loss = impala_loss((logits.unflatten(0, shape), values.unflatten(0, shape)), unrolls, config)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), config.max_grad_norm)
        optimizer.step()

    def extra_state(self) -> dict[str, Any]:
        """Return the unrolls from which the next update learns."""
        return {"unrolls": [part.cpu().contiguous() for part in self._learning]}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the unrolls."""
        for part, saved in zip(self._learning, state["unrolls"], strict=True):
            part.copy_(saved)


def impala_loss(
    output: tuple[torch.Tensor, torch.Tensor], unrolls: Unrolls, config: IMPALAConfig
) -> torch.Tensor:
    """Return the policy loss + ``vf_coef`` · half the squared value error - ``ent_coef`` · entropy.

    Each part is a sum over the samples.

    Args:
        output: Logits ``(num_steps + 1, batch, num_actions)`` and values ``(num_steps + 1, batch)`` of the
            current network. The values of the last step are for bootstrapping.
        unrolls: The minibatch.
        config: Gives the two weights.
    """
    logits, values, last_values = output[0][:-1], output[1][:-1], output[1][-1].detach()
    all_log_probs = logits.log_softmax(dim=2)
    actions = unrolls.actions[..., None]
    log_probs = all_log_probs.gather(2, actions).squeeze(2)
    old_log_probs = unrolls.logits.log_softmax(dim=2).gather(2, actions).squeeze(2)
    targets, advantages = vtrace(
        (log_probs - old_log_probs).detach(), unrolls.discounts, unrolls.rewards, values.detach(), last_values
    )
    policy_loss = -(log_probs * advantages).sum()
    value_loss = 0.5 * (targets - values).square().sum()
    entropy = -(all_log_probs.exp() * all_log_probs).sum()
    return policy_loss + config.vf_coef * value_loss - config.ent_coef * entropy
