"""Replays: the same returns, other returns with compatible means, and means that differ."""

import numpy as np
import pytest
from click.testing import CliRunner

from rllte.cli import main
from rllte.hub.store.source import make_source
from rllte.stages import playback
from rllte.stages.train import cpu_name
from tests.conftest import RUNS


def rows(published, replayed, split="eval"):
    return [
        {"split": split, "episode": i, "published": one, "replayed": other}
        for i, (one, other) in enumerate(zip(published, replayed, strict=True))
    ]


def judge(hub, *parts):
    return playback.judge(make_source(hub), RUNS[0], [row for part in parts for row in part])


def test_the_same_returns_agree(hub):
    assert judge(hub, rows([1.0, 2.0], [1.0, 2.0])) == (True, "2 of 2 returns are as published")


def test_other_returns_with_compatible_means_agree_and_both_machines_are_named(hub):
    rng = np.random.default_rng(0)
    verdict = judge(hub, rows(rng.normal(size=100), rng.normal(size=100)))
    assert verdict.agrees
    assert (
        f"0 of 100 returns are as published. Published from {cpu_name()}; this is {cpu_name()}."
        in verdict.text
    )
    assert "compatible (Welch's test, p = " in verdict.text
    assert "level 0.01" in verdict.text


def test_means_that_differ_do_not_agree(hub):
    rng = np.random.default_rng(0)
    same, other = (
        rows([1.0] * 9, [1.0] * 9),
        rows(rng.normal(size=100), rng.normal(2, 1, size=100), "train_levels"),
    )
    verdict = judge(hub, same, other)
    assert not verdict.agrees
    assert "eval: mean 1 published, 1 replayed: compatible (no return varies)" in verdict.text
    assert "train_levels: mean " in verdict.text
    assert "they differ (Welch's test" in verdict.text


def test_returns_that_do_not_vary_are_compared_as_they_are(hub):
    assert judge(hub, rows([1000.0] * 3, [1000.0, 1000.0, 1000.1])).agrees
    assert not judge(hub, rows([1000.0] * 3, [900.0] * 3)).agrees


@pytest.mark.parametrize(("shift", "code"), [(0.0, 0), (5.0, 1)])
def test_the_exit_code_says_whether_the_means_differ(hub, monkeypatch, shift, code):
    play = playback.play

    def shifted(*arguments, **options):
        episodes = play(*arguments, **options)
        return episodes._replace(returns=episodes.returns + shift)

    monkeypatch.setattr(playback, "play", shifted)
    result = CliRunner().invoke(main, ["verify", "--replay", str(RUNS[0])])
    assert result.exit_code == code, result.output
