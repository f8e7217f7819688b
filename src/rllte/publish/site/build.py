"""Write the pages of the site as Markdown and HTML, and let the site builder turn them into a site."""

import importlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from rllte.errors import HubError
from rllte.extras import requires_extra
from rllte.files import read_pulled
from rllte.hub.benchmark import BENCHMARK_CLASSES
from rllte.names import BENCHMARKS, VIDEO, Cell
from rllte.publish.site.facts import Facts
from rllte.publish.site.strips import strip_plot

CONFIG, SOURCE = "mkdocs.yml", "scratch/site"
BUILDERS = {"zensical": "zensical", "mkdocs": "material"}
"""The package of each program that can build the site. mkdocs-material is maintained until May 2027 only; its
authors write zensical in its place. So the site is built by zensical, and benchmarks/site.py tries the other.
"""
_DOCUMENTS = ("tutorials", "how-to", "explanation", "reference", "experiments")
_LINK_OUT = re.compile(
    r"\[([^\]]*)\]\((?:\.\./)*(?:src|pipelines|benchmarks|metrics|release\.yaml|LICENSE)[^)]*\)"
)
_TOP = {"README.md": "about.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
"""Files at the top of the checkout, each with its page."""


def build_site(root: Path, output: Path, builder: str = "zensical") -> int:
    """Write the site; return its number of pages.

    Args:
        root: The folder of the checkout.
        output: The folder to write. An earlier site there is replaced when the new one is whole.
        builder: The program that turns the pages into HTML, of ``BUILDERS``.

    Raises:
        HubError: The folder holds something else than a site, or the site builder reports an error.
        MissingExtraError: The packages of the extra ``site`` are not installed.
    """
    if output.exists() and not (output / "assets/hub/hub.js").exists():
        raise HubError(f"{output} is there already, and is not a site. Choose another folder with --output.")
    source = root / SOURCE
    shutil.rmtree(source, ignore_errors=True)
    write_pages(Facts(root), source / "docs")
    _copy_documents(root, source / "docs")
    shutil.copy(root / CONFIG, source / CONFIG)
    _run_builder(source, builder)
    built = source / "site"
    for page in built.rglob("*.html"):
        _without_other_hosts(built, page)
    shutil.rmtree(output, ignore_errors=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(built, output)
    shutil.rmtree(source)
    return sum(1 for _ in output.rglob("*.html"))


def write_pages(facts: Facts, docs: Path) -> None:
    """Write the pages that show the contents of the hub, and what they need: scripts, styles and videos."""
    with requires_extra("The site needs"):
        import jinja2
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"chart": _chart, "number": number, "strip": strip_plot}
    environment.globals["facts"] = facts

    def scripts(up: str) -> str:  # a chart is drawn as soon as it is read, before the theme's scripts
        names = ("uPlot.iife.min.js", "hub.js")
        return "".join(f'<script src="{up}assets/hub/{name}"></script>\n' for name in names)

    def write(path: str, template: str, title: str, **context: Any) -> None:
        up = "../" * path.count("/")
        body = environment.get_template(template).render(up=up, title=title, **context)
        front = f"---\ntitle: {json.dumps(title)}\nhide: [toc]\n---\n"
        # one block, which Markdown leaves as it is
        page = f'{front}\n<div class="hub">\n{scripts(up)}{body}\n</div>\n'
        target = docs / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(page, encoding="utf-8")

    write("index.md", "home.html", "RLLTE Hub", figures=_figures(facts))
    for benchmark in BENCHMARKS:
        write(f"leaderboard/{benchmark}.md", "leaderboard.html", f"Leaderboard: {benchmark}",
              benchmark=benchmark, **_leaderboard(facts, benchmark))  # fmt: skip
    write("compare.md", "compare.html", "Compare", data=_inline(_all_curves(facts)))
    write("datasets.md", "datasets.html", "Datasets", rows=facts.datasets())
    write("settings.md", "settings.html", "Settings of all agents", settings=_settings(facts))
    for cell, row in facts.cells.items():
        write(f"cells/{cell}.md", "cell.html", str(cell), cell=cell, row=row, **_cell(facts, cell))
        if video := facts.video(cell):
            target = docs / f"{VIDEO}s/{cell}.mp4"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(read_pulled(facts.root, video["path"], "data/videos"))
    for asset in files(__package__).joinpath("assets").iterdir():
        target = docs / "assets/hub" / asset.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(asset.read_bytes())


def number(value: float | None) -> str:
    """Return a number with four significant digits, or a dash for None."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}".replace("e+0", "e")


def _inline(data: Any) -> str:
    """Return JSON that no HTML parser takes for markup."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _chart(curves: list[dict[str, Any]], title: str, references: Iterable[dict[str, Any]] = ()) -> Any:
    """Return a chart of learning curves: its data, which the script draws, and the same as a table."""
    from markupsafe import Markup

    from rllte.publish.site.table import curve_table

    data = _inline({"title": title, "curves": curves, "references": list(references)})
    script = Markup('<script type="application/json">%s</script>') % Markup(data)  # escaped
    draw = Markup("<script>hubChart(document.currentScript.parentNode)</script>")
    return Markup('<div class="hub-chart" role="group">%s%s%s</div>') % (
        script,
        draw,
        curve_table(curves, title),
    )


def _figures(facts: Facts) -> list[dict[str, Any]]:
    """Return one chart for each benchmark: the environment with the most agents, then the most seeds."""
    figures = []
    for benchmark in BENCHMARKS:
        by_env: dict[str, list[Cell]] = {}
        for cell in facts.cells:
            if cell.benchmark == benchmark:
                by_env.setdefault(cell.env_id, []).append(cell)
        if by_env:
            sizes = {
                env_id: (len(cells), sum(facts.cells[cell]["num_seeds"] for cell in cells))
                for env_id, cells in by_env.items()
            }
            env_id = max(sizes, key=lambda name: sizes[name])
            curves = [facts.curve(cell) for cell in by_env[env_id]]
            figures.append({"benchmark": benchmark, "env_id": env_id, "curves": curves})
    return figures


def _leaderboard(facts: Facts, benchmark: str) -> dict[str, Any]:
    cells = {cell: row for cell, row in facts.cells.items() if cell.benchmark == benchmark}
    rows = []
    for cell, row in cells.items():
        means = [values.mean() for values in facts.scores(cell).values()]
        scaled = facts.normalised(cell)
        rows.append(
            {**row, "cell": cell, "means": means, "normalised": None if scaled is None else scaled.mean()}
        )
    references = [
        row for row in facts.references
        if row["benchmark"] == benchmark and row["env_id"] in {cell.env_id for cell in cells}
    ]  # fmt: skip
    for row in rows:
        means = [mean for other in rows if other["env_id"] == row["env_id"] for mean in other["means"]]
        row |= {"low": min(means), "high": max(means)}
    rows.sort(key=lambda row: (row["env_id"], row["num_train_steps"], row["agent"]))  # side by side
    return {"rows": rows, "references": _last_points(references), "aggregates": facts.aggregates(benchmark)}


def _last_points(references: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return of each curve of others its last point, and all their final scores."""
    last: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in references:
        key = (row["env_id"], row["agent"], row["split"], row["source"], row["protocol"])
        if key not in last or (row["env_step"] or 0) >= (last[key]["env_step"] or 0):
            last[key] = row
    return list(last.values())


def _all_curves(facts: Facts) -> list[dict[str, Any]]:
    return [{**facts.curve(cell), "label": str(cell)} for cell in facts.cells]


def _settings(facts: Facts) -> list[dict[str, Any]]:
    """Return a table for each benchmark: a row for each setting, a column for each agent."""
    result = []
    for benchmark in BENCHMARKS:
        agents = {
            name.partition("/")[2]: row
            for name, row in facts.pipelines.items()
            if name.startswith(f"{benchmark}/")
        }
        names = dict.fromkeys(key for row in agents.values() for key in row["hyperparameters"])
        table = {name: [row["hyperparameters"].get(name) for row in agents.values()] for name in names}
        result.append({"benchmark": benchmark, "agents": agents, "table": table})
    return result


def _cell(facts: Facts, cell: Cell) -> dict[str, Any]:
    settings = facts.pipelines[f"{cell.benchmark}/{cell.agent}"]
    own = {**settings["hyperparameters"], **settings["by_env"].get(cell.env_id, {})}
    runs = facts.runs(cell)
    return {
        "class_name": BENCHMARK_CLASSES[cell.benchmark].__name__,
        "curve": facts.curve(cell),
        "references": facts.reference_points(cell),
        "scores": facts.scores(cell),
        "settings": settings,
        "hyperparameters": own,
        "runs": runs,
        "hours": sum(run["cost"]["seconds"] * run["cost"]["num_threads"] for run in runs) / 3600,
        "datasets": facts.datasets(cell),
        "video": facts.video(cell),
        "others": [other for other in facts.cells if other.env_id == cell.env_id and other != cell],
    }


def _copy_documents(root: Path, docs: Path) -> None:
    """Copy the documents; links to the top of the checkout lead to its pages, those to code are left out."""
    for folder in _DOCUMENTS:
        for path in (root / "docs" / folder).rglob("*"):
            target = docs / "docs" / folder / path.relative_to(root / "docs" / folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix != ".md":
                if path.is_file():
                    shutil.copy(path, target)
                continue
            target.write_text(_adapted(path.read_text(encoding="utf-8"), "../../"), encoding="utf-8")
    for name, page in _TOP.items():
        (docs / page).write_text(_adapted((root / name).read_text(encoding="utf-8"), ""), encoding="utf-8")
    shutil.copy(root / "docs/overview.png", docs / "docs/overview.png")
    (docs / "docs/reference/python.md").write_text(_PYTHON, encoding="utf-8")


_PYTHON = """# Python

What `rllte.hub` offers. The tutorials show how it is used.

::: rllte.hub
    options:
      members: [available, load_references, compare, Comparison, Curves]

::: rllte.hub.benchmark.Benchmark

::: rllte.hub.demonstrations.Demonstrations

::: rllte.errors
"""


def _adapted(text: str, up: str) -> str:
    """Return a document with the links of the site; ``up`` leads from it to the site's top."""
    text = _LINK_OUT.sub(r"\1", text)
    for name, page in _TOP.items():
        above = r"(?:\.\./)+" if up else ""
        text = re.sub(rf"\]\({above}{re.escape(name)}(?=[#)])", f"]({up}{page}", text)
    return text


def _run_builder(source: Path, builder: str) -> None:
    with requires_extra("The site needs"):
        importlib.import_module(BUILDERS[builder])
    command = [sys.executable, "-m", builder, "build", "--clean"]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    if done.returncode or not (source / "site/index.html").exists():
        raise HubError(f"The site builder failed: {(done.stderr or done.stdout).strip()[-2000:]}")


_WORKER = re.compile(r"<script[^>]*https://unpkg\.com/iframe-worker[^>]*></script>")
_OTHER_HOST = re.compile(r'<(?:link|script)[^>]*(?:href|src)="https?://[^"]*"[^>]*>(?:</script>)?')


def _without_other_hosts(site: Path, page: Path) -> None:
    """Remove what a page would load from another host; what search needs from there is in the site."""
    up = "../" * (len(page.relative_to(site).parts) - 1)
    scripts = "".join(
        f'<script src="{up}assets/hub/{name}.js"></script>' for name in ("iframe-worker", "search")
    )
    text = _WORKER.sub(scripts, page.read_text(encoding="utf-8"))
    page.write_text(_OTHER_HOST.sub("", text), encoding="utf-8")
