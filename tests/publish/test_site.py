"""The site as its reader has it: opened from a folder, without a network."""

import json
import os
import re
import shutil
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow.parquet as pq
import pytest

from rllte.hub.store.catalogue import read_catalogue
from rllte.names import BENCHMARKS, Cell
from rllte.publish.site.build import build_site, number, write_pages
from rllte.publish.site.facts import Facts
from tests.test_repository import ARTIFACTS, CATALOGUE, ROOT, locked_outputs, stored_at

pytestmark = pytest.mark.slow

CELLS = [Cell.parse(name) for name, row in CATALOGUE.cells.items() if row["status"] == "available"]
CHEETAH = Cell("dmc", "sac", "cheetah_run")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PAGES = [
    "index.html",
    *(f"leaderboard/{benchmark}.html" for benchmark in BENCHMARKS),
    "compare.html",
    "datasets.html",
    "settings.html",
    "cells/minigrid/ppo/DoorKey-5x5-v0.html",
    f"cells/{CHEETAH}.html",
    "cells/atari/ppo/BeamRider-v5.html",
    "docs/reference/python.html",
    "docs/tutorials/load-and-plot.html",
]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout into which everything is pulled."""
    root = tmp_path_factory.mktemp("site") / "hub"
    root.mkdir()
    for name in ("pipelines", "params.yaml", "references", "tables", "catalogue.json", "docs", "mkdocs.yml",
                 "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "src", ".dvc"):  # fmt: skip
        (root / name).symlink_to(ROOT / name)
    metrics = {path: digest for path, digest in locked_outputs().items() if path.startswith("metrics/")}
    stored = {path: ROOT / "remote/files/md5" / digest[:2] / digest[2:] for path, digest in metrics.items()}
    stored |= {path: stored_at(path) for path in ARTIFACTS if path.endswith(".mp4")}
    for path, target in stored.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).symlink_to(target)
    return root


@pytest.fixture(scope="module")
def site(checkout):
    output = checkout / "site"
    build_site(checkout, output)
    return output


class Links(HTMLParser):
    """The addresses that a page refers to, its anchors, and what it loads from elsewhere."""

    def __init__(self, page):
        super().__init__()
        self.links, self.loads, self.anchors = [], [], set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.anchors |= {values[key] for key in ("id", "name") if values.get(key)}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        loaded = values.get("src") or (values.get("href") if tag == "link" else None)
        if loaded:
            self.loads.append(loaded)


def test_every_available_cell_has_a_page_with_the_mean_of_its_episodes(site):
    scores = pq.read_table(ROOT / "tables/scores.parquet").to_pandas()
    scores = scores[scores["split"] == "eval"]
    for cell in CELLS:
        page = (site / f"cells/{cell}.html").read_text(encoding="utf-8")
        own = scores[(scores.benchmark == cell.benchmark) & (scores.agent == cell.agent)]
        mean = own[own.env_id == cell.env_id]["episode_return"].mean()
        (shown,) = re.findall(r'<p class="lead"><b>([^<]*)</b>', page)
        assert float(shown.replace(",", "")) == pytest.approx(mean, rel=2e-3, abs=1e-4)


def test_a_chart_has_the_points_of_the_published_curves(site):
    page = (site / f"cells/{CHEETAH}.html").read_text(encoding="utf-8")
    (text,) = re.findall(r'<script type="application/json">(.*?)</script>', page, re.DOTALL)
    (curve,) = json.loads(text)["curves"]
    table = pq.read_table(ROOT / "tables/curves.parquet").to_pandas()
    table = table[(table.env_id == CHEETAH.env_id) & (table.agent == "sac") & (table.split == "eval")]
    for seed, values in curve["seeds"].items():
        expected = table[table.seed == int(seed)]
        assert curve["steps"] == expected["env_step"].tolist()
        np.testing.assert_allclose(values, expected["episode_return"], rtol=1e-3)
    assert len(curve["seeds"]) == CATALOGUE.cells[str(CHEETAH)]["num_seeds"]


def test_all_links_lead_somewhere_and_nothing_is_loaded_from_another_host(site):
    pages = {page: Links(page) for page in site.rglob("*.html")}
    for page, content in pages.items():
        if page.name == "404.html":
            continue
        assert not [load for load in content.loads if urlsplit(load).scheme not in ("", "data")], page
        for link in [*content.links, *content.loads]:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = Path(os.path.normpath(page.parent / unquote(parts.path))) if parts.path else page
            assert target.exists(), f"{page.relative_to(site)}: {link}"
            if parts.fragment and not parts.fragment.startswith("cells="):
                assert unquote(parts.fragment) in pages[target].anchors, f"{page.relative_to(site)}: {link}"


def test_every_configured_feature_is_there(site):
    home = (site / "index.html").read_text(encoding="utf-8")
    assert 'data-md-color-scheme="slate"' in home, "the dark palette"
    assert "content.code.copy" in home
    assert "cheetah_run" in (site / "search.json").read_text(encoding="utf-8")
    reference = (site / "docs/reference/python.html").read_text(encoding="utf-8")
    for name in ("load_curves", "load_scores", "load_models", "load_apis", "load_demonstrations"):
        assert f"{name}" in reference
    assert "Student" in reference, "the docstrings"


def test_lists_and_blocks_of_the_documents_stay_whole(site):
    for path in (ROOT / "docs").rglob("*.md"):
        name = path.relative_to(ROOT / "docs").with_suffix(".html")
        page = (site / "docs" / str(name).replace("README", "index")).read_text(encoding="utf-8")
        lists = re.findall(r"^1\. ", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert page.count("<ol>") == len(lists), (
            f"{name}: Markdown wants four spaces before what a list holds"
        )
        assert "```" not in page, name


def test_a_note_cannot_bring_markup_into_a_page(checkout, tmp_path):
    facts = Facts(checkout)
    evil = "</script><script>alert(1)</script>{{ 7 * 7 }}\n\n# heading"
    facts.cells[CHEETAH]["note"] = evil
    names = {"benchmark": "dmc", "agent": "sac", "env_id": "cheetah_run"}
    facts.references.append({**facts.references[0], **names, "env_step": 1, "source": evil, "protocol": evil})
    write_pages(facts, tmp_path)
    for path in (f"cells/{CHEETAH}.md", "leaderboard/dmc.md"):
        page = (tmp_path / path).read_text(encoding="utf-8")
        assert "alert(1)" in page
        assert "<script>alert" not in page
        assert "{{ 7 * 7 }}" in page


def test_a_folder_with_other_files_is_not_replaced(checkout, tmp_path):
    from rllte.errors import HubError

    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(HubError, match="is not a site"):
        build_site(checkout, tmp_path)
    assert (tmp_path / "thesis.tex").exists()


def test_what_is_not_pulled_is_named_with_the_command_that_gets_it(checkout, tmp_path):
    from rllte.errors import MissingArtifactError

    root = tmp_path / "hub"
    shutil.copytree(
        checkout, root, symlinks=True, ignore=shutil.ignore_patterns("metrics", "site", "scratch")
    )
    with pytest.raises(MissingArtifactError, match="dvc pull metrics"):
        build_site(root, root / "site")


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (100000, "100,000"), (0.94683, "0.9468"), (602.81, "602.8")]
)
def test_numbers_have_four_digits(value, text):
    assert number(value) == text


@pytest.fixture(scope="module")
def browser():
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        assert not os.environ.get("CI"), "CI needs a browser: make browser"
        pytest.skip("there is no Chromium: make browser")
    from playwright.sync_api import sync_playwright

    options = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=options)
        yield running
        running.close()


@pytest.fixture(params=[360, 1600])
def page(browser, request):
    """A page that fails the test if anything goes wrong in it."""
    page = browser.new_page(viewport={"width": request.param, "height": 900})
    problems = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "requestfailed", lambda sent: problems.append(sent.url) if "ABORTED" not in sent.failure else None
    )
    page.on("request", lambda sent: None if sent.url.startswith("file:") else problems.append(sent.url))
    yield page
    page.close()
    assert not problems


def pixels(page):
    return page.evaluate(
        "[...document.querySelectorAll('canvas')].map((canvas) => canvas.toDataURL()).join()"
    )


def test_pages_open_without_a_network_and_fit_their_window(site, page):
    for name in PAGES:
        page.goto((site / name).as_uri())
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{name} is {wide} pixels too wide"


def test_hovering_shows_values_and_toggling_changes_what_is_drawn(site, page):
    page.goto((site / f"cells/{CHEETAH}.html").as_uri())
    values = ".u-legend .u-series:not([style*=none]) .u-value"
    assert page.inner_text(values) == "–"
    page.hover(".u-over", position={"x": 100, "y": 60})
    page.wait_for_function(f"document.querySelector('{values}').textContent != '–'")
    before = pixels(page)
    page.get_by_label("each seed").click()
    with_seeds = pixels(page)
    assert with_seeds != before
    page.get_by_label("logarithmic steps").click()
    assert pixels(page) != with_seeds
    page.locator(".plot").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    at = page.inner_text(values)
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"document.querySelector('{values}').textContent != {json.dumps(at)}")


def test_a_chart_shows_the_budget_of_the_hub_first_and_all_steps_of_others_on_request(site, page):
    page.goto((site / "cells/procgen/ppo/coinrun.html").as_uri())
    last = "document.querySelector('.hub-chart').chart.scales.x.max"
    page.wait_for_function(f"{last} > 9e5 && {last} < 1.1e6")
    page.get_by_text("whole range").click()
    page.wait_for_function(f"{last} > 4e7")


def test_the_address_keeps_the_choice_of_cells(site, page):
    page.goto((site / "compare.html").as_uri() + f"#cells={CHEETAH},dmc/ddpg/cartpole_balance")
    assert page.locator(".hub-picks input:checked").count() == 2
    assert page.locator(".hub-result canvas").count() == 1
    page.get_by_text("Values as a table").click()
    assert page.locator(".hub-result tbody tr").count() > 0
    assert page.locator(".hub-result thead th").all_inner_texts()[1:] == [
        str(CHEETAH),
        "dmc/ddpg/cartpole_balance",
    ]
    page.locator(f'input[value="{CHEETAH}"]').uncheck()
    assert page.locator(".hub-result thead th").count() == 2
    assert page.url.endswith("#cells=dmc/ddpg/cartpole_balance")


def test_a_file_of_ones_own_is_drawn_and_a_bad_one_is_refused_in_words(site, page, tmp_path):
    page.goto((site / "compare.html").as_uri())
    files = {
        "mine.csv": "env_step,episode_return,seed\n0,1,0\n10,2,0\n0,3,1\n10,4,1\n",
        "wide.csv": "time,<img src=x onerror=alert(1)>\n1,2\n",
        "text.csv": "env_step,episode_return\n0,1\n5,high\n",
        "empty.csv": "",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)

    def give(name):
        page.set_input_files(".hub-drop input", tmp_path / name)
        page.wait_for_function(f"document.querySelector('.hub-message').textContent.includes('{name}')")
        return page.inner_text(".hub-message")

    assert give("mine.csv") == "mine.csv is drawn."
    assert "mine" in page.inner_text(".hub-result .u-legend")
    assert page.evaluate(
        "document.querySelector('.hub-result').querySelector('.hub-chart').chart.data.at(-1)"
    ) == [2, 3]
    drawn = pixels(page)
    assert "env_step and episode_return are needed" in give("wide.csv")
    assert give("text.csv") == "text.csv, line 3: env_step and episode_return must be numbers."
    assert give("empty.csv") == "empty.csv is empty."
    assert pixels(page) == drawn


def test_a_table_is_sorted_and_filtered(site, page):
    page.goto((site / "leaderboard/minigrid.html").as_uri())
    page.get_by_role("button", name="mean", exact=True).click()
    rows = "[...document.querySelectorAll('.hub-sortable tbody tr:not([hidden])')]"
    column = f"{rows}.map((row) => +row.cells[2].dataset.value)"
    means = page.evaluate(column)
    assert means == sorted(means)
    page.fill(".hub-filter", "a2c doorkey")
    cells = read_catalogue(ROOT).rows("available", "minigrid", "a2c")
    assert len(page.evaluate(column)) == sum("DoorKey" in cell["env_id"] for cell in cells)


def test_pages_are_light(site, browser):
    import gzip

    def weight(name):
        page = browser.new_page()
        loaded = set()
        page.on("request", lambda sent: loaded.add(Path(unquote(urlsplit(sent.url).path))))
        page.goto((site / name).as_uri(), wait_until="networkidle")
        page.close()
        return sum(len(gzip.compress(path.read_bytes())) for path in loaded if path.suffix != ".mp4")

    assert 50_000 < weight("index.html") <= 200_000
    heaviest = sorted((site / "cells").rglob("*.html"), key=lambda path: path.stat().st_size)[-5:]
    for path in heaviest:
        assert weight(path.relative_to(site)) <= 150_000, path


@pytest.fixture(params=["folder", "server"])
def address(site, request):
    """Where the site is read from."""
    if request.param == "folder":
        yield site.as_uri()
        return

    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=site)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("width", "opens"),
    [(1600, lambda page: page.keyboard.press("Control+k")),
     (1600, lambda page: page.click(".md-search__button")),
     (360, lambda page: page.click("label[for=__search]"))],
    ids=["keys", "button", "phone"],
)  # fmt: skip
def test_search_loads_its_index_when_it_is_opened_and_finds_an_environment(address, browser, width, opens):
    page = browser.new_page(viewport={"width": width, "height": 900})
    loaded = []
    page.on("request", lambda sent: loaded.append(sent.url))
    page.goto(f"{address}/index.html", wait_until="networkidle")
    assert not any("search.js" in url and "assets/hub" not in url for url in loaded)
    opens(page)
    page.get_by_role("combobox", name="Search").wait_for()
    page.keyboard.type("cheetah_run")
    found = page.locator("text=/^[0-9]+ results$/")
    found.wait_for()
    assert "dmc/sac/cheetah_run" in found.locator("xpath=..").inner_text()
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_finding_of_accessibility(site, browser, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = browser.new_page(viewport={"width": 1200, "height": 900}, color_scheme=scheme)
    for name in (
        "index.html",
        "leaderboard/dmc.html",
        "compare.html",
        f"cells/{CHEETAH}.html",
        "datasets.html",
    ):
        page.goto((site / name).as_uri())
        found = Axe().run(page, context=".hub").response["violations"]
        serious = [
            (one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")
        ]
        assert not serious, name
    page.close()
