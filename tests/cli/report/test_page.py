"""The page as a browser sees it: whole, self-contained, valid, the same every time."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from distilljob.run_directory.events import RunEvent

Maker = Callable[..., Any]
Page = Callable[..., str]
EventMaker = Callable[..., RunEvent]
VOID = frozenset({"meta", "wbr", "br", "hr", "img", "input", "link"})


class Reader(HTMLParser):
    """Checks nesting, and collects ids, references and text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.figures: list[dict[str, str | None]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._see(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._see(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        self.text += data

    def _see(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        assert len(values) == len(attrs), f"an attribute twice in <{tag}> at {self.getpos()}"
        self.tags.append(tag)
        self.ids += [value for key, value in attrs if key == "id" and value]
        self.references += [
            value or "" for key, value in attrs if key in ("src", "href", "xlink:href", "srcset", "action")
        ]
        self.references += [found for value in values.values() for found in re.findall(r"url\(([^)]*)\)", value or "")]
        if values.get("role") == "img":
            self.figures.append(values)


def faults(event: EventMaker) -> list[RunEvent]:
    return [
        event(0, "RunnerStarted", message="process 1, distilljob 0.1.0"),
        event(0, "StudentStarted", "mlp", attempt=1),
        event(0, "StudentStarted", "cnn", attempt=1),
        event(5, "StudentCrashed", "cnn", attempt=1, message="attempt 1 exited 137", warning=True),
        event(6, "StudentStarted", "cnn", attempt=2),
        event(9, "RoundClosed", message="cycle 1 closed: 2 students"),
        event(20, "StudentDone", "mlp", attempt=1),
        event(20, "StudentDone", "cnn", attempt=2),
        event(21, "RunnerStopped"),
    ]


@pytest.fixture(scope="module")
def whole_run(run_maker: Maker, event: EventMaker) -> Path:
    return run_maker(events=faults(event)).make()


@pytest.fixture(scope="module")
def whole(whole_run: Path, page: Page) -> str:
    return page(whole_run)


def test_every_part_of_the_report_is_on_the_page(whole: str) -> None:
    for part in (
        "Students and ensemble",
        "cnn leads from epoch 2 on",
        "teacher beats its best student in 1 of 2 cycles",
        "fits its training set closest",
        "closer to their teacher",
        "Total losses come to between",
        "waits longest at the barrier",
        "too sure by 2.00 points",
        "at least 1 % to",
        "logits span 2.0 times as much as",
        "1 attempt failed (1 × kill): cnn",
        "Restarts by cause",
        "has another value than its default",
        "# as it was given",
        "Environment",
        'model = distilljob.load("results/mlp.safetensors")',
        "Exact: every cycle",
    ):
        assert escape(part, quote=False) in whole.replace("&#34;", '"').replace("\u00a0", " "), part


def test_page_is_well_formed_and_its_ids_are_unique(whole: str) -> None:
    read = Reader(whole)
    assert read.open == []
    assert len(set(read.ids)) == len(read.ids)
    assert {reference.removeprefix("#") for reference in read.references} <= set(read.ids)
    assert whole.startswith("<!DOCTYPE html>")


def test_page_loads_nothing_from_anywhere(whole: str) -> None:
    read = Reader(whole)
    assert not {"script", "link", "img", "iframe", "image", "object", "base", "form"} & set(read.tags)
    assert all(reference.startswith("#") for reference in read.references)
    assert not re.search(r"https?:|@import|src=", whole)
    assert "default-src 'none'" in whole


def test_every_figure_has_a_title_a_caption_a_label_and_its_numbers(whole: str) -> None:
    figures = re.findall(r"<figure>.*?</figure>", whole, flags=re.DOTALL)
    read = Reader(whole)
    assert len(figures) == len(read.figures) >= 12
    assert all(figure["aria-label"] for figure in read.figures)
    for figure in figures:
        assert re.search(r"<h3>\s*\S", figure)
        assert re.search(r"<figcaption>\s*\S", figure)
        assert re.search(r"<details><summary>Numbers</summary>.*<td>", figure, flags=re.DOTALL)


def test_every_row_of_every_table_has_a_cell_for_every_column(whole: str) -> None:
    tables = re.findall(r"<table>.*?</table>", whole, flags=re.DOTALL)
    assert len(tables) >= 16
    for table in tables:
        header, *rows = re.findall(r"<tr>.*?</tr>", table, flags=re.DOTALL)
        assert rows
        assert {len(re.findall(r"<t[hd]", row)) for row in rows} == {len(re.findall(r"<th", header))}, header


def test_figures_take_every_color_from_the_page_so_that_dark_mode_and_print_work(whole: str) -> None:
    style, body = whole.split("</style>", 1)
    assert not re.findall(r"#[0-9a-fA-F]{6}\b", body)
    used = set(re.findall(r"var\((--[\w-]+)\)", whole))
    light, dark = re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)
    for scheme in (light, dark):
        assert used <= set(re.findall(r"(--[\w-]+):", scheme))


def test_colors_of_students_stand_out_from_the_page_in_both_schemes(whole: str) -> None:
    for scheme in re.findall(r":root \{(.*?)\}", whole, flags=re.DOTALL):
        colors = dict(re.findall(r"(--[\w-]+): (#[0-9a-f]{6});", scheme))
        paper = _luminance(colors["--paper"])
        for name, color in colors.items():
            if name.startswith(("--student", "--bad", "--wait", "--muted", "--ink")):
                light, dark = sorted((paper, _luminance(color)), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 3, f"{name} {color}"


def _luminance(color: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_words_of_users_and_students_are_text_not_markup(run_maker: Maker, page: Page, event: EventMaker) -> None:
    evil = "<script>alert(1)</script>"
    maker = run_maker(
        name="run<b>",
        verdict=f"It `{evil}` {evil}",
        events=[event(0, "StudentStarted", "mlp", attempt=1), event(1, "StudentCrashed", "mlp", message=evil)],
        spec={"dataset": {"options": {"x": evil}}},
    )
    root = maker.make()
    (root / "job.yaml").write_text(f"# </pre>{evil}\n")
    (root / "results" / "mlp.json").write_text(f'{{"classes": ["{evil}", "$\\\\frac$", "木"]}}', encoding="utf-8")
    written = page(root)
    read = Reader(written)
    assert "script" not in read.tags
    assert read.text.count(evil) >= 5
    assert "<title>distilljob: run&lt;b&gt;</title>" in written


def test_the_same_run_gives_the_same_bytes_in_another_process(whole_run: Path, whole: str, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from distilljob.report.command import write_report; "
        "write_report([Path(sys.argv[1])], Path(sys.argv[2]))"
    )
    environment = {"PYTHONHASHSEED": "77", "TZ": "Asia/Tokyo", "LC_ALL": "C", "PATH": ""}
    there = tmp_path / "there.html"
    subprocess.run([sys.executable, "-c", program, str(whole_run), str(there)], check=True, env=environment)
    assert there.read_text(encoding="utf-8") == whole


def test_a_reader_of_the_page_can_load_the_weights_with_the_two_lines_on_it(
    whole_run: Path, whole: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distilljob_trainer import models
    from distilljob_trainer.export import NetworkFile, export

    root = tmp_path / "copy"
    shutil.copytree(whole_run, root)
    network = models.build("mlp_small", num_classes=10)
    described = NetworkFile(
        student="mlp",
        model="mlp_small",
        options={},
        classes=tuple(map(str, range(10))),
        preprocessing="float32 [1, 8, 8] as it is",
        mean=None,
        std=None,
    )
    weights = network.state_dict()
    list(export(root / "results", described, weights, weights))
    code = re.search(r'<pre class="code">(.*?)</pre>', whole, flags=re.DOTALL)
    assert code is not None
    monkeypatch.chdir(root)
    names: dict[str, object] = {}
    exec(code[1].replace("&#34;", '"'), names)
    loaded = names["model"].state_dict()  # type: ignore[attr-defined]
    assert all(bool((loaded[key] == value).all()) for key, value in weights.items())


@pytest.mark.parametrize("num_students", [8, 64])
def test_page_stays_small_and_legends_short_with_many_students(run_maker: Maker, page: Page, num_students: int) -> None:
    waves = [[0.5 + 0.4 * ((epoch * (7 + at) % 100) / 100) for epoch in range(200)] for at in range(num_students)]
    maker = run_maker(students=[f"net-{at}" for at in range(num_students)], accuracies=waves)
    written = page(maker.make())
    curve = re.search(r"<figure>.*?</figure>", written, flags=re.DOTALL)
    assert curve is not None
    keys = re.search(r'<p class="keys">(.*?)</p>', curve[0], flags=re.DOTALL)
    assert keys is not None
    if num_students == 8:
        assert len(written) < 1_500_000
        assert keys[1].count("net-") == 8
    else:
        assert len(written) < 6_000_000
        assert re.findall(r"\((\w+)\)", re.sub(r"<svg.*?</svg>", "", keys[1])) == ["best", "median", "worst"]
        assert "the other 61" in keys[1]
