"""Which environments, options and seeds the settings of a cell give."""

import dataclasses
import shutil

import pytest

from rllte.env import ENVS
from rllte.errors import HubError
from rllte.names import Cell
from rllte.recipes.build import make_envs, sample_observations
from rllte.recipes.project import Project
from rllte.seeding import env_seeds
from rllte.stages.demonstrate import play_round
from rllte.stages.evaluate import play
from tests.conftest import ROOT, edit_yaml


class Made(Exception):
    """Ends a call as soon as it makes environments, with what it asked for."""


def record(
    env_id, num_envs, seed, device, num_threads, episodic_life=None, reward_clip=None, distribution_mode=None,
    num_levels=None, start_level=None,
):  # fmt: skip
    options = {
        "episodic_life": episodic_life,
        "reward_clip": reward_clip,
        "distribution_mode": distribution_mode,
        "num_levels": num_levels,
        "start_level": start_level,
    }
    raise Made(env_id, num_envs, list(seed), options)


@pytest.fixture
def asked(monkeypatch):
    """Return what a function asks the registered environments for."""
    for benchmark in ENVS:
        monkeypatch.setitem(ENVS, benchmark, f"{__name__}:record")

    def call(function, *args, **kwargs):
        with pytest.raises(Made) as caught:
            function(*args, **kwargs)
        return caught.value.args

    return call


OPTIONS = pytest.mark.parametrize(
    ("cell", "training", "evaluation"),
    [
        (Cell("atari", "ppo", "Pong-v5"), {"episodic_life": True, "reward_clip": True}, {}),
        (
            Cell("procgen", "ppo", "coinrun"),
            {"num_levels": 200, "start_level": 0},
            {"num_levels": 0, "start_level": 200},
        ),
    ],
)


@OPTIONS
def test_training_and_evaluation_have_options_of_their_own(asked, cell, training, evaluation):
    spec = Project(ROOT).spec(cell)
    for is_training, expected, others in ((True, training, evaluation), (False, evaluation, training)):
        *_, options = asked(make_envs, spec, 2, [5, 6], is_training)
        assert expected.items() <= options.items()
        assert not (others.items() - expected.items()) & options.items()


@OPTIONS
@pytest.mark.parametrize(
    "plays",
    [
        lambda spec: play(spec, None, 3, 10),
        lambda spec: play_round(spec, "random", None, 0.0, [5, 6]),
        lambda spec: sample_observations(spec, 3),
    ],
    ids=["scores", "demonstrations", "samples"],
)
def test_what_is_played_has_the_options_for_evaluation(asked, plays, cell, training, evaluation):
    *_, options = asked(plays, Project(ROOT).spec(cell))
    assert evaluation.items() <= options.items()
    assert not (training.items() - evaluation.items()) & options.items()


def test_scores_of_training_levels_are_played_on_training_levels(asked):
    spec = Project(ROOT).spec(Cell("procgen", "ppo", "coinrun"))
    *_, options = asked(make_envs, spec, 2, [5, 6], False, split="train_levels")
    assert (options["start_level"], options["num_levels"]) == (0, 200)


@pytest.mark.parametrize(("num_episodes", "num_envs"), [(100, 10), (15, 5), (7, 7), (1, 1)])
def test_scores_are_played_with_seeds_of_their_own_in_as_many_environments_as_share_them(
    asked, num_episodes, num_envs
):
    spec = Project(ROOT).spec(Cell("dmc", "sac", "cheetah_run"))
    assert spec.evaluation.num_envs == 10
    _, count, seeds, _ = asked(play, spec, None, 3, num_episodes)
    assert (count, seeds) == (num_envs, env_seeds(3, "score", 0, num_envs))
    curves = {seed for point in range(60) for seed in env_seeds(3, "curve", point, 10)}
    assert not curves & set(seeds)


@pytest.mark.parametrize(
    ("differs", "message"),
    [
        ({"env": {}}, "differs.train is missing"),
        ({"env": {}, "train": {}, "evaluation": {}, "trian": {}}, "trian"),
    ],
)
def test_a_key_under_differs_that_is_missing_or_unknown_is_an_error(tmp_path, differs, message):
    shutil.copytree(ROOT / "pipelines", tmp_path / "pipelines")
    path = "pipelines/dmc/sac/params.yaml"
    edit_yaml(tmp_path / path, lambda params: params.update(differs=differs))
    with pytest.raises(HubError, match=message) as caught:
        Project(tmp_path).train_settings("dmc", "sac")
    assert path in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"episodic_lives": True},
            "Unknown key 'episodic_lives' .*params.yaml: env.*Did you mean 'episodic_life'",
        ),
        ({"num_threads": 9}, "Unknown key 'num_threads'"),
        (5, "has 5 as options; expected keys and values"),
    ],
)
def test_options_that_environments_do_not_take_are_an_error(options, message):
    spec = dataclasses.replace(Project(ROOT).spec(Cell("atari", "ppo", "Pong-v5")), env={"training": options})
    with pytest.raises(HubError, match=message):
        make_envs(spec, 1, [0], True)
