"""Folders for Hugging Face: huggingface_hub reads the card, the files are the published ones."""

import dataclasses
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from rllte.errors import HubError, MissingExtraError
from rllte.files import md5, sha256
from rllte.hub import MiniGrid, huggingface_folder
from rllte.hub.huggingface_folder import _facts, _published_files, best_run, write_huggingface_folder
from rllte.hub.model_cards import escaped, model_card
from rllte.hub.store.source import make_source
from rllte.names import Run
from tests.conftest import CELL, RUNS, git
from tests.test_cli import run

huggingface_hub = pytest.importorskip("huggingface_hub")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.slow

HOSTILE = (
    "a\n---\nlicense: evil\n---\n# Big\n<script>x</script> ![i](http://e) [l](j) `c` | cell | **b**"
    "```\n\x1b[31m"
)


@pytest.fixture(scope="module")
def source(published_hub):
    return make_source(published_hub)


@pytest.fixture(scope="module")
def facts(source):
    return _facts(source, RUNS[0])


@pytest.fixture(scope="module")
def folder(source, tmp_path_factory):
    path = tmp_path_factory.mktemp("huggingface") / "new" / "model"
    write_huggingface_folder(source, RUNS[0], path)
    return path


def returns(published_hub):
    return MiniGrid(repo=published_hub).load_scores(CELL.env_id, CELL.agent)


def test_huggingface_hub_reads_the_scores_of_the_run_and_of_its_cell(folder, published_hub):
    data, scores = huggingface_hub.ModelCard.load(folder / "README.md").data, returns(published_hub)
    of_run, of_cell = data.eval_results
    assert (of_run.metric_value, of_cell.metric_value) == pytest.approx(
        (scores[0].mean(), scores.mean()), abs=1e-4
    )
    assert (of_run.dataset_type, of_run.dataset_split, of_run.metric_type) == (
        str(CELL).replace("/ppo", ""),
        "eval",
        "mean_reward",
    )
    assert "seed 0, 4 episodes" in of_run.metric_name
    low, high = of_run.metric_args["interval_95"]
    row = make_source(published_hub).catalogue.artifacts[RUNS[0].path("scores")]
    assert [low, high] == pytest.approx(row["interval"], abs=1e-4)
    assert (data.pipeline_tag, data.license, data.model_name) == (
        "reinforcement-learning", "other", "minigrid-ppo-Empty-5x5-v0-seed-0"
    )  # fmt: skip
    assert {"ppo", "minigrid", CELL.env_id} <= set(data.tags)


def test_the_files_are_those_of_the_catalogue_and_the_config_has_their_hashes(folder, source):
    config = json.loads((folder / "config.json").read_text())
    names = {path.name for path in folder.iterdir()} - {"README.md", "config.json"}
    assert names == {"model.pt", "model.onnx", "model.safetensors", "curves.parquet"}
    assert config["sha256"] == {name: sha256((folder / name).read_bytes()) for name in sorted(names)}
    for name, owner, kind in (
        ("model.pt", RUNS[0], "model"),
        ("model.safetensors", RUNS[0], "policy"),
        ("curves.parquet", CELL, "curves"),
    ):
        assert config["sha256"][name] == source.catalogue.artifact(owner, kind).sha256
    assert (config["run"], config["output"], config["settings"]["hyperparameters"]["num_steps"]) == (
        str(RUNS[0]),
        "logits",
        32,
    )


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # of the block without this package
def test_the_code_of_the_card_runs_and_both_models_agree(folder, published_hub, monkeypatch):
    monkeypatch.setenv("RLLTE_HUB_REPO", str(published_hub))
    card, names = (folder / "README.md").read_text(), {}
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda _: folder)
    found = []
    for block in re.findall("```python\n(.*?)```", card, re.DOTALL):
        with torch.no_grad():
            exec(block, names)
        found.append(names.get("logits"))
    assert found[1].shape == (1, 7)
    assert np.abs(found[2] - found[1].numpy()).max() < 1e-5
    assert torch.equal(names["model"](torch.zeros(1, 7, 7, 3, dtype=torch.uint8)), found[1])


def test_no_file_names_the_folder_of_the_repository(folder, published_hub):
    for path in folder.iterdir():
        assert str(published_hub).encode() not in path.read_bytes(), path


def test_a_folder_has_the_same_bytes_again(folder, source, tmp_path):
    write_huggingface_folder(source, RUNS[0], tmp_path / "again")
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name


def test_a_folder_that_exists_is_kept_and_a_failure_leaves_nothing(folder, source, tmp_path, monkeypatch):
    before = sorted(folder.iterdir())
    with pytest.raises(HubError, match=r"model exists\. Delete it, or choose another folder"):
        write_huggingface_folder(source, RUNS[0], folder)
    assert sorted(folder.iterdir()) == before
    monkeypatch.setattr(huggingface_folder, "checked_onnx", lambda *_: b"")
    write, written = Path.write_bytes, []

    def fill_the_disk(path, data):
        if written:
            raise OSError(28, "No space left on device")
        written.append(path)
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", fill_the_disk)
    with pytest.raises(OSError, match="No space left"):
        write_huggingface_folder(source, RUNS[0], tmp_path / "full")
    assert written
    assert not list(tmp_path.glob("*full*"))


def test_texts_of_a_catalogue_add_neither_metadata_nor_markup_to_a_card(facts):
    clean = model_card(facts, ["model.pt"])
    row, spec = {**facts.row, "note": HOSTILE}, dataclasses.replace(facts.spec, source=HOSTILE)
    hostile = dataclasses.replace(facts, row=row, spec=spec, machine={"cpu": HOSTILE, "num_threads": ["<b>"]})
    text = model_card(hostile, ["model.pt"])
    cards = [huggingface_hub.ModelCard(one) for one in (clean, text)]
    assert cards[0].data.to_dict() == cards[1].data.to_dict()
    for markup in ("<script", "<b>", "![i", "[l](", "\x1b", "\nlicense: evil", "\n# Big"):
        assert markup not in text
    changed = [line for line in text.splitlines() if line not in clean.splitlines()]
    assert [line.split()[0:2] for line in changed if line.startswith("|")] == [
        ["|", "source"],
        ["|", "processor"],
        ["|", "threads"],
    ]
    assert [line for line in changed if not line.startswith("|")] == [f"Note: {escaped(HOSTILE)}"]


def test_markdown_shows_an_escaped_text_as_it_is():
    assert escaped("0.9 ± 0.1 (docs/a.md), seed 3's") == "0.9 ± 0.1 (docs/a.md), seed 3's"
    assert escaped("ent_coef <b> & `x`\n\n| y") == r"ent\_coef &lt;b&gt; &amp; \`x\` \| y"


def test_an_env_id_with_markup_is_refused(hub, tmp_path):
    text = (hub / "catalogue.json").read_text()
    (hub / "catalogue.json").write_text(text.replace('"Empty-5x5-v0"', '"<script>"'))
    with pytest.raises(HubError, match="env_id is '<script>'; names have letters"):
        best_run(make_source(), CELL)


def test_a_card_says_how_the_seed_compares_with_the_others(facts):
    chosen = dataclasses.replace(facts, best_seed=facts.run.seed)
    assert "Of these seeds it has the highest mean return." in model_card(chosen, [])
    assert "The highest mean return is that of seed 7." in model_card(
        dataclasses.replace(facts, best_seed=7), []
    )
    alone = dataclasses.replace(facts, row={**facts.row, "seeds": [0]})
    assert "highest" not in model_card(alone, [])


def test_the_best_run_has_the_highest_mean_and_is_the_first_of_equals(source, monkeypatch):
    for rows, best in (([[0, 1], [1, 1]], 1), ([[0, 2], [1, 1]], 0), ([[3, 0], [1, 1]], 0)):
        monkeypatch.setattr(huggingface_folder, "_returns", lambda *_, rows=rows: np.array(rows, np.float32))
        assert best_run(source, CELL) == Run(CELL, best)


def test_a_card_names_the_commit_if_that_lists_the_files(hub):
    commit = git(hub, "rev-parse", "HEAD").stdout.strip()
    assert _facts(make_source(rev="HEAD"), RUNS[0]).commit == commit
    assert _facts(make_source(), RUNS[0]).commit == commit
    catalogue = json.loads((hub / "catalogue.json").read_text())
    (hub / "catalogue.json").write_text(json.dumps(catalogue, indent=1))
    assert _facts(make_source(), RUNS[0]).commit is None


def test_a_card_has_the_video_of_the_cell_and_the_licence_of_the_repository(hub, facts):
    catalogue, film = json.loads((hub / "catalogue.json").read_text()), b"film"
    row = {"path": CELL.path("video"), "md5": md5(film), "sha256": sha256(film), "size": 4, "kind": "video"}
    names = {"benchmark": "minigrid", "agent": "ppo", "env_id": CELL.env_id}
    catalogue["artifacts"].append({**row, **names})
    (hub / "catalogue.json").write_text(json.dumps(catalogue))
    (hub / row["path"]).parent.mkdir(parents=True)
    (hub / row["path"]).write_bytes(film)
    (hub / "LICENSE").write_text("MIT License\n")
    files = _published_files(make_source(), RUNS[0])
    assert files["replay.mp4"] == film
    ours = dataclasses.replace(facts, licence=_facts(make_source(), RUNS[0]).licence)
    card = huggingface_hub.ModelCard(model_card(ours, files))
    assert "`replay.mp4`: an episode of seed 0" in card.text
    assert card.data.license == "mit"


def test_a_missing_package_is_named(source, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r'huggingface_hub\. Install .*"rllte-hub\[huggingface\]"'):
        write_huggingface_folder(source, RUNS[0], tmp_path / "model")


def test_the_command_takes_the_best_seed_of_a_cell_or_a_run(hub, tmp_path, published_hub):
    best = int(returns(published_hub).mean(axis=1).argmax())
    assert run("export", CELL, "--format", "huggingface", tmp_path / "m").stderr.endswith(
        f"m: {CELL}/seed-{best}\n"
    )
    assert json.loads((tmp_path / "m/config.json").read_text())["seed"] == best
    assert "seed-1" in run("export", RUNS[1], tmp_path / "one.onnx", "--format", "onnx").stderr
    assert (
        "Unknown seed '7'"
        in run("export", f"{CELL}/seed-7", "--format", "onnx", tmp_path / "x", code=1).stderr
    )
    assert (
        "Unknown env_id" in run("export", "minigrid/ppo/X", "--format", "onnx", tmp_path / "x", code=1).stderr
    )
    assert "one.onnx exists" in run("export", CELL, "--format", "onnx", tmp_path / "one.onnx", code=1).stderr
    assert "name the DIR to write" in run("export", CELL, "--format", "huggingface", code=2).stderr
    assert "name a --format" in run("export", RUNS[0], tmp_path / "x", code=2).stderr
    assert not (tmp_path / "x").exists()
    shutil.rmtree(tmp_path / "m")
