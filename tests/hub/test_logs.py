"""Logs of other libraries: real ones, small ones whose content is known, and malformed ones."""

import json
import warnings
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rllte.errors import HubError, UnknownNameError
from rllte.hub import logs

HERE = Path(__file__).parent / "logs"
SB3 = HERE / "stable_baselines3/CartPole-v1"
CLEANRL = HERE / "cleanrl"


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def rows(table, *names):
    return [tuple(row[name] for name in names) for row in table.to_pylist()]


CURVE = "env_step,episode_return\n10,1.5\n20,2.5\n"


def test_a_csv_file_is_one_run(tmp_path):
    table = logs.read(write(tmp_path / "mine.csv", CURVE))
    assert table.schema.names == [
        "seed",
        "split",
        "env_step",
        "episode_return",
        "episode_length",
        "num_episodes",
    ]
    assert rows(table, "seed", "split", "env_step", "episode_return", "num_episodes") == [
        (0, "eval", 10, 1.5, 1), (0, "eval", 20, 2.5, 1),
    ]  # fmt: skip


def test_a_column_seed_makes_several_runs_of_a_file(tmp_path):
    text = "Seed,step,Return\n3,10,1\n3,20,2\n1,10,5\n1,20,6\n"
    table = logs.read(write(tmp_path / "mine.csv", text))
    assert rows(table, "seed", "env_step", "episode_return") == [
        (1, 10, 5),
        (1, 20, 6),
        (3, 10, 1),
        (3, 20, 2),
    ]


@pytest.mark.parametrize(
    ("names", "seeds"),
    [
        (("seed-4.csv", "seed_7.csv"), [4, 7]),
        (("seed=4/progress.csv", "seed=7/progress.csv"), [4, 7]),
        (("4/progress.csv", "7/progress.csv"), [4, 7]),
        (("a.csv", "b.csv"), [0, 1]),
    ],
)
def test_the_name_of_a_file_or_folder_tells_the_seed(tmp_path, names, seeds):
    for name in names:
        write(tmp_path / name, CURVE)
    assert sorted(set(logs.read(tmp_path).column("seed").to_pylist())) == seeds


def test_columns_can_be_named(tmp_path):
    path = write(tmp_path / "mine.csv", "t,points\n10,1\n")
    with pytest.raises(HubError, match="has no column for env_step; it has t, points"):
        logs.read(path)
    table = logs.read(path, columns={"env_step": "t", "episode_return": "points"})
    assert rows(table, "env_step", "episode_return") == [(10, 1.0)]
    with pytest.raises(UnknownNameError, match="Did you mean 'points'"):
        logs.read(path, columns={"env_step": "t", "episode_return": "point"})
    with pytest.raises(UnknownNameError, match="Did you mean 'env_step'"):
        logs.read(path, columns={"env_steps": "t"})


def test_parquet_is_read_as_csv_is(tmp_path):
    pq.write_table(pa.table({"global_step": [10, 20], "return": [1.0, 2.0]}), tmp_path / "mine.parquet")
    assert rows(logs.read(tmp_path / "mine.parquet"), "env_step", "episode_return") == [(10, 1.0), (20, 2.0)]


def test_the_logs_of_rllte_are_of_two_splits(tmp_path):
    header = "episode,episode_length,episode_reward,fps,step,total_time\n"
    write(tmp_path / "train.log", header + "1,10,2.0,99,100,1\n")
    write(tmp_path / "eval.log", header + "1,12,3.0,99,100,1\n")
    table = logs.read(tmp_path)
    assert rows(table, "seed", "split", "env_step", "episode_return", "episode_length") == [
        (0, "eval", 100, 3.0, 12.0), (0, "train", 100, 2.0, 10.0),
    ]  # fmt: skip


def test_the_episodes_of_parallel_monitors_are_in_the_order_of_their_ends(tmp_path):
    for i, episodes in enumerate(["5.0,10,1.0\n6.0,20,3.0\n", "7.0,30,2.0\n"]):
        header = json.dumps({"t_start": 100.0, "env_id": "CartPole-v1"})
        write(tmp_path / f"{i}.monitor.csv", f"#{header}\nr,l,t\n{episodes}")
    table = logs.read(tmp_path)
    assert rows(table, "seed", "split", "env_step", "episode_return", "episode_length") == [
        (0, "train", 10, 5.0, 10.0), (0, "train", 40, 7.0, 30.0), (0, "train", 60, 6.0, 20.0),
    ]  # fmt: skip


def test_evaluations_are_averaged_over_their_episodes(tmp_path):
    np.savez(
        tmp_path / "evaluations.npz",
        timesteps=[100, 200],
        results=[[1.0, 3.0], [4.0, 6.0]],
        ep_lengths=[[5, 7], [8, 8]],
    )
    table = logs.read(tmp_path)
    assert rows(table, "split", "env_step", "episode_return", "episode_length", "num_episodes") == [
        ("eval", 100, 2.0, 6.0, 2), ("eval", 200, 5.0, 8.0, 2),
    ]  # fmt: skip


def test_an_export_of_weights_and_biases_has_a_run_in_each_column(tmp_path):
    tag = "charts/episodic_return"
    header = f'"Step","ppo - {tag}","ppo - {tag}__MIN","x__2__99 - {tag}"\n'
    table = logs.read(write(tmp_path / "wandb.csv", header + "10,1,0,\n20,,,5\n30,3,0,6\n"))
    assert rows(table, "seed", "split", "env_step", "episode_return") == [
        (0, "train", 10, 1.0), (0, "train", 30, 3.0), (2, "train", 20, 5.0), (2, "train", 30, 6.0),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["monitor", "eval", "tb"])
def test_what_stable_baselines3_wrote_is_read(kind, tmp_path):
    for seed in range(3):
        (tmp_path / f"seed-{seed}").symlink_to(SB3 / f"seed-{seed}" / kind)
    table = logs.read(tmp_path) if kind != "tb" else None
    if table is None:
        with warnings.catch_warnings():  # TensorBoard's own
            warnings.simplefilter("ignore")
            table = logs.read(SB3 / "seed-1/tb")
        curve = logs.to_curves(table)
        assert 20 < curve["eval"].max() < 500
        return
    assert sorted(set(table.column("seed").to_pylist())) == [0, 1, 2]
    curves = logs.to_curves(table)
    split = "train" if kind == "monitor" else "eval"
    assert curves[split].shape[0] == 3
    assert curves.steps(split)[-1] <= 4096
    assert 8 < curves[split].min() <= curves[split].max() <= 500  # CartPole's returns are lengths


def test_a_run_with_logs_of_several_kinds_is_one_run_and_a_split_can_be_chosen():
    with warnings.catch_warnings():  # TensorBoard's own
        warnings.simplefilter("ignore")
        table = logs.read(SB3)
        evaluations = logs.read(SB3, split="eval")
    assert {(row["seed"], row["split"]) for row in table.to_pylist()} == {
        (seed, split) for seed in range(3) for split in ("train", "eval")
    }
    rows_of = [row for row in table.to_pylist() if row["split"] == "eval"]
    assert rows_of == evaluations.to_pylist()
    assert {row["num_episodes"] for row in rows_of} == {5}, "evaluations.npz, not the event file's means"
    with pytest.raises(HubError, match="has no log of the split 'eval', only of train"):
        logs.read(SB3 / "seed-0/monitor", split="eval")


def test_files_with_semicolons_are_read(tmp_path):
    table = logs.read(write(tmp_path / "mine.csv", CURVE.replace(",", ";")))
    assert rows(table, "env_step", "episode_return") == [(10, 1.5), (20, 2.5)]


def test_what_cleanrl_wrote_is_read():
    with warnings.catch_warnings():  # TensorBoard's own
        warnings.simplefilter("ignore")
        table = logs.read(CLEANRL)
    assert sorted(set(table.column("seed").to_pylist())) == [1, 2, 3]
    assert set(table.column("split").to_pylist()) == {"train"}
    curves = logs.to_curves(table)
    assert curves["train"].shape[0] == 3
    assert 8 <= curves["train"].min() <= curves["train"].max() <= 500


def test_runs_are_put_on_one_grid_by_the_last_value_at_or_before_each_point(tmp_path):
    write(tmp_path / "seed-0.csv", "env_step,episode_return\n0,1\n10,2\n20,3\n")
    write(tmp_path / "seed-1.csv", "env_step,episode_return\n5,10\n12,20\n15,30\n")
    table = logs.read(tmp_path)
    curves = logs.to_curves(table, num_points=3)
    assert curves.eval_steps.tolist() == [5, 10, 15]
    assert curves["eval"].tolist() == [[1, 2, 2], [10, 10, 30]]
    curves = logs.to_curves(table)  # all steps of both within the common range
    assert curves.eval_steps.tolist() == [5, 10, 12, 15]
    assert curves["eval"].tolist() == [[1, 2, 2, 2], [10, 10, 20, 30]]
    assert logs.lengths(table) == {0: 20, 1: 15}


MALFORMED = {
    "is empty": ("", r"mine\.csv is empty"),
    "has no rows": ("env_step,episode_return\n", "has column names and no rows"),
    "has no return": ("env_step,loss\n1,2\n", "no column for episode_return; it has env_step, loss"),
    "has a word": (CURVE + "30,high\n", r"mine\.csv, line 4: episode_return is 'high'; expected a number"),
    "has NaN": (CURVE + "30,nan\n", "line 4: episode_return is 'nan'; NaN and infinite values"),
    "has infinity": ("env_step,episode_return\n1,inf\n", "line 2: episode_return is 'inf'"),
    "has a gap": (CURVE + "30,\n", "line 4: episode_return is ''; expected a number"),
    "has half a step": (CURVE + "30.5,1\n", r"line 4: env_step is '30\.5'; expected a whole number"),
    "repeats a step": (CURVE + "20,1\n", "line 4: env step 20 is there twice for one seed"),
    "goes back": (CURVE + "5,1\n", "line 4: env step 5 follows 20.*needs a column seed"),
    "mixes environments": (
        "env,env_step,episode_return\nhopper,1,1\nwalker,2,1\n",
        "line 3: the environment is 'walker', but the rows before are of 'hopper'",
    ),
    "has another split": ("split,env_step,episode_return\ntest,1,1\n", "Unknown split 'test'"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_log_is_an_error_that_names_file_line_and_column(case, tmp_path):
    text, message = MALFORMED[case]
    path = write(tmp_path / "mine.csv", text)
    with pytest.raises(HubError, match=message) as error:
        logs.read(path)
    assert "mine.csv" in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("monitor.csv", b"r,l,t\n1,2,3\n", "line 1: expected stable-baselines3's JSON header"),
        ("monitor.csv", b'#{"t_start": 0}\nr,l\n1,2\n', "line 2: the columns t are missing"),
        ("monitor.csv", b'#{"t_start": 0}\nr,l,t\n1,2,3\n1,x,4\n', "line 4: l is 'x'"),
        ("monitor.csv", b'#{"t_start": 0}\nr,l,t\n', "has no episodes"),
        ("evaluations.npz", b"not a zip file", "is not an evaluations.npz of stable-baselines3"),
        ("mine.parquet", b"not parquet", "is not a Parquet file"),
        ("notes.txt", b"hello", "has no log: expected"),
    ],
)
def test_a_malformed_file_of_another_kind_is_an_error(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(HubError, match=message):
        logs.read(tmp_path)


def test_two_runs_of_one_seed_are_an_error(tmp_path):
    write(tmp_path / "a/seed-1.csv", CURVE)
    write(tmp_path / "b/seed-1.csv", CURVE)
    with pytest.raises(HubError, match="both have seed 1"):
        logs.read(tmp_path)


def test_runs_of_several_environments_are_an_error(tmp_path):
    for i, env_id in enumerate(["Hopper-v4", "Walker2d-v4"]):
        header = json.dumps({"t_start": 0.0, "env_id": env_id})
        write(tmp_path / f"seed-{i}/monitor.csv", f"#{header}\nr,l,t\n1,2,3\n")
    with pytest.raises(
        HubError, match=r"several environments: .*seed-0.* of Hopper-v4, .*seed-1.* of Walker2d-v4"
    ):
        logs.read(tmp_path)


def test_runs_without_a_common_step_have_no_grid(tmp_path):
    write(tmp_path / "seed-0.csv", "env_step,episode_return\n0,1\n10,2\n")
    write(tmp_path / "seed-1.csv", "env_step,episode_return\n20,1\n30,2\n")
    with pytest.raises(HubError, match="no env steps in common: one begins at 20, another ends at 10"):
        logs.to_curves(logs.read(tmp_path))


def test_a_path_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(HubError, match="nowhere does not exist"):
        logs.read(tmp_path / "nowhere")
