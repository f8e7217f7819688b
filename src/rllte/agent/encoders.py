"""Encoders: networks from observations to features, one for each kind of observation."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import nn

from rllte.agent.speed import patch_index, use_channels_last

RELU_GAIN = nn.init.calculate_gain("relu")


def orthogonal(layer: nn.Linear | nn.Conv2d, gain: float) -> nn.Linear | nn.Conv2d:
    """Initialise a layer with orthogonal weights and zero bias (Saxe et al., 2014)."""
    nn.init.orthogonal_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def xavier(layer: nn.Linear | nn.Conv2d) -> nn.Linear | nn.Conv2d:
    """Initialise a layer with uniform weights (Glorot and Bengio, 2010) and zero bias."""
    nn.init.xavier_uniform_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class Encoder(nn.Module):
    """Network from images to features. ``speed.py`` explains the two attributes."""

    memory_format: ClassVar[torch.memory_format] = torch.channels_last
    piece_size: ClassVar[int | None] = None


class MiniGridCNN(Encoder):
    """The small convolutional encoder of rl-starter-files for the agent's view, followed by a linear layer.

    ``(batch, 7, 7, 3)`` uint8 → ``(batch, feature_dim)`` float32. The codes of object, colour and state (0 to
    10) are not scaled. Convolutions this small are more than twice as fast when they are computed as linear
    layers on patches, with the same result.
    """

    memory_format = torch.contiguous_format

    def __init__(self, obs_shape: tuple[int, ...], feature_dim: int) -> None:
        super().__init__()
        self.conv1 = orthogonal(nn.Linear(4 * obs_shape[-1], 16), RELU_GAIN)
        self.conv2 = orthogonal(nn.Linear(4 * 16, 32), RELU_GAIN)
        self.conv3 = orthogonal(nn.Linear(4 * 32, 64), RELU_GAIN)
        self.linear = orthogonal(nn.Linear(64, feature_dim), RELU_GAIN)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Encode a batch of views."""
        x = torch.relu(self.conv1(patches(obs.float())))
        x = F.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)
        x = torch.relu(self.conv2(patches(x)))
        x = torch.relu(self.conv3(x.flatten(1)))  # only one patch is left
        return torch.relu(self.linear(x))


def patches(x: torch.Tensor) -> torch.Tensor:
    """Return all 2 × 2 patches of images, each with 4 × channels values.

    Args:
        x: ``(batch, height, width, channels)``.
    """
    if not torch.jit.is_scripting():  # type: ignore[attr-defined]
        # An index gives the same values faster, forward and backward. TorchScript keeps only the last line.
        _, height, width, channels = x.shape
        index = patch_index(height, width, channels, x.device)
        return x.flatten(1).index_select(1, index).view(-1, height - 1, width - 1, 4 * channels)
    return torch.cat((x[:, :-1, :-1], x[:, :-1, 1:], x[:, 1:, :-1], x[:, 1:, 1:]), dim=-1)


class NatureCNN(Encoder):
    """The encoder of Mnih et al., 2015, initialised as in pytorch-a2c-ppo-acktr-gail.

    ``(batch, channels, 84, 84)`` uint8 → ``(batch, feature_dim)`` float32.
    """

    def __init__(self, obs_shape: tuple[int, ...], feature_dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            orthogonal(nn.Conv2d(obs_shape[0], 32, 8, stride=4), RELU_GAIN), nn.ReLU(inplace=True),
            orthogonal(nn.Conv2d(32, 64, 4, stride=2), RELU_GAIN), nn.ReLU(inplace=True),
            orthogonal(nn.Conv2d(64, 64, 3), RELU_GAIN), nn.ReLU(inplace=True),
            nn.Flatten(), orthogonal(nn.Linear(64 * 7 * 7, feature_dim), RELU_GAIN), nn.ReLU(inplace=True),
        )  # fmt: skip
        use_channels_last(self)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Encode a batch of frames."""
        return self.layers(obs.float().mul_(1 / 255))


class Residual(nn.Module):
    """A residual block: x + conv(relu(conv(relu(x))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(),  # not in place, because forward needs x
            xavier(nn.Conv2d(channels, channels, 3, padding=1)),
            nn.ReLU(inplace=True),
            xavier(nn.Conv2d(channels, channels, 3, padding=1)),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return a tensor of the shape of ``x``."""
        return self.layers(x).add_(x)


class ImpalaCNN(Encoder):
    """The residual encoder of Espeholt et al., 2018, with the initialisation of train-procgen.

    auto-drac and idaac initialise the linear layer orthogonally, and the convolutions as here.

    ``(batch, channels, 64, 64)`` uint8 → ``(batch, feature_dim)`` float32.
    """

    piece_size = 64

    def __init__(self, obs_shape: tuple[int, ...], feature_dim: int) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        channels = obs_shape[0]
        for width in (16, 32, 32):
            blocks += [
                xavier(nn.Conv2d(channels, width, 3, padding=1)),
                nn.MaxPool2d(3, stride=2, padding=1),
                Residual(width),
                Residual(width),
            ]
            channels = width
        fan_in = channels * (obs_shape[1] // 8) * (obs_shape[2] // 8)
        self.layers = nn.Sequential(
            *blocks, nn.ReLU(), nn.Flatten(), xavier(nn.Linear(fan_in, feature_dim)), nn.ReLU(inplace=True)
        )
        use_channels_last(self)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Encode a batch of frames."""
        return self.layers(obs.float().mul_(1 / 255))


class PixelCNN(Encoder):
    """The encoder of DrQ-v2 (Yarats et al., 2022).

    ``(batch, channels, height, width)`` uint8 → ``(batch, feature_dim)`` float32. ``width`` is the number of
    channels of every layer; ``feature_dim`` follows from it and from the size of the image.
    """

    def __init__(self, obs_shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        convolutions = [nn.Conv2d(obs_shape[0], width, 3, stride=2)]
        convolutions += [nn.Conv2d(width, width, 3) for _ in range(3)]
        self.layers = nn.Sequential(
            *(part for conv in convolutions for part in (orthogonal(conv, RELU_GAIN), nn.ReLU(inplace=True))),
            nn.Flatten(),
        )
        rows, columns = ((size - 3) // 2 + 1 - 6 for size in obs_shape[1:])
        self.feature_dim = width * rows * columns
        use_channels_last(self)

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Encode a batch of stacked frames."""
        return self.layers(obs.float().mul_(1 / 255).sub_(0.5))


ENCODERS: dict[str, type[Encoder]] = {
    "impala_cnn": ImpalaCNN,
    "minigrid_cnn": MiniGridCNN,
    "nature_cnn": NatureCNN,
}
"""Encoders by their name in recipes; each is made from the shape of an observation and ``feature_dim``."""
