"""The documents: links lead somewhere, code blocks run, commands exist."""

import re
import shlex
import shutil
from pathlib import Path

import click
import envpool
import pytest

from rllte.cli import main
from rllte.files import write_bytes
from rllte.hub import MiniGrid
from rllte.hub.minari_export import export_minari, minari_id
from rllte.hub.store.cache import fetch
from rllte.hub.store.source import make_source
from rllte.names import Cell, Run
from tests.conftest import git, run_program

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]
SHORT = (
    (r"\.train\((num_train_steps=)?[\d_.e]+", r".train(\g<1>2"),  # one update
    (r"num_episodes=100\b", "num_episodes=10"),
    (r"< 10:", "< 1:"),
    (r"range\(2000\)", "range(20)"),
    (r"10, list\(range\(5000, 5010\)\)", "2, [5000, 5001]"),
    ("num_episodes=10\\)\\.returns", "num_episodes=2).returns"),
    (
        'device="cuda"',
        'device="cpu", num_envs=4, num_steps=8, batch_size=32, num_eval_envs=2, num_eval_episodes=2',
    ),
    ('"/tmp/', '"./'),
)
"""What makes the examples short: fewer env steps, episodes and environments; and what runs here."""
CELL = Cell("minigrid", "ppo", "DoorKey-5x5-v0")


def blocks(document, language):
    """Return the code blocks of a document, also those in lists."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", document.read_text(), re.DOTALL | re.MULTILINE)
    return ["\n".join(line.removeprefix(indent) for line in text.splitlines()) for indent, text in found]


def examples(language):
    return [
        pytest.param(document, text, id=f"{document.relative_to(ROOT)}-{i}")
        for document in DOCUMENTS
        for i, text in enumerate(blocks(document, language), 1)
    ]


def anchors(document):
    """Return the anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document):
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", document.read_text()):
        path, _, anchor = target.partition("#")
        linked = document.parent / path if path else document
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), target


def test_every_document_is_linked_from_the_readme():
    reached, left = set(), [ROOT / "README.md"]
    while left:
        document = left.pop()
        reached.add(document)
        for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", document.read_text()):
            linked = (document.parent / target).resolve()
            if linked.suffix == ".md" and linked not in reached:
                left.append(linked)
    assert set(DOCUMENTS) <= reached


def test_documents_name_no_file_that_is_gone():
    paths = re.compile(r"`((?:docs|src|tests|benchmarks|pipelines|references)/[\w./-]+)`")
    for document in DOCUMENTS:
        for name in paths.findall(document.read_text()):
            assert (ROOT / name).exists() or "myagent" in name, f"{document.name}: {name}"


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A server's repository, which allows partial clones."""
    path = tmp_path_factory.mktemp("server") / "rllte-hub.git"
    git(ROOT, "clone", "-q", "--bare", ROOT, path)
    git(path, "config", "uploadpack.allowFilter", "true")
    git(path, "config", "uploadpack.allowAnySHA1InWant", "true")
    return f"file://{path}"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with what examples read: the files of a cell under their names, and the tidy tables."""
    source = make_source()
    catalogue = source.catalogue
    artifacts = [
        catalogue.artifact(owner, kind)
        for owner, kind in [(CELL, "scores"), (CELL, "curves"), (Run(CELL, 0), "model")]
    ]
    for artifact in [*artifacts, *catalogue.files(CELL, ["demonstrations"])]:
        write_bytes(tmp_path / artifact.path, fetch(source, artifact))
    shutil.copytree(ROOT / "tables", tmp_path / "tables")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RLLTE_HUB_REPO", raising=False)
    return tmp_path


@pytest.fixture
def short_games(monkeypatch):
    """Let a game of Atari end after 200 steps."""
    make = envpool.make

    def make_short(task_id, **options):
        atari = envpool.registration.registry.specs[task_id][0] == "envpool.atari"
        return make(task_id, **({"max_episode_steps": 200} if atari else {}), **options)

    monkeypatch.setattr(envpool, "make", make_short)


@pytest.mark.slow
@pytest.mark.usefixtures("short_games")
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # of examples without this package
@pytest.mark.parametrize(("document", "text"), examples("python"))
def test_python_examples_run(document, text, place, bare, capsys, monkeypatch):
    if "git" in text:  # the example asks the folder's clone for its URL
        git(place, "init", "-q")
        git(place, "remote", "add", "origin", bare)
    if "minari" in text:  # the command above the example writes what it reads
        demonstrations = MiniGrid().load_demonstrations(CELL.env_id, "expert")
        export_minari(demonstrations, minari_id(CELL, "expert"), place / "datasets")
        monkeypatch.delenv("MINARI_DATASETS_PATH", raising=False)
    short = text
    for pattern, replacement in SHORT:
        short = re.sub(pattern, replacement, short)
    short = short.replace("https://example.org/you/rllte-hub.git", bare)
    exec(compile(short, str(document), "exec"), {"__name__": "__main__"})


def commands(text):
    """Return the arguments of each call of rllte-hub in a shell block."""
    lines = [
        line for line in text.replace("\\\n", " ").splitlines() if re.search(r"(^|[ $(])rllte-hub ", line)
    ]
    calls = (shlex.split(re.split(r"\s#\s|&&|\||;|> |\s&$", line)[0]) for line in lines)
    return [words[words.index("rllte-hub") + 1 :] for words in calls if words[:1] not in (["git"], ["cd"])]


@pytest.mark.parametrize(("document", "text"), examples("sh"))
def test_commands_have_the_options_that_documents_show(document, text):
    for arguments in commands(text):
        context = main.make_context("rllte-hub", list(arguments))
        name, command, rest = main.resolve_command(context, [*context._protected_args, *context.args])
        command.make_context(name, rest, parent=context)


def test_every_command_is_in_the_reference():
    text = (ROOT / "docs/reference/command-line.md").read_text()
    for name, command in main.commands.items():
        if command.hidden:
            continue
        assert f"`{name}`" in text or f"rllte-hub {name}" in text, name
        for option in (option for option in command.params if isinstance(option, click.Option)):
            assert any(flag in text for flag in option.opts), f"{name} {option.opts}"


def test_a_light_clone_has_no_artifacts_and_loads_by_url(bare, tmp_path, monkeypatch):
    (block,) = [text for text in blocks(ROOT / "docs/how-to/light-clone.md", "sh") if "--filter" in text]
    script = block.replace("https://example.org/rllte-hub.git", bare)
    run_program("bash", "-euc", script, cwd=tmp_path)
    clone = tmp_path / "rllte-hub"
    assert not (clone / "remote").exists()
    assert (clone / "catalogue.json").exists()
    size = sum(path.stat().st_size for path in clone.rglob("*") if path.is_file() and not path.is_symlink())
    assert size < 20e6
    monkeypatch.setenv("RLLTE_HUB_REPO", bare)
    scores = MiniGrid().load_scores(agent="ppo", env_id="DoorKey-5x5-v0")
    assert scores.shape == (5, 100)
