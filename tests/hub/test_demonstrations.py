"""Loading demonstrations: a lazy mapping of episodes, and errors that help."""

import io
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from rllte.errors import HubError, MissingArtifactError, UnknownNameError
from rllte.hub.datasets import Atari, Demonstrations, MiniGrid, read_demonstrations
from rllte.hub.demonstrations import METADATA, transitions_schema
from rllte.hub.store.source import make_source
from rllte.names import Dataset
from tests.conftest import CELL, edit_yaml, git, record
from tests.test_cli import run

ENV_ID = CELL.env_id
LEVELS = ("random", "expert")


@pytest.fixture(scope="module")
def with_datasets(published_hub, tmp_path_factory):
    """A hub that also has demonstrations at two levels, three episodes each."""
    from rllte.stages.demonstrate import demonstrate

    root = shutil.copytree(published_hub, tmp_path_factory.mktemp("datasets") / "hub", symlinks=True)
    listed = {f"{ENV_ID}/{level}": {"env_id": ENV_ID, "level": level} for level in LEVELS}
    edit_yaml(root / "pipelines/minigrid/ppo/runs.yaml", lambda runs: runs.update(datasets=listed))
    edit_yaml(
        root / "pipelines/minigrid/params.yaml",
        lambda params: params["demonstrations"].update(num_episodes=3, num_envs=2),
    )
    for level in LEVELS:
        demonstrate(root, Dataset(CELL, level))
    record(root)
    git(root, "add", "-A")
    git(root, "commit", "-qm", "datasets")
    return root


@pytest.fixture
def hub(with_datasets, monkeypatch):
    monkeypatch.setenv("RLLTE_HUB_REPO", with_datasets.as_uri())
    return with_datasets


def file_of(frames, actions, *, stack_size=1, dtype="uint8", changes=()):
    """The bytes of a file with one episode for each list of frames."""
    buffer = io.BytesIO()
    discrete = np.asarray(actions[0]).ndim == 1
    schema = transitions_schema(np.asarray(frames[0][0], dtype).nbytes, discrete=discrete)
    writer = pq.ParquetWriter(buffer, schema, store_schema=False)
    for number, (some, done) in enumerate(zip(frames, actions, strict=True)):
        count = len(done)
        table = pa.table(
            {
                "episode": [number] * (count + 1),
                "step": range(count + 1),
                "observation": [np.asarray(frame, dtype).tobytes() for frame in some],
                "action": [*done, None],
                "reward": [*[1.0] * count, None],
                "terminated": [*[False] * (count - 1), True, None],
                "truncated": [*[False] * count, None],
            },
            schema=schema,
        )
        writer.write_table(table, row_group_size=count + 1)
    metadata = {
        "dtype": dtype,
        "frame_shape": list(np.asarray(frames[0][0]).shape),
        "stack_size": stack_size,
        "returns": [float(len(done)) for done in actions],
        "lengths": [len(done) for done in actions],
        "env_seeds": list(range(len(frames))),
        **dict(changes),
    }
    writer.add_key_value_metadata({METADATA: json.dumps(metadata)})
    writer.close()
    return buffer.getvalue()


SMALL = file_of([[[1], [2], [3]], [[4], [5]], [[6], [7]]], [[0, 1], [2], [3]])


def test_the_example_of_the_readme_loads(hub):
    demonstrations = MiniGrid().load_demonstrations(env_id=ENV_ID, level="random")
    assert list(demonstrations) == ["episode_0", "episode_1", "episode_2"]
    for episode in demonstrations.values():
        assert set(episode) == {"observations", "actions", "rewards", "terminateds", "truncateds"}
        length = len(episode["actions"])
        assert episode["observations"].shape == (length + 1, 7, 7, 3)
        assert (episode["observations"].dtype, episode["actions"].dtype) == (np.uint8, np.int64)
        assert (episode["rewards"].dtype, episode["rewards"].shape) == (np.float32, (length,))
        ended = episode["terminateds"] | episode["truncateds"]
        assert ended.tolist() == [False] * (length - 1) + [True]


def test_metadata_lead_back_to_the_model(hub):
    metadata = MiniGrid().load_demonstrations(ENV_ID, "expert").metadata
    artifact = make_source().catalogue.artifacts[metadata["model"]]
    assert metadata["model_sha256"] == artifact["sha256"]
    assert (metadata["cell"], metadata["level"]) == (str(CELL), "expert")


def test_an_episode_is_found_by_name_by_position_and_in_a_slice():
    demonstrations = Demonstrations(SMALL, "small")
    assert len(demonstrations) == 3
    assert demonstrations["episode_0"]["observations"].tolist() == [[1], [2], [3]]
    assert demonstrations["episode_0"]["actions"].tolist() == [0, 1]
    assert demonstrations[-1]["actions"].tolist() == [3]
    assert list(demonstrations[1:]) == ["episode_1", "episode_2"]
    assert demonstrations[1:][0]["actions"].tolist() == [2]
    assert demonstrations[1:].lengths.tolist() == [1, 1]
    assert demonstrations[:2].returns.tolist() == [2.0, 1.0]
    assert "episode_2" in demonstrations
    assert "episode_3" not in demonstrations
    assert "episode_0" not in demonstrations[1:]
    with pytest.raises(IndexError):
        demonstrations[3]


def test_an_episode_is_read_when_it_is_asked_for(monkeypatch):
    read, groups = pq.ParquetFile.read_row_group, []

    def watched(self, number, **options):
        groups.append(number)
        return read(self, number, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", watched)
    demonstrations = Demonstrations(SMALL, "small")
    assert (len(list(demonstrations)), groups) == (3, [])
    demonstrations["episode_1"]
    assert groups == [1]


def test_fewer_episodes_can_be_asked_for_and_more_are_an_error():
    assert len(Demonstrations(SMALL, "small", num_episodes=2)) == 2
    for number in (0, 4):
        with pytest.raises(HubError, match=f"num_episodes is {number}; small has 3"):
            Demonstrations(SMALL, "small", num_episodes=number)
    for number in ("2", 1.5, [1], True, float("nan")):
        with pytest.raises(HubError, match="expected a whole number from 1 to 3"):
            Demonstrations(SMALL, "small", num_episodes=number)


def test_frames_are_stacked_as_environments_stack_them():
    frames = [[[[1]], [[2]], [[3]], [[4]]]]  # four frames of shape (1, 1)
    data = file_of(frames, [[0, 0, 0]], stack_size=3)
    stacked = Demonstrations(data, "stacked")[0]["observations"]
    assert stacked.tolist() == [[[1], [1], [1]], [[1], [1], [2]], [[1], [2], [3]], [[2], [3], [4]]]
    assert Demonstrations(data, "stacked", stack=False)[0]["observations"].tolist() == frames[0]


def test_continuous_actions_and_states_keep_their_numbers():
    data = file_of([[[0.5, -2.0], [1e-9, 3.0]]], [[[0.25, -1.0, 1.0]]], dtype="float32")
    episode = Demonstrations(data, "states")[0]
    assert episode["observations"].tolist() == [[0.5, -2.0], [np.float32(1e-9), 3.0]]
    assert episode["actions"].tolist() == [[0.25, -1.0, 1.0]]
    assert episode["actions"].dtype == episode["observations"].dtype == np.float32


def test_transitions_are_tensors_in_order():
    tensors = Demonstrations(SMALL, "small").to_torch()
    assert tensors["observations"].tolist() == [[1], [2], [4], [6]]
    assert tensors["next_observations"].tolist() == [[2], [3], [5], [7]]
    assert tensors["actions"].tolist() == [0, 1, 2, 3]
    assert tensors["terminateds"].tolist() == [False, True, True, True]
    assert (tensors["actions"].dtype, tensors["rewards"].dtype) == (torch.int64, torch.float32)


def test_arrays_are_the_callers_own():
    demonstrations = Demonstrations(SMALL, "small")
    for values in demonstrations[0].values():
        values[:] = 0
    assert demonstrations[0]["observations"].tolist() == [[1], [2], [3]]


@pytest.mark.parametrize(
    ("level", "error", "message"),
    [
        ("experts", UnknownNameError, "Unknown level 'experts'. Did you mean 'expert'"),
        (
            "noise",
            MissingArtifactError,
            rf"There are: random, expert\. Make .* demonstrate {CELL} --level noise",
        ),
    ],
)
def test_a_level_that_is_not_there_is_an_error_with_what_to_do(hub, level, error, message):
    with pytest.raises(error, match=message):
        MiniGrid().load_demonstrations(ENV_ID, level)


def test_an_environment_without_demonstrations_is_an_error(hub):
    with pytest.raises(MissingArtifactError, match="atari/ppo/Pong-v5/expert are planned but not available"):
        Atari().load_demonstrations("Pong-v5")
    with pytest.raises(UnknownNameError, match="Did you mean 'Pong-v5'"):
        Atari().load_demonstrations("Ping-v5")
    with pytest.raises(MissingArtifactError, match="minigrid/a2c"):
        MiniGrid().load_demonstrations(ENV_ID, "expert", agent="A2C")


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "object"},
        {"dtype": "float32"},
        {"frame_shape": [2]},
        {"frame_shape": [-1]},
        {"frame_shape": "x"},
        {"stack_size": 0},
        {"stack_size": 10**9},
        {"returns": [1.0, 2.0]},
        {"lengths": None},
        {"lengths": ["1"]},
        {"returns": ["1"]},
        {"returns": [10**400]},
        {"returns": {"0": 1.0}},
        {"frame_shape": ["1"]},
        {"stack_size": 1.5},
    ],
)
def test_metadata_that_do_not_fit_the_columns_are_an_error(changes):
    data = file_of([[[1], [2]]], [[0]], changes=changes)
    with pytest.raises(HubError, match="bad is not a file of demonstrations"):
        Demonstrations(data, "bad")


def test_a_file_that_is_damaged_or_something_else_is_an_error(tmp_path):
    with pytest.raises(HubError, match="is not a readable Parquet file"):
        Demonstrations(b"nonsense", "bad")
    scores = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), scores)
    with pytest.raises(HubError, match="is not a file of demonstrations"):
        Demonstrations(scores.getvalue(), "bad")
    with pytest.raises(HubError, match="nothing cannot be read: No such file"):
        read_demonstrations("nothing")
    (tmp_path / "small.parquet").write_bytes(SMALL)
    assert len(read_demonstrations(tmp_path / "small.parquet")) == 3


def test_missing_values_and_rows_out_of_order_are_an_error():
    table = pq.read_table(pa.BufferReader(SMALL))
    metadata = pq.ParquetFile(pa.BufferReader(SMALL)).metadata.metadata
    one = table.slice(0, 3)
    for change, message in (
        (one.take([1, 0, 2]), "the rows of episode 0 are not in order"),
        (one.slice(0, 1), "episode 0 has 1 rows; expected 2 to"),
        (
            one.set_column(3, "action", pa.array([0, None, None], pa.int32())),
            "episode 0 lacks values of action",
        ),
        (one.set_column(2, "observation", pa.array([b"1", None, b"2"], pa.binary(1))), "lacks values of obs"),
    ):
        buffer = io.BytesIO()
        with pq.ParquetWriter(buffer, table.schema, store_schema=False) as writer:
            writer.write_table(change)
            content = json.loads(metadata[METADATA.encode()])
            content |= {key: content[key][:1] for key in ("returns", "lengths", "env_seeds")}
            writer.add_key_value_metadata({METADATA: json.dumps(content)})
        with pytest.raises(HubError, match=message):
            Demonstrations(buffer.getvalue(), "bad")[0]


def test_an_empty_slice_has_a_text_and_no_tensors():
    none = Demonstrations(SMALL, "small")[:0]
    assert repr(none) == "Demonstrations(small: 0 episodes)"
    with pytest.raises(HubError, match="small: this slice has no episodes"):
        none.to_torch()


def test_an_action_with_more_numbers_than_actions_have_is_not_unpacked():
    data = file_of([[[0.0], [1.0]]], [[[0.0] * 1000]], dtype="float32")
    with pytest.raises(HubError, match=r"column action\.list\.element has more than 128 values"):
        Demonstrations(data, "bad")[0]


def test_demonstrations_are_pulled_and_verified_like_other_artifacts(hub, tmp_path):
    run("pull", str(CELL), "--kind", "demonstrations", "--local-dir", tmp_path)
    for level in LEVELS:
        path = Dataset(CELL, level).path
        assert (tmp_path / path).read_bytes() == (hub / path).read_bytes()
    run("verify", str(CELL))


def test_show_names_the_demonstrations_beside_the_scores_of_each_seed(hub):
    facts = json.loads(run("show", str(CELL), "--json").stdout)
    assert list(facts["scores"]) == ["seed-0", "seed-1"]
    assert {level: row["num_episodes"] for level, row in facts["demonstrations"].items()} == {
        "expert": 3,
        "random": 3,
    }
    assert "policy_seed" not in facts["demonstrations"]["random"]


@pytest.mark.slow
def test_a_file_of_ones_own_begins_with_the_published_episodes(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("demonstrate", f"minigrid/{ENV_ID}", "--level", "expert", "-n", 4)
    own, published = read_demonstrations(f"{ENV_ID}-expert.parquet"), MiniGrid().load_demonstrations(ENV_ID)
    assert len(own) == 4
    for name, episode in published.items():
        for key, values in episode.items():
            assert np.array_equal(values, own[name][key])
    assert [path.name for path in tmp_path.glob("*parquet*")] == [f"{ENV_ID}-expert.parquet"]
    for arguments in (("-n", 0), ("--noise", 2)):
        result = run("demonstrate", f"minigrid/{ENV_ID}", "--level", "noise", *arguments, code=1)
        assert "write a number" in result.output
