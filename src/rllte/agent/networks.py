"""Parts of networks that several agents share."""

import itertools
from collections.abc import Callable

import torch
from torch import nn

from rllte.agent.encoders import ENCODERS, Encoder, orthogonal
from rllte.errors import UnknownNameError


def mlp(*dims: int, activation: Callable[[], nn.Module], gain: float, last_gain: float) -> nn.Sequential:
    """Return linear layers with an activation between them, initialised orthogonally.

    Args:
        dims: Sizes of the input, the hidden layers and the output.
        activation: Makes the module between two layers.
        gain: Gain of the hidden layers' weights.
        last_gain: Gain of the last layer's weights.
    """
    layers: list[nn.Module] = []
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(dims)):
        last = i == len(dims) - 2
        layers.append(orthogonal(nn.Linear(fan_in, fan_out), last_gain if last else gain))
        if not last:
            layers.append(activation())
    return nn.Sequential(*layers)


def head(feature_dim: int, hidden_dim: int, fan_out: int, last_gain: float) -> nn.Sequential:
    """Return a network from features to logits or values.

    It has one hidden tanh layer, or none if ``hidden_dim`` is 0.
    """
    dims = (feature_dim, hidden_dim, fan_out) if hidden_dim else (feature_dim, fan_out)
    gain = nn.init.calculate_gain("tanh")
    return mlp(*dims, activation=nn.Tanh, gain=gain, last_gain=last_gain)


def make_encoder(name: str, obs_shape: tuple[int, ...], feature_dim: int) -> Encoder:
    """Return a new encoder by its name in a recipe.

    Raises:
        UnknownNameError: There is no encoder of that name.
    """
    if name not in ENCODERS:
        raise UnknownNameError("encoder", name, ENCODERS)
    return ENCODERS[name](obs_shape, feature_dim)


class DiscretePolicy(nn.Module):
    """Network from observations to the logits of a categorical distribution over actions."""

    def __init__(self, encoder: Encoder, actor: nn.Module) -> None:
        super().__init__()
        self.encoder, self.actor = encoder, actor

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Return logits ``(batch, num_actions)``."""
        return self.actor(self.encoder(obs))


class ValueFunction(nn.Module):
    """Network from observations to values, with its own encoder."""

    def __init__(self, encoder: Encoder, critic: nn.Module) -> None:
        super().__init__()
        self.encoder, self.critic = encoder, critic

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Return values ``(batch,)``."""
        return self.critic(self.encoder(obs)).squeeze(1)


class ActorCritic(nn.Module):
    """A policy and a value function that share one encoder.

    Args:
        encoder: Name of the encoder in ``ENCODERS``.
        obs_shape: Shape of one observation.
        feature_dim: Number of features that the encoder returns.
        hidden_dim: Width of the hidden layer of actor and critic; 0 for no hidden layer.
        num_actions: Number of discrete actions.
    """

    def __init__(
        self, encoder: str, obs_shape: tuple[int, ...], feature_dim: int, hidden_dim: int, num_actions: int
    ) -> None:
        super().__init__()
        actor = head(feature_dim, hidden_dim, num_actions, last_gain=0.01)
        self.policy = DiscretePolicy(make_encoder(encoder, obs_shape, feature_dim), actor)
        self.critic = head(feature_dim, hidden_dim, 1, last_gain=1.0)

    def forward(self, obs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits ``(batch, num_actions)`` and values ``(batch,)``."""
        features = self.policy.encoder(obs)
        return self.policy.actor(features), self.critic(features).squeeze(1)


def two_layers(fan_in: int, hidden_dim: int, fan_out: int) -> nn.Sequential:
    """Return a network with two hidden layers and initial gain 1, as in the references of SAC and DrQ-v2."""
    dims = (fan_in, hidden_dim, hidden_dim, fan_out)
    return mlp(*dims, activation=lambda: nn.ReLU(inplace=True), gain=1.0, last_gain=1.0)


class TwinCritic(nn.Module):
    """Two independent action-value functions."""

    def __init__(self, obs_dim: int, action_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.q1 = two_layers(obs_dim + action_dim, hidden_dim, 1)
        self.q2 = two_layers(obs_dim + action_dim, hidden_dim, 1)

    def forward(self, obs: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return both values, each ``(batch,)``."""
        both = torch.cat([obs, actions], dim=1)
        return self.q1(both).squeeze(1), self.q2(both).squeeze(1)
