"""The report: one offline page, and nothing invented."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from made_up_work import make_work, write_recipe

from vcmaug.errors import WorkFolderError
from vcmaug.files import locked_file, write_json
from vcmaug.report.document import write_report

VOID = {"meta", "img", "br", "hr", "input", "link"}


class Page(HTMLParser):
    """Reads a page; keeps its text, its links and its ids, and checks that tags are closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.resources: list[str] = []
        self.ids: list[str] = []
        self.html = path.read_text(encoding="utf-8")
        self.feed(self.html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"src", "href", "xlink:href", "srcset", "action"}:
                self.resources.append(value or "")
            if name == "id":
                self.ids.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)

    @property
    def words(self) -> str:
        """All text, spaces made one."""
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole work folder; tests that change it copy it first."""
    return make_work(tmp_path_factory.mktemp("work"), num_labelled=(1, 2))


@pytest.fixture(scope="module")
def page(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of the whole work folder."""
    return Page(write_report(whole, tmp_path_factory.mktemp("page") / "page.html"))


@pytest.fixture
def work(whole: Path, tmp_path: Path) -> Path:
    """A work folder of one's own."""
    return Path(shutil.copytree(whole, tmp_path / "work"))


def test_the_page_says_what_came_out(page: Page) -> None:
    for words in (
        "A tiny study",
        "A made-up <run>.",
        "segment anterior and posterior better",
        "real+synthetic, 1 labelled case: mean Dice changed by +0.020 "
        "(95 % interval +0.005 to +0.040; 2 test subjects, 1 seed): "
        "one replicate, so no verdict.",
        "6 synthetic cases; 2 failed",
        "on 1 and 2 labelled subjects",
        "n2-s0: 3 done, 1 failed; the first 4 rows",
        "CC-BY-SA-4.0",
        "made up by a test",
        "3,000 parameters",
        "What this does not show",
        "The patient's left is on the left.",
        "chosen at random (simulated: all)",
        "seconds per case of each phase of drawing",
        "2.5000",
        "Paired difference from real only, 95 % intervals (simulated: all)",
    ):
        assert words in page.words
    assert "missing" not in page.words


def test_the_page_replaces_nothing_that_it_shows(work: Path) -> None:
    before = (work / "study" / "summary.json").read_bytes()
    for out in (work / "study" / "summary.json", work / "recipe.json", work / "cases", work):
        with pytest.raises(WorkFolderError, match="which is read"):
            write_report(work, out)
    assert (work / "study" / "summary.json").read_bytes() == before
    assert write_report(work, work / "another.html").exists()


def test_a_second_page_is_refused_while_the_first_is_written(work: Path) -> None:
    with (
        locked_file(work / "report.html", purpose="writing report.html"),
        pytest.raises(WorkFolderError, match=r"in use by process \d+ \(writing report.html\)"),
    ):
        write_report(work)
    assert write_report(work).exists()


def test_the_page_opens_offline(page: Page) -> None:
    outside = [link for link in page.resources if not link.startswith(("data:", "#"))]
    assert outside == []
    assert "url(http" not in page.html
    assert "@import" not in page.html
    assert "<script" not in page.html
    assert "<link" not in page.html
    named = set(re.findall(r"https?://[^\s\"'<)]+", page.html))
    assert named <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_ids_are_unique_and_references_are_met(page: Page) -> None:
    assert len(set(page.ids)) == len(page.ids)
    asked = {link[1:] for link in page.resources if link.startswith("#")}
    asked |= set(re.findall(r"url\(#([^)]+)\)", page.html))
    assert asked <= set(page.ids)


def test_the_page_is_for_both_themes_and_for_a_phone(whole: Path, tmp_path: Path) -> None:
    html = Page(write_report(whole, tmp_path / "page.html")).html
    assert "prefers-color-scheme: dark" in html
    assert "@media print" in html
    assert 'name="viewport" content="width=device-width, initial-scale=1"' in html
    assert "currentColor" in html


def test_the_same_folder_gives_the_same_page(whole: Path, tmp_path: Path) -> None:
    first = write_report(whole, tmp_path / "first.html").read_bytes()
    assert write_report(whole, tmp_path / "second.html").read_bytes() == first
    assert write_report(whole, tmp_path / "third.html", seed=5).read_bytes() != first


def test_the_default_place_is_the_work_folder(work: Path) -> None:
    assert write_report(work) == work / "report.html"


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("cases", "Real and synthetic volumes: missing"),
        ("splits.json", "split → missing"),
        ("prior", "prior → missing"),
        ("study", "The study is missing"),
        ("replicates", "Synthetic cases: missing."),
        ("replicates/n1-s0/quality", "n1-s0: the evaluation is missing."),
    ],
)
def test_what_is_missing_is_said_to_be_missing(work: Path, gone: str, said: str) -> None:
    path = work / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = Page(write_report(work))
    assert said.replace(" →", "") in page.words


def test_a_folder_with_a_recipe_alone_gives_a_page(tmp_path: Path) -> None:
    write_recipe(tmp_path, caveat="")
    page = Page(write_report(tmp_path))
    assert "nothing can be said yet" in page.words
    assert page.words.lower().count("missing") > 9
    assert 'class="caveat"' not in page.html


def test_a_volume_that_cannot_be_read_does_not_stop_the_page(work: Path) -> None:
    for path in (work / "cases" / "images").iterdir():
        path.write_bytes(path.read_bytes()[:40])
    assert "data:image/png;base64," in Page(write_report(work)).html


def test_a_folder_that_is_no_work_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkFolderError, match=r"there is no recipe\.json"):
        write_report(tmp_path)


def test_lesion_wise_scores_have_names(work: Path) -> None:
    folder = work / "study"
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    for part in ("means", "differences"):
        dice = [row for row in summary[part] if row["metric"] == "dice"]
        summary[part] += [row | {"metric": "lesion_f1"} for row in dice]
    write_json(folder / "summary.json", summary)
    scores = pd.read_parquet(folder / "scores.parquet")
    first = scores["structure"] == scores["structure"].iloc[0]
    scores.assign(lesion_f1=first.map({True: 0.4375})).to_parquet(folder / "scores.parquet")
    page = Page(write_report(work))
    assert "lesion-wise F1" in page.words
    assert "0.438" in page.words
    assert "missing" not in page.words
