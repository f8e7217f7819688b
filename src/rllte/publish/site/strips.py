"""Strip plots of scores: one row of dots for each seed, as SVG."""

from collections.abc import Mapping
from typing import Any

import numpy as np

_WIDTH, _ROW, _LEFT = 640, 26, 60


def strip_plot(scores: Mapping[int, Any], small: bool = False) -> Any:
    """Return an SVG of the returns of each seed's episodes and their mean.

    Args:
        scores: The returns of each seed, ``(num_episodes,)``.
        small: Whether to draw the means only, on one line, without an axis.
    """
    from markupsafe import Markup

    values = np.concatenate(list(scores.values()))
    low, high = float(values.min()), float(values.max())
    spread = high - low or 1.0

    def x(value: float) -> str:
        return f"{_LEFT + (value - low) / spread * (_WIDTH - _LEFT - 20):.0f}"

    rows, jitter = [], np.random.default_rng(0)
    for i, (seed, returns) in enumerate(scores.items()):
        y = _ROW * i + _ROW / 2
        # dots at the same place are drawn once
        dots = dict.fromkeys((x(value), f"{y + jitter.uniform(-6, 6):.0f}") for value in np.sort(returns))
        path = "".join(f"M{a} {b}h0" for a, b in dots)
        mean = x(float(returns.mean()))
        rows.append(
            f'<text x="0" y="{y + 4:.0f}">seed {int(seed)}</text><path class="dots" d="{path}"/>'
            f'<path class="mean" d="M{mean} {y - 9:.0f}v18"/>'
        )
    bottom = _ROW * len(scores)
    axis = (
        f'<path class="axis" d="M{_LEFT} {bottom}H{_WIDTH - 20}"/>'
        f'<text x="{_LEFT}" y="{bottom + 16}">{low:.4g}</text>'
        f'<text x="{_WIDTH - 20}" y="{bottom + 16}" text-anchor="end">{high:.4g}</text>'
    )
    means = ", ".join(f"seed {int(seed)}: {returns.mean():.4g}" for seed, returns in scores.items())
    return Markup(  # numbers only
        f'<svg class="hub-strip" viewBox="0 0 {_WIDTH} {bottom + 22}" role="img" '
        f'aria-label="Returns of the final episodes. Means: {means}">{"".join(rows)}{axis}</svg>'
    )
