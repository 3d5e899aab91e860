"""report.html in a real headless Chromium: sorting, filtering, the runs behind a figure, pictures, keyboard, phone.

Whatever the console complains of fails the test in which it did.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from records import lay_galleries, run_of, study_records, sweep_records
from webdriver import Browser, browser, missing

from diffect.reports import build
from diffect.reports.charts import study_charts
from diffect.reports.page import document

pytestmark = [pytest.mark.slow, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

NAMES = ("cosine", "edm", '<script>hacked = 1</script><img src=x onerror="hacked = 1">', "linear")
FIRST = "#tables .sheet:nth-of-type(1)"  # the table of all groups
COLUMN = f"{FIRST} tbody tr:not([hidden]) th:first-child"
MARKS = "#plots .plot:nth-child({}) g.role-mark:not([aria-hidden]) > path"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    records = lay_galleries(folder, study_records(NAMES, ("<b>brick</b>", "grass"), seeds=(0, 1)))
    for record in records:
        category = record["categories"][0]
        record["levels"] = {category: [{"log_snr": level, "image_auroc": 0.9} for level in (-1.0, 1.0)]}
    found = build.build_study("demo", [run_of(folder / record["signature"], record) for record in records])
    assert document.write_page(found, study_charts(found)[0], folder) == []
    return folder / "report.html"


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as one:
        yield one


@pytest.fixture
def shown(window: Browser, page: Path) -> Iterator[Browser]:
    """The page, freshly opened."""
    window.open(page)
    yield window
    assert window.problems() == []


def names(shown: Browser, chart: int) -> list[str]:
    """What the marks of a chart are called, up to the first comma."""
    css = MARKS.format(chart)
    script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.getAttribute('aria-label'))"
    return [text.split(",")[0] for text in settled(shown, script, css)]


def settled(shown: Browser, script: str, css: str) -> list[str]:
    """What a script says once the charts are drawn."""
    shown.run("return new Promise((done) => setTimeout(done, 300))")
    return shown.run(script, css)


def focus(shown: Browser, css: str) -> None:
    shown.run("document.querySelector(arguments[0]).focus()", css)


def focused(shown: Browser) -> str:
    return shown.run("return document.activeElement.innerText || document.activeElement.id")


def sorted_by(shown: Browser, column: int) -> tuple[list[float], str]:
    cells = shown.text(f"{FIRST} tbody td:nth-child({column}) .figure")
    return [float(text.split()[0]) for text in cells], shown.run(
        "return document.querySelector(arguments[0]).ariaSort", f"{FIRST} thead th:nth-child({column})"
    )


def test_a_click_on_a_title_sorts_best_first_then_worst_then_as_before(shown: Browser) -> None:
    before = shown.text(COLUMN)
    for order, reverse in (("descending", True), ("ascending", False)):
        shown.click(f"{FIRST} thead button", 4)
        figures, told = sorted_by(shown, 5)
        assert figures == sorted(figures, reverse=reverse) and told == order
    shown.click(f"{FIRST} thead button", 4)
    assert shown.text(COLUMN) == before and sorted_by(shown, 5)[1] == "none"
    assert shown.text(f"{FIRST} tfoot th") == ["reference"]  # it kept its place


def test_the_keyboard_sorts_and_a_short_latency_is_the_best(shown: Browser) -> None:
    focus(shown, f"{FIRST} thead th:last-child button")
    shown.press("Enter")
    figures, told = sorted_by(shown, 10)
    assert figures == sorted(figures) and told == "ascending"
    assert focused(shown) == "latency ms"


def test_words_and_choices_filter_tables_plots_and_pictures(shown: Browser) -> None:
    focus(shown, "#look")
    shown.press("ed", "m gr")
    assert set(shown.text("#runs tbody tr:not([hidden]) th:nth-child(3)")) == {"grass"}
    assert shown.text(".count") == ["4 of 4 groups, 2 of 16 runs"]
    assert len(shown.text("#gallery .block:not([hidden])")) == 2
    shown.click("#filter button[type=reset]")
    assert shown.text(".count") == ["4 of 4 groups, 16 of 16 runs"]
    choose(shown, "#filter select", "linear")
    assert shown.text(COLUMN) == ["linear"]
    assert names(shown, 1) == ["linear"]
    assert shown.text(".count") == ["1 of 4 groups, 4 of 16 runs"]
    focus(shown, "#look")
    shown.press("nothing at all")
    assert shown.text(f"{FIRST} tr:not([hidden]) .none") == ["no row fits the filter"]


def choose(shown: Browser, css: str, text: str) -> None:
    script = """
        const select = document.querySelector(arguments[0]);
        select.value = [...select.options].find((option) => option.text === arguments[1]).value;
        select.dispatchEvent(new Event("change"));
    """
    shown.run(script, css, text)


def test_a_figure_opens_its_runs_and_they_open_theirs(shown: Browser) -> None:
    shown.click(f"{FIRST} tbody tr:nth-child(1) .figure", 1)
    group = shown.text(COLUMN)[0]
    assert shown.text("dialog h2") == [group]
    (said,) = shown.text("dialog > p")
    assert said.startswith("image AUROC 0.") and said.endswith(": 4 runs.")
    mean = float(said.split()[2])
    figures = [float(text) for text in shown.text("dialog tbody td:nth-child(4)")]
    assert len(figures) == 4 and abs(sum(figures) / 4 - mean) < 0.001
    signature = shown.text("dialog tbody .link")[2]
    shown.click("dialog tbody .link", 2)
    assert shown.text("dialog h2") == [f"Run {signature}"]
    assert {"cpu AMD EPYC, 1 thread", signature} <= set(shown.text("dialog dd"))
    shown.click("dialog .buttons button")  # Back
    assert shown.text("dialog h2") == [group]
    shown.press("Escape")
    assert not shown.run("return document.getElementById('dialog').open")
    assert focused(shown).startswith(said.split()[2])  # the figure that was pressed


def test_a_difference_has_the_runs_of_both_groups(shown: Browser) -> None:
    shown.click("#tables .sheet:nth-of-type(2) tbody .figure", 1)
    (title,) = shown.text("dialog h2")
    assert title.endswith(f" less {shown.text(COLUMN)[0]}")
    assert len(shown.text("dialog tbody tr")) == 8
    shown.press("Escape")
    shown.click("#tables .sheet:nth-of-type(2) tbody .figure", 2)
    assert shown.text("dialog > p")[0].startswith("image AUROC p ")


def test_arrow_keys_move_between_figures_and_enter_opens(shown: Browser) -> None:
    shown.click(f"{FIRST} thead button", 0)  # order by name
    shown.press("Tab")
    while focused(shown) not in shown.text(f"{FIRST} tbody tr:first-child .figure"):
        shown.press("Tab")
    shown.press("Right", "Down")
    assert focused(shown) == shown.text(f"{FIRST} tbody tr:nth-child(2) .figure")[1]
    shown.press("Enter")
    assert shown.text("dialog h2") == [shown.text(COLUMN)[1]]


def test_the_slider_moves_by_keyboard_from_image_to_map(shown: Browser) -> None:
    def style(name: str) -> str:
        return shown.run("return getComputedStyle(document.querySelector('.stack .map'))[arguments[0]]", name)

    focus(shown, "#reveal")
    shown.press("Home")
    assert style("opacity") == "0"
    shown.press("End")
    assert style("opacity") == "1"
    shown.press("Left", "Left")
    assert float(style("opacity")) == pytest.approx(0.98)
    assert shown.run("return document.getElementById('reveal').ariaValueText") == "98% map"
    choose(shown, "#gallery select", "wiping")
    assert style("opacity") == "1" and style("clipPath").startswith("inset(0")
    shown.click("#gallery input[type=checkbox]")
    assert shown.run("return getComputedStyle(document.querySelector('.stack .outline')).display") == "none"


def test_a_run_leads_to_its_gallery(shown: Browser) -> None:
    shown.click("#runs tbody .link")
    (title,) = shown.text("dialog h2")
    shown.click("dialog > p button")
    assert shown.text("#gallery .block:not([hidden]) .link") == [title.removeprefix("Run ")]
    assert [text.split("\n")[0] for text in shown.text("#gallery .block:not([hidden]) .picture figcaption")] == [
        "miss score 1.25", "pass score 1.25"
    ]  # fmt: skip
    widths = "[...document.querySelectorAll('.block:not([hidden]) .stack img')].map((image) => image.naturalWidth)"
    assert set(shown.run(f"return {widths}")) == {64}
    shown.click("#gallery .wall > button")
    assert len(shown.text("#gallery .block:not([hidden])")) == 16


def test_charts_follow_the_metric_and_tell_what_they_show(shown: Browser) -> None:
    choose(shown, "#plots select", "AUPRO 30%")
    called = names(shown, 1)
    assert "AUPRO 30%, mean of 2 categories" in shown.text("#plots .plot:first-child text")
    focus(shown, MARKS.format(1))
    group, figure, *_ = shown.text("#tip div")
    assert group == called[0] and figure.startswith("AUPRO 30% 0.")
    shown.press("Down")
    assert shown.text("#tip div")[0] == called[1]
    shown.press("Enter")
    assert len(shown.text("dialog tbody tr")) == 4
    assert shown.text("#plots h3") == ["Groups", "Quality against latency", "Scoring levels", "Learning", "Schedules"]


def test_a_click_on_a_point_opens_its_runs_with_the_figure_of_the_table(shown: Browser) -> None:
    (first, *_) = names(shown, 1)
    shown.click(MARKS.format(1))
    assert shown.text("dialog h2") == [first]
    (said,) = shown.text("dialog > p")
    shown.press("Escape")
    assert said.split()[2] == shown.text(f"{FIRST} tbody tr:first-child strong")[0]


def test_the_theme_is_the_systems_until_it_is_chosen(shown: Browser) -> None:
    paper = "return getComputedStyle(document.body).backgroundColor"
    light = shown.run(paper)
    shown.prefer("dark")
    dark = shown.run(paper)
    assert light == "rgb(255, 255, 255)" and dark != light
    shown.click("#theme")
    assert shown.text("#theme") == ["Theme: light"] and shown.run(paper) == light
    shown.click("#theme")
    assert shown.text("#theme") == ["Theme: dark"] and shown.run(paper) == dark
    shown.run("location.reload()")
    assert shown.text("#theme") == ["Theme: dark"]
    shown.click("#theme")


def test_names_are_text_and_run_nothing(shown: Browser) -> None:
    assert shown.run("return typeof hacked") == "undefined"
    assert NAMES[2] in shown.text(COLUMN) and "<b>brick</b>" in shown.text("#tables tbody th:first-child")
    assert shown.run("return document.querySelectorAll('script').length") == 3
    assert shown.run("return document.querySelectorAll('img:not(.stack img), b').length") == 0
    assert (
        shown.run("return performance.getEntriesByType('resource').filter((one) => !one.name.startsWith('data:'))")
        == []
    )


def test_everything_that_can_be_used_has_a_name(shown: Browser) -> None:
    nodes = shown.devtools("Accessibility.getFullAXTree")["nodes"]
    used = {"button", "combobox", "slider", "searchbox", "checkbox", "link", "table"}
    found = [
        (node["role"]["value"], node["name"]["value"].strip())
        for node in nodes
        if node.get("role", {}).get("value") in used
    ]
    assert {role for role, _ in found} == used
    assert [role for role, name in found if not name] == []


@pytest.mark.parametrize("width", [360, 390, 1280])
def test_no_width_needs_a_sideways_scroll(width: int, shown: Browser, page: Path) -> None:
    shown.open(page, width, 740)
    assert shown.run("return document.documentElement.scrollWidth") == width
    assert shown.run("return [...document.querySelectorAll('.stage')].every((one) => one.clientWidth > 240)")
    cut = "return [...document.querySelectorAll('.bar a, #theme')].filter((one) => {"
    cut += "const { left, right } = one.getBoundingClientRect(); return left < 0 || right > innerWidth;"
    cut += "}).map((one) => one.textContent)"
    assert shown.run(cut) == []
    assert shown.run("const nav = document.querySelector('.bar nav'); return nav.scrollWidth <= nav.clientWidth")
    shown.click(f"{FIRST} tbody .figure", 1)
    box = shown.run(
        "const { left, right } = document.getElementById('dialog').getBoundingClientRect(); return [left, right]"
    )
    assert 0 <= box[0] < box[1] <= width


def test_long_tables_begin_with_some_rows_and_print_whole(window: Browser, tmp_path: Path) -> None:
    records = study_records(tuple(f"schedule {number:02d}" for number in range(42)), ("a", "b"), (0, 1))
    found = build.build_study("big", [run_of(tmp_path / record["signature"], record) for record in records])
    document.write_page(found, study_charts(found)[0], tmp_path)
    window.open(tmp_path / "report.html", 390, 740)
    rows = "#runs tbody tr:not([hidden])"
    assert len(window.text(rows)) == 30 and window.text("#runs .sheet > button") == ["Show all 168 rows"]
    assert "No run of this study has a gallery" in window.text("#gallery p")[0]
    names(window, 1)
    assert "The first 40 of 42" in window.text("#plots .plot:first-child .hint")[0]
    window.run("document.querySelector('#runs .wide').scrollLeft = 300")
    left = "return document.querySelector('#runs tbody th').getBoundingClientRect().left"
    assert 0 <= window.run(left) < 40  # the first column stays in view
    window.run("dispatchEvent(new Event('beforeprint'))")
    assert len(window.text(rows)) == 168
    assert window.problems() == []


def test_groups_that_ranks_do_not_tell_apart_are_joined(window: Browser, tmp_path: Path) -> None:
    records = study_records(seeds=(0, 1, 2, 3, 4, 5, 6, 7))
    found = build.build_study("ranks", [run_of(tmp_path / record["signature"], record) for record in records])
    document.write_page(found, study_charts(found)[0], tmp_path)
    ranking = found.ranking
    assert ranking.reason is None and ranking.critical_difference is not None
    for width in (390, 1280):
        window.open(tmp_path / "report.html", width, 740)
        assert tuple(names(window, 3)) == ranking.groups
        plot = "#plots .plot:nth-child(3)"
        assert window.text(f"{plot} h3") == ["Critical differences"]
        assert f"critical difference {ranking.critical_difference:.2f}" in window.text(f"{plot} text")
        focus(window, MARKS.format(3))
        name, rank = window.text("#tip div")
        assert name == ranking.groups[0] and float(rank.split()[-1]) == pytest.approx(ranking.ranks[0], abs=0.0051)
    window.press("Enter")
    assert len(window.text("dialog tbody tr")) == 24
    assert window.problems() == []


def test_what_the_plots_leave_out_stands_below_them(window: Browser, tmp_path: Path) -> None:
    records = study_records(names=("cosine", "edm", "linear"), categories=("a", "b"), seeds=(0,))
    kept = [one for one in records if (one["choices"]["schedule"], one["categories"]) != ("edm", ["b"])]
    for record in kept:
        record["description"] = {}
        if record["choices"]["schedule"] == "cosine":
            level = {"log_snr": 0.0, "image_auroc": 0.9}
            record["levels"] = {"a": [level, {**level, "log_snr": 1.0}]} if record["categories"] == ["a"] else {}
    found = build.build_study("demo", [run_of(tmp_path / one["signature"], one) for one in kept])
    document.write_page(found, study_charts(found)[0], tmp_path)
    window.open(tmp_path / "report.html")
    assert set(names(window, 2)) == {"cosine", "linear"}
    assert window.text("#plots h3") == ["Groups", "Quality against latency", "Scoring levels", "Learning"]
    said = "Not drawn, since not comparable: edm (without b)."
    assert window.text("#plots .plot:nth-child(2) .hint") == [said]
    (said,) = window.text("#plots .plot:nth-child(3) .hint")
    assert said.startswith("Hollow, since not comparable: cosine (1 of 2 categories).")
    assert said.endswith("is scored): linear, edm.")
    choose(window, "#filter select", "edm")
    assert names(window, 2) == []
    assert "Nothing of what is chosen is drawn here." in window.text("#plots .plot:nth-child(2) .hint")[0]
    assert window.problems() == []


def test_a_line_along_numbers_leads_from_group_to_group_and_opens_their_runs(window: Browser, tmp_path: Path) -> None:
    records = sweep_records({"data.shots": ("null", "16", "1", "4"), "data.augment_copies": ("0", "7")})
    kept = [one for one in records if (one["choices"]["data.shots"], one["categories"]) != ("16", ["brick"])]
    found = build.build_study("demo", [run_of(tmp_path / one["signature"], one) for one in kept])
    document.write_page(found, study_charts(found)[0], tmp_path)
    window.open(tmp_path / "report.html")
    assert len(names(window, 2)) == 8
    texts = window.text("#plots .plot:nth-child(2) text")
    assert {"1", "4", "16", "all", "shots (log scale)", "0", "7"} <= set(texts)
    assert window.text("#plots .plot:nth-child(2) h3") == ["Along shots"]
    focus(window, MARKS.format(2))
    group, figure, *_ = window.text("#tip div")
    (row,) = [row for row in found.tables[0].rows if row[:2] == found.groups[0].values]
    assert group == found.groups[0].label and figure.startswith(f"image AUROC {getattr(row[3], 'mean', '')}")
    window.press("Enter")
    assert len(window.text("dialog tbody tr")) in (4, 6)
    window.press("Escape")
    choose(window, "#filter select", "7")
    assert len(names(window, 2)) == 4
    choose(window, "#plots select", "latency ms")
    names(window, 2)
    assert "latency ms, mean of 3 categories" in window.text("#plots .plot:nth-child(2) text")
    assert window.problems() == []
