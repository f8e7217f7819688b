"""Figures of curves and comparisons, looked at by what Matplotlib was told to draw."""

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure

from rllte.cli import main
from rllte.errors import HubError
from rllte.hub import figures
from rllte.hub.arrays import Curves
from rllte.hub.statistics import Interval


def curves(returns, steps=(0, 100)):
    one = Curves({"eval": np.array(returns, np.float32)})
    one.eval_steps, one.seeds = np.array(steps), np.arange(len(returns))
    return one


def drawn(ax):
    return [line.get_ydata().tolist() for line in ax.lines]


def test_a_curve_is_its_mean_its_band_and_each_seed():
    ax = figures.plot_curves({"ppo": curves([[0, 2], [2, 4]])})
    assert drawn(ax) == [[1, 3], [0, 2], [2, 4]]
    assert [line.get_linewidth() for line in ax.lines] == [1.8, 0.5, 0.5]
    (band,) = ax.collections
    # the deviation of 0 and 2 is sqrt(2), so the half-width is 12.706 · sqrt(2) / sqrt(2)
    assert band.get_paths()[0].vertices[:, 1].min() == pytest.approx(1 - 12.706, abs=0.01)
    assert ax.get_ylabel() == "episode return"


def test_the_axis_shows_the_seeds_whole_and_not_a_wide_band():
    ax = figures.plot_curves({"ppo": curves([[0, 2], [2, 4]])})
    low, high = ax.get_ylim()
    assert -1 < low < 0
    assert 4 < high < 5


def test_axes_can_be_scaled_and_returns_normalised_and_smoothed():
    ax = figures.plot_curves(
        {"ppo": curves([[0, 20, 40]], (0, 10, 20))}, x_scale={"ppo": 4}, bounds=(0, 40), smooth=2
    )
    assert ax.lines[0].get_xdata().tolist() == [0, 40, 80]
    assert drawn(ax)[0] == [0, 0.25, 0.75]
    assert ax.get_ylabel() == "normalised episode return"


def test_an_agent_has_one_colour_in_all_panels_and_one_entry_in_the_legend():
    figure, axes = figures.panels(["a", "b"])
    colours = figures.colours_of(["ppo", "sac"])
    figures.plot_curves({"ppo": curves([[0, 1]]), "sac": curves([[1, 2]])}, axes["a"], colours=colours)
    figures.plot_curves({"sac": curves([[1, 2]])}, axes["b"], colours=colours)
    assert axes["a"].lines[2].get_color() == axes["b"].lines[0].get_color() == colours["sac"]
    figures.add_legend(figure, {"sac": "sac (1 seed)"})
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["ppo", "sac (1 seed)"]


def test_references_are_drawn_up_to_the_end_of_our_curve_and_people_as_a_line():
    ax = figures.plot_curves({"ppo": curves([[0, 2], [2, 4]])})
    row = {"agent": "ppo", "source": "somebody@1234", "env_step": 0, "mean": 1.0}
    people = {"agent": "human", "source": "x", "env_step": None, "mean": 3.0}
    figures.plot_references(
        [row, {**row, "env_step": 50, "mean": 2.0}, {**row, "env_step": 10**6}, people], ax
    )
    human, theirs = ax.lines[-2:]
    assert theirs.get_ydata().tolist() == [1.0, 2.0]
    assert theirs.get_linestyle() == "--"
    assert theirs.get_label() == "ppo (somebody)"
    assert set(human.get_ydata()) == {3.0}


def test_intervals_are_drawn_from_end_to_end():
    ax = figures.plot_intervals({"ppo": Interval(0.5, 0.4, 0.7)}, label="IQM")
    bar, mark = ax.lines
    assert list(bar.get_xdata()) == [0.4, 0.7]
    assert list(mark.get_xdata()) == [0.5]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["ppo"]


def test_a_profile_falls_from_one_to_zero():
    ax = figures.plot_profiles({"ppo": {"a": np.array([0.5, 0.7])}})
    x, y = ax.lines[0].get_data()
    assert y[0] == 1.0
    assert y[x > 0.7].max() == 0.0


def test_a_split_that_is_not_there_is_an_error():
    with pytest.raises(HubError, match="ppo has no curve of the split 'train'; it has eval"):
        figures.plot_curves({"ppo": curves([[0, 1]])}, split="train")


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_the_text_of_a_figure_stays_text(suffix, tmp_path):
    figure = Figure(layout="constrained")
    figures.plot_curves({"ppo": curves([[0, 1]])}, figure.subplots())
    data = figures.save(figure, tmp_path / f"figure.{suffix}").read_bytes()
    if suffix == "svg":
        assert b">episode return</text>" in data
    if suffix == "pdf":
        assert b"/FontFile2" in data  # TrueType, which editors keep as text; not Type 3
    with pytest.raises(HubError, match=r"figure\.docx"):
        figures.save(figure, tmp_path / "figure.docx")


def test_no_label_is_cut_off(tmp_path):
    figure, axes = figures.panels([f"task-{i}" for i in range(4)])
    for ax in axes.values():
        figures.plot_curves({"an agent with quite a long name": curves([[-12345.0, 98765.0]])}, ax)
        ax.set_xlabel("env steps")
    figures.add_legend(figure)
    figures.save(figure, tmp_path / "figure.png")
    whole = figure.bbox
    for ax in axes.values():
        box = ax.get_tightbbox()
        assert box.x0 >= whole.x0
        assert box.x1 <= whole.x1
        assert box.y0 >= whole.y0
        assert box.y1 <= whole.y1


def invoke(*arguments, code=0):
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == code, result.output
    return result


@pytest.mark.parametrize("aggregate", ["iqm", "profile", "improvement"])
def test_the_command_plots_aggregates(aggregate, tmp_path):
    result = invoke("plot", "minigrid/[ap]*/Empty-*", "-o", tmp_path / "a.png", "--aggregate", aggregate)
    assert "holds the truth in about 90" in result.stderr
    assert (tmp_path / "a.png").stat().st_size > 5000


def test_the_command_plots_patterns_with_all_options(tmp_path):
    invoke(
        "plot", "dmc/*/cartpole*", "-o", tmp_path / "a.pdf", "--split", "train", "--x", "frames",
        "--normalize", "--smooth", 3, "--title", "Cartpole", "--columns", 1,
    )  # fmt: skip
    invoke("plot", "atari/ppo/Pong-v5", "procgen/ppo/coinrun", "-o", tmp_path / "b.png", "--references")
    result = invoke("plot", "minigrid/ppo/Empty-5x5-v0", "atari/ppo/Pong-v5", "-o", tmp_path / "c.png")
    assert result.stderr.count("different numbers of frames") == 1


def test_scores_of_several_benchmarks_are_not_combined(tmp_path):
    result = invoke(
        "plot", "minigrid/ppo/*", "dmc/sac/*", "-o", tmp_path / "a.png", "--aggregate", "iqm", code=1
    )
    assert "Scores of several benchmarks cannot be combined: dmc, minigrid" in result.stderr


def test_a_pattern_that_nothing_is_like_is_an_error(tmp_path):
    result = invoke("plot", "dmc/*/nothing*", "-o", tmp_path / "a.png", code=1)
    assert "No available cell is like 'dmc/*/nothing*'" in result.stderr


def test_the_command_compares_own_logs(tmp_path):
    for seed in (0, 1, 2):
        (tmp_path / "runs/cheetah_run").mkdir(parents=True, exist_ok=True)
        text = f"env_step,episode_return\n0,0\n200000,{100 + seed}\n"
        (tmp_path / f"runs/cheetah_run/seed-{seed}.csv").write_text(text)
    output = invoke("compare", "dmc/sac", "--mine", tmp_path / "runs", "-o", tmp_path / "a.png").stdout
    assert "cheetah_run: mine is lower than sac with " in output
    assert (tmp_path / "a.png").exists()
    folder = tmp_path / "runs/cheetah_run"
    for option, sign in (("--json", '"benchmark": "dmc"'), ("--markdown", "|:--|"), ("--latex", "\\toprule")):
        arguments = ("compare", "dmc/sac", "--mine", f"ours={folder}", "--env", "cheetah_run", option)
        output = invoke(*arguments).stdout
        assert sign in output
        assert "ours" in output


def test_the_command_says_what_it_cannot_compare(tmp_path):
    (tmp_path / "runs").mkdir()
    result = invoke("compare", "dmc/sac", "--mine", tmp_path / "runs", code=1)
    assert "has no folder for an environment. Name the environment with --env" in result.stderr
    result = invoke("compare", "dmc/sac", "--mine", tmp_path / "nowhere", code=1)
    assert "nowhere does not exist" in result.stderr
    assert "needs two parts: benchmark/agent" in invoke("compare", "sac", code=2).stderr
    assert (
        "agents of several benchmarks: dmc, minigrid"
        in invoke("compare", "dmc/sac", "minigrid/ppo", code=2).stderr
    )


def test_scores_and_curves_of_several_cells_are_one_table():
    lines = invoke("scores", "dmc/[ds]*/cartpole_balance").stdout.splitlines()
    assert (
        lines[0] == '"benchmark","agent","env_id","seed","split","episode","episode_return","episode_length"'
    )
    assert len(lines) == 1 + 100 * (5 + 3)
    assert invoke("curves", "dmc/ddpg/cartpole_balance").stdout.startswith('"seed","split"')
