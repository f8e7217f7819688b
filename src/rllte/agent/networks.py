"""Parts that the networks of several agents share."""

import itertools
from collections.abc import Callable

import torch
from torch import nn


def orthogonal(layer: nn.Linear | nn.Conv2d, gain: float) -> nn.Linear | nn.Conv2d:
    """Initialise a layer with orthogonal weights and zero bias (Saxe et al., 2014)."""
    nn.init.orthogonal_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def mlp(*dims: int, activation: Callable[[], nn.Module], gain: float, last_gain: float) -> nn.Sequential:
    """Return linear layers with an activation between them, initialised orthogonally.

    Args:
        dims: Input, hidden and output sizes.
        activation: Makes the module between two layers.
        gain: Of the hidden layers' weights.
        last_gain: Of the last layer's weights.
    """
    layers: list[nn.Module] = []
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(dims)):
        last = i == len(dims) - 2
        layers.append(orthogonal(nn.Linear(fan_in, fan_out), last_gain if last else gain))
        if not last:
            layers.append(activation())
    return nn.Sequential(*layers)


class MiniGridCNN(nn.Module):
    """The small convolutional encoder of rl-starter-files for the agent's view, and a linear layer.

    ``(batch, 7, 7, 3)`` uint8 → ``(batch, feature_dim)`` float32. Object, colour and state codes
    (0 to 10) enter as they are.
    """

    def __init__(self, feature_dim: int) -> None:
        super().__init__()
        gain = nn.init.calculate_gain("relu")
        self.layers = nn.Sequential(
            orthogonal(nn.Conv2d(3, 16, 2), gain), nn.ReLU(inplace=True), nn.MaxPool2d(2),
            orthogonal(nn.Conv2d(16, 32, 2), gain), nn.ReLU(inplace=True),
            orthogonal(nn.Conv2d(32, 64, 2), gain), nn.ReLU(inplace=True),
            nn.Flatten(), orthogonal(nn.Linear(64, feature_dim), gain), nn.ReLU(inplace=True),
        )  # fmt: skip
        for parameter in self.parameters():
            if parameter.dim() == 4:  # the layout that views of (batch, height, width, channel) have
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Encode a batch of views."""
        return self.layers(obs.permute(0, 3, 1, 2).float())


ENCODERS: dict[str, Callable[[int], nn.Module]] = {"minigrid_cnn": MiniGridCNN}
"""Encoders of observations by the name that a recipe gives; each takes ``feature_dim``."""


class DiscretePolicy(nn.Module):
    """Observations to the logits of a categorical distribution over actions."""

    def __init__(self, encoder: nn.Module, actor: nn.Module) -> None:
        super().__init__()
        self.encoder, self.actor = encoder, actor

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Return logits ``(batch, num_actions)``."""
        return self.actor(self.encoder(obs))
