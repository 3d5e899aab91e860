"""The parts of a paper: they say what the records say, cite what they use, and compile whatever a run is called."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from PIL import Image
from records import make, run_of, study_records

from diffect.reports import build, paper, study
from diffect.reports.charts import study_charts
from diffect.reports.paper import document
from diffect.reports.paper.choices import by_choice
from diffect.reports.paper.methods import description_tex, methods_tex
from diffect.reports.paper.numbers import number_key, numbers_tex
from diffect.runs.record_file import PANEL

CONF = Path(__file__).parents[2] / "conf"
PARTS = ["methods.tex", "numbers.tex", "paper.tex", "references.bib", "table.tex"]


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    """A run's config as `train` composes it, less what needs the command line."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", ["data.size=128", "detector=learned"])
    plain = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


DESCRIPTION = {
    "source": "photographs in the layout of MVTec AD [@bergmann2021mvtec]",
    "representation": "features of blocks 4 and 10 of EfficientNet-Lite0 [@tan2019efficientnet], whitened",
    "denoiser": "a convolutional network, which predicts v [@salimans2022progressive]",
    "schedule": "the cosine schedule [@nichol2021improved]",
    "weight": "w = 1/α², the plain v loss [@salimans2022progressive]",
    "training": "200 steps of 8 images, by AdamW [@loshchilov2019adamw] with learning rate 0.001",
    "scorer": "the denoising error at log-SNR 1, averaged over 2 draws of noise",
    "anomaly_map": "the mean of the components; an image's score is the mean of its highest 1% of pixels",
}


def whole(records: list[dict[str, Any]], config: dict[str, Any]) -> list[dict[str, Any]]:
    """The records with all that a true run has and the made-up ones lack."""
    for place, record in enumerate(records):
        (category,) = record["categories"]
        counts = {"fit": 66, "selection": 10, "calibration": 20, "masks": 30, "defects": {"good": 16, "dent": 30}}
        record |= {
            "signature": f"{place:012x}",
            "config": {**config, "seed": record["seed"]},
            "description": DESCRIPTION,
            "protocol": {
                "settings": "as the config gives them",
                "checkpoint": "the lowest loss on the selection normals",
            },
            "splits": {"canvas": [128, 128], "rule": "by seed", "categories": {category: counts}},
            "seconds": {"total": 60.0},
            "versions": {"diffect": "0.1.0", "torch": "2.13.0+cpu"},
        }
    return records


def built(records: list[dict[str, Any]], name: str = "demo", folder: Path = Path(), **options: Any) -> study.Study:
    return build.build_study(name, [run_of(folder / record["signature"], record) for record in records], **options)


def write(found: study.Study, out: Path) -> list[str]:
    """Why there is no other figure, and what the parts of the paper lack."""
    charts, reasons = study_charts(found)
    return [*reasons, *paper.write_paper(found, charts, reasons, out)]


def compiled(folder: Path, passes: int = 1) -> str:
    """The log of pdflatex, after the first pass with BibTeX; the test is skipped where there is none."""
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed, so no paper is compiled (Debian: texlive-latex-recommended)")
    latex = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    for command in [latex] if passes == 1 else [latex, ["bibtex", "paper"], *[latex] * (passes - 1)]:
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    return (folder / "paper.log").read_text(errors="replace")


def numbers(text: str) -> dict[str, str]:
    found = re.findall(r"^\\diffectnumber\{([^{}\\]+)\}\{(.*)\}$", text, re.MULTILINE)
    assert len(found) == len(dict(found)) == text.count("\n\\diffectnumber{")
    return dict(found)


@pytest.mark.slow
def test_a_paper_is_complete_compiles_and_is_the_same_twice(tmp_path: Path, config: dict[str, Any]) -> None:
    records = whole(study_records(seeds=(0, 1, 2, 3, 4)), config)
    for record in records:
        (tmp_path / record["signature"]).mkdir()
        Image.new("RGB", (300, 90), "grey").save(tmp_path / record["signature"] / PANEL)
    found = built(records, folder=tmp_path)
    assert write(found, tmp_path / "a") == [
        "no figure of the scoring levels: no record says what each alone would give"
    ]
    write(found, tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
    log = compiled(tmp_path / "a", passes=3)
    assert "undefined" not in log and "multiply defined" not in log
    assert not re.search(r"Overfull \\hbox \((\d\d+\.\d+)pt", log)
    assert (tmp_path / "a" / "paper.pdf").stat().st_size > 20_000


SPECIAL = ("50%_of_$x^2$ & {more} #1~\\", "[8,16]", "<b>x</b>|y*", "\\input{/etc/passwd}", "\"quote's` --")
UNICODE = ("Größe", "naïve 中文", "σ=0.5 ± ×", "🎉", "№ \u0301")
LONG = ("a" * 150, "one_long_name_with_many_parts_" * 5, "many words " * 15)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "categories", "seeds"),
    [
        pytest.param(SPECIAL, ("a_b", "c&d"), (0, 1), id="special characters"),
        pytest.param(UNICODE, ("Flasche ü", "瓶"), (0, 1), id="unicode"),
        pytest.param(LONG, ("x" * 80, "grass"), (0, 1), id="long names"),
        pytest.param(tuple(f"group {i}" for i in range(45)), ("a", "b", "c"), (0, 1), id="many groups"),
        pytest.param(("cosine", "linear"), ("brick",), (0,), id="one seed and category"),
        pytest.param(("cosine",), ("brick",), (0,), id="one run"),
    ],
)
def test_any_study_compiles(
    tmp_path: Path, config: dict[str, Any], names: tuple[str, ...], categories: tuple[str, ...], seeds: tuple[int, ...]
) -> None:
    records = whole(study_records(names=names, categories=categories, seeds=seeds), config)
    write(built(records, name=names[0]), tmp_path)
    log = compiled(tmp_path)
    assert "Float too large" not in log and "Missing character" not in log
    numbers((tmp_path / "numbers.tex").read_text())


def test_a_study_without_schedules_metrics_or_configs_compiles(tmp_path: Path) -> None:
    records = study_records(names=("cosine", "linear"))
    for record in records:
        for key in ("schedule", "versions", "device", "scores", "replicates", "intervals", "audit"):
            del record[key]
        record["config"] = {}
        for category in record["metrics"]:
            record["metrics"][category] = dict.fromkeys(record["metrics"][category])
    reasons = write(built(records), tmp_path)
    assert len(reasons) == 6
    compiled(tmp_path)
    assert set(numbers((tmp_path / "numbers.tex").read_text())) >= {
        "demo/image_auroc/cosine",
        "demo/image_auroc interval/cosine",
    }


@pytest.mark.slow
def test_what_an_author_writes_is_read_and_never_written(tmp_path: Path, config: dict[str, Any]) -> None:
    found = built(whole(study_records(names=("cosine", "linear")), config))
    own = {
        "prose.tex": r"\title{Mine}\author{Me}\maketitle\diffect{demo/image_auroc/cosine} "
        r"\diffect{demo/image_auroc interval/cosine}",
        "discussion.tex": r"\section{Discussion}\typeout{discussed}",
    }
    for name, text in own.items():
        (tmp_path / name).write_text(text)
    write(found, tmp_path)
    assert all((tmp_path / name).read_text() == text for name, text in own.items())
    assert "discussed" in compiled(tmp_path)


def test_numbers_are_those_of_the_tables() -> None:
    found = built(study_records())
    said = numbers(numbers_tex(found))
    for metric in ("image_auroc", "pixel_aupro_30"):
        for group, estimate in zip(found.groups, found.estimates[metric], strict=True):
            assert said[f"demo/{metric}/{group.label}"] == f"{estimate.value:.3f}"
            assert said[f"demo/{metric} interval/{group.label}"] == rf"\ensuremath{{\pm}}{estimate.half:.3f}"
    assert (said["demo/runs"], said["demo/groups"], said["demo/seeds"]) == ("24", "4", "2")
    assert said["demo/baseline"] == found.comparison.baseline.label  # type: ignore[union-attr]
    assert said["demo/image_auroc difference/edm"].startswith(r"\ensuremath{-}0.0")
    assert re.fullmatch(r"\d\.\d{3}|\\ensuremath\{<\}0\.001", said["demo/image_auroc p/edm"])
    assert said["demo/image_auroc/edm/brick"] == f"{found.by_category['brick']['image_auroc'][-1].value:.3f}"


def test_keys_hold_what_tex_takes_in_a_name_and_no_two_are_alike() -> None:
    assert (
        number_key("demo", "image_auroc", "lr-0.5, training.steps=30") == "demo/image_auroc/lr-0.5, training.steps=30"
    )
    twins = ["a/b", "a-b", "a%b", "a\\b", "中文", "文字", "Größe"]
    named = [number_key("s", twin) for twin in twins]
    assert len(set(named)) == len(named) and all(re.fullmatch("s/[a-zA-Z0-9-]+", name) for name in named)
    assert named[1] == "s/a-b" and re.fullmatch("s/Gr--e-[0-9a-f]{4}", named[-1])


@pytest.mark.slow
def test_a_key_that_no_figure_has_stops_the_compiler(tmp_path: Path, config: dict[str, Any]) -> None:
    write(built(whole(study_records(names=("cosine", "linear")), config)), tmp_path)
    compiled(tmp_path)
    (tmp_path / "prose.tex").write_text(r"\diffect{demo/image_auroc/cosin}")
    with pytest.raises(AssertionError, match="There is no figure demo/image"):
        compiled(tmp_path)


def test_a_description_becomes_latex() -> None:
    assert description_tex("β is 1e-4 & 50% [@ho2020ddpm; @song2021ddim], |x|² {_}.") == (
        r"$\beta$ is 1e-4 \& 50\%~\cite{ho2020ddpm,song2021ddim}, \textbar{}x\textbar{}$^{2}$ \{\_\}"
    )
    assert description_tex("The mean [0.5] of DDIM [@song2021ddim].") == r"the mean {[}0.5] of DDIM~\cite{song2021ddim}"
    assert description_tex("") == ""


@pytest.mark.slow
def test_a_work_that_the_library_lacks_is_left_to_the_author(tmp_path: Path, config: dict[str, Any]) -> None:
    records = whole(study_records(names=("cosine", "edm")), config)
    for record in records:
        record["description"] = {**DESCRIPTION, "denoiser": "a thing of mine [@me2026; @ho2020ddpm]"}
    reasons = write(built(records), tmp_path)
    assert "references.bib: there is no entry for me2026; write one into own.bib" in reasons
    assert r"The denoiser is a thing of mine~\cite{me2026,ho2020ddpm}." in (tmp_path / "methods.tex").read_text()
    compiled(tmp_path)


def test_a_part_that_has_no_place_in_the_methods_is_described_too(config: dict[str, Any]) -> None:
    records = whole(study_records(names=("cosine", "edm")), config)
    for record in records:
        record["description"] = {**DESCRIPTION, "my_part": "A part of mine."}
    assert "My part: a part of mine." in methods_tex(built(records))


def test_methods_say_once_what_is_shared_and_by_choice_what_varies(config: dict[str, Any]) -> None:
    records = whole(study_records(names=("cosine", "edm"), categories=("brick", "grass")), config)
    for record in records:
        if record["choices"]["schedule"] == "edm":
            record["description"] = {**DESCRIPTION, "schedule": "log-normal noise [@karras2022edm]"}
    text = methods_tex(built(records))
    assert text.count("AdamW") == 1 and text.count("EfficientNet") == 1
    schedule = r"The noise schedule is \(for each \\emph\{schedule\}\) \\emph\{cosine\}: .*nichol2021.*"
    schedule += r"; \\emph\{edm\}: .*karras2022"
    assert re.search(schedule, text)
    assert "Together the categories have 132 images to fit, 20 for selection, 40 for calibration" in text
    assert "seeds 0 and 1: 8 runs in 2 groups" in text
    assert "8.0 minutes" in text and "torch 2.13.0+cpu" in text


def test_the_library_is_whole() -> None:
    entries = (Path(paper.__file__).parent / "library.bib").read_text().split("\n@")[1:]
    for entry in entries:
        fields = set(re.findall(r"^  (\w+) = \{.*\},$", entry, re.MULTILINE))
        assert {"author", "title", "year"} <= fields, entry
        assert {"journal", "booktitle", "howpublished", "publisher"} & fields, entry
        assert entry.count("{") == entry.count("}"), entry


def test_a_random_estimand_and_a_named_baseline_are_said(config: dict[str, Any]) -> None:
    records = whole(study_records(categories=tuple("abcdefgh"), names=("cosine", "edm", "linear")), config)
    text = methods_tex(built(records, estimand="random", baseline="linear"))
    assert "taken as a sample of their kind" in text and r"\emph{linear}, named beforehand" in text
    assert "permutation of the categories' signs" in text and "iman1980" in text
    single = methods_tex(built([make()]))
    assert "has one setting" in single and "Groups are compared" not in single


def composed(*overrides: str) -> dict[str, Any]:
    """A config as `train` resolves it."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        plain = OmegaConf.to_container(compose("train", ["data.size=128", *overrides]), resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def test_what_follows_group_and_category_together_is_said_by_both(config: dict[str, Any]) -> None:
    records = whole(study_records(names=("cosine", "edm"), categories=("brick", "grass"), seeds=(0, 1)), config)
    texts = ["b" if run["categories"] == ["grass"] and run["choices"]["schedule"] == "edm" else "a" for run in records]
    assert by_choice(built(records), "It is", texts) == (
        r"It is (for each group and category) \emph{cosine} and \emph{edm on brick}: a; \emph{edm on grass}: b."
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"protocol": {"component_scale": "the mean on the selection normals, of each category by itself"}},
            "Components are scaled by the mean on the selection normals, of each category by itself.",
        ),
        (
            {"description": {"outlier_removal": "images of fit and selection with a modified z-score above 3"}},
            "Removed from training are images of fit and selection with a modified z-score above 3.",
        ),
        (
            {"description": {"finetuning": "that of a run on leather and wood"}},
            "The network starts from that of a run on leather and wood.",
        ),
        (
            {"description": {"contamination": "10% are replaced by the same images with synthetic defects"}},
            r"Of these normal images, 10\% are replaced by the same images with synthetic defects.",
        ),
        (
            {"description": {"augmentation": "7 copies of each, a random composition of turn and zoom"}},
            "Augmentation adds 7 copies of each, a random composition of turn and zoom.",
        ),
    ],
)
def test_what_was_done_to_the_images_is_said(changes: dict[str, Any], said: str) -> None:
    assert said in methods_tex(built([make(seed=seed, **changes) for seed in (0, 1)]))
    assert said not in methods_tex(built([make(seed=seed) for seed in (0, 1)]))


def test_what_differs_beside_the_axes_is_said_and_the_rest_is_the_same(config: dict[str, Any]) -> None:
    records = whole(study_records(names=("cosine", "edm"), categories=("brick", "grass"), seeds=(0, 1)), config)
    alike = methods_tex(built(records))
    assert "All other settings are the same." in alike
    for record in records:
        mine = record["config"]
        size = 256 if record["categories"] == ["grass"] else 128
        levels = [-1.0, 3.0] if record["choices"]["schedule"] == "edm" else [1.0]
        record["config"] = {
            **mine,
            "data": {**mine["data"], "size": size, "seed": record["seed"]},
            "scorer": {**mine["scorer"], "levels": levels},
            "schedule": {"_target_": record["choices"]["schedule"]},  # an axis: said by the design
            "tracking": {"mode": str(record["seed"])},  # not of the method
        }
    text = methods_tex(built(records))
    said = re.search(
        "The runs also differ in (.*); all other settings are the same", text.replace(r"\allowbreak{}", "")
    )
    assert said is not None and "All other settings" not in text
    assert said[1] == r"\texttt{scorer.levels} (by \emph{schedule}); \texttt{data.size} (by category)"


def test_nothing_is_called_the_same_where_a_run_has_no_config() -> None:
    records = study_records(names=("cosine", "edm"))
    records[0]["config"] = {}
    assert "other settings" not in methods_tex(built(records))


@pytest.mark.slow
def test_captions_promise_no_more_than_is_drawn() -> None:
    def text_of(records: list[dict[str, Any]]) -> str:
        return document.paper_tex(found := built(records), study_charts(found)[0], False, [])

    for seeds in ((0,), (0, 1)):
        records = study_records(seeds=seeds)
        for record in records:
            row = {"log_snr": 1.0, "image_auroc": 0.9 + 0.01 * record["seed"], "pixel_aupro_30": 0.8}
            record["levels"] = {name: [row] for name in record["categories"]}
        text = text_of(records)
        assert ("Small dots" in text) == ("intervals over seeds where" in text) == (len(seeds) > 1)
        assert "Not drawn" not in text
        text = text_of(records[1:])
        assert ("Not drawn, since not comparable: cosine (without brick)." in text) == (len(seeds) == 1)
    for record in records:
        if record["choices"]["schedule"] == "edm":
            record["levels"] = {}
    said = "Not drawn, for want of figures by level (there are none where a single level is scored): edm."
    assert said in text_of(records)
