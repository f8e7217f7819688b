"""Build the site of a hub with 300 cells by each of its builders, and time a browser's first chart.

The cells are those of this checkout, repeated under other names, so everything must be pulled
(`dvc pull metrics data/videos`). Chromium must be installed (`make browser`).
"""

import json
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rllte.names import Run
from rllte.publish.catalogue import TIDY_TABLES
from rllte.publish.site.build import BUILDERS, build_site
from rllte.publish.site.facts import cell_of

ROOT = Path(__file__).parents[1]
SHARED = (
    ".dvc", "CHANGELOG.md", "CONTRIBUTING.md", "README.md", "docs", "mkdocs.yml", "params.yaml", "pipelines",
    "references", "src",
)  # fmt: skip
FIRST_CHART = """
new MutationObserver((_, observer) => {
  if (!document.querySelector("canvas")) return;
  observer.disconnect();
  requestAnimationFrame(() => { window.firstChart = performance.now(); });
}).observe(document, {childList: true, subtree: true});
"""


def make_hub(root: Path, num_cells: int) -> None:
    """Write a checkout in which the available cells of this one are repeated until there are enough."""
    for name in SHARED:
        (root / name).symlink_to(ROOT / name)
    content = json.loads((ROOT / "catalogue.json").read_text(encoding="utf-8"))
    rows = [row for row in content["cells"] if row["status"] == "available"]
    copies = -(-num_cells // len(rows))
    content["cells"] = [renamed(row, copy) for copy in range(copies) for row in rows][:num_cells]
    files = [row for row in content["artifacts"] if row["kind"] in ("model", "policy", "scores", "curves")]
    content["artifacts"] = [with_path(renamed(row, copy)) for copy in range(copies) for row in files]
    (root / "catalogue.json").write_text(json.dumps(content), encoding="utf-8")
    for row in content["cells"]:
        for seed in row["seeds"]:
            run = Run(cell_of(row), seed)
            own = Run(cell_of({**row, "env_id": row["env_id"].partition("-copy")[0]}), seed)
            (root / run.path("train")).parent.mkdir(parents=True, exist_ok=True)
            (root / run.path("train")).symlink_to(ROOT / own.path("train"))
    (root / "tables").mkdir()
    for path in TIDY_TABLES.values():
        table = pq.read_table(ROOT / path)
        position = table.schema.get_field_index("env_id")
        parts = [
            table.set_column(
                position, "env_id", pc.binary_join_element_wise(table["env_id"], suffix(copy), "")
            )
            for copy in range(copies)
        ]
        pq.write_table(pa.concat_tables(parts), root / path)


def suffix(copy: int) -> str:
    return f"-copy{copy}" if copy else ""


def renamed(row: dict[str, Any], copy: int) -> dict[str, Any]:
    return {**row, "env_id": row["env_id"] + suffix(copy)}


def with_path(row: dict[str, Any]) -> dict[str, Any]:
    cell = cell_of(row)
    return {
        **row,
        "path": Run(cell, row["seed"]).path(row["kind"]) if "seed" in row else cell.path(row["kind"]),
    }


def first_chart(site: Path, name: str, repeats: int) -> list[float]:
    """Return how many milliseconds after leaving another page the first chart was drawn, each time."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page, times = browser.new_page(), []
        page.add_init_script(FIRST_CHART)
        for _ in range(repeats + 1):  # the first also starts a process of the browser
            page.goto((site / "datasets.html").as_uri())
            page.goto((site / name).as_uri())
            page.wait_for_function("window.firstChart")
            times.append(page.evaluate("window.firstChart"))
        browser.close()
    return times[1:]


@click.command()
@click.option("--cells", "num_cells", default=300, show_default=True)
@click.option("--repeats", default=10, show_default=True, help="How often each page is opened.")
def main(num_cells: int, repeats: int) -> None:
    """Measure how long the site takes to build and to show its first chart."""
    for builder in BUILDERS:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            make_hub(root, num_cells)
            start = time.perf_counter()
            num_pages = build_site(root, root / "site", builder)
            click.echo(f"{builder}: {num_pages} pages in {time.perf_counter() - start:.1f} s")
            row = json.loads((root / "catalogue.json").read_text(encoding="utf-8"))["cells"][0]
            for name in ("index.html", f"cells/{cell_of(row)}.html"):
                times = first_chart(root / "site", name, repeats)
                click.echo(
                    f"  {name}: first chart after {np.median(times):.0f} ms (at most {max(times):.0f})"
                )


if __name__ == "__main__":
    main()
