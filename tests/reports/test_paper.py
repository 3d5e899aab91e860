"""The parts of a paper: they say what the records say, cite what they use, and compile whatever a run is called."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from PIL import Image
from records import make, study_records

from diffect.reports import paper, study
from diffect.reports.paper import document, judging, learning, methods, naming, numbers, references
from diffect.reports.paper.varying import told
from diffect.runs.record import PANEL
from diffect.runs.table import Run

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


def whole(records: list[dict[str, Any]], config: dict[str, Any]) -> list[dict[str, Any]]:
    """The records with all that a true run has and the made-up ones lack."""
    for place, record in enumerate(records):
        (category,) = record["categories"]
        counts = {"fit": 66, "selection": 10, "calibration": 20, "masks": 30, "defects": {"good": 16, "dent": 30}}
        record |= {
            "signature": f"{place:012x}",
            "config": {**config, "seed": record["seed"]},
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
    return study.build(name, [Run(folder / record["signature"], record) for record in records], **options)


def compiled(folder: Path, passes: int = 1) -> str:
    """The log of pdflatex; the test is skipped where there is none."""
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed, so no paper is compiled (Debian: texlive-latex-recommended)")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    for _ in range(passes):
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    return (folder / "paper.log").read_text(errors="replace")


def macros(text: str) -> dict[str, str]:
    found = re.findall(r"^\\newcommand\{\\([a-zA-Z]+)\}\{(.*)\}% \S", text, re.MULTILINE)
    assert len(found) == len(dict(found)) == text.count("\\newcommand")
    return dict(found)


@pytest.mark.slow
def test_a_paper_is_complete_compiles_and_is_the_same_twice(tmp_path: Path, config: dict[str, Any]) -> None:
    records = whole(study_records(seeds=(0, 1, 2, 3, 4)), config)
    for record in records:
        (tmp_path / record["signature"]).mkdir()
        Image.new("RGB", (300, 90), "grey").save(tmp_path / record["signature"] / PANEL)
    found = built(records, folder=tmp_path)
    assert paper.write(found, tmp_path / "a") == [
        "no figure of the scoring levels: no record says what each alone would give"
    ]
    paper.write(found, tmp_path / "b")
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
    paper.write(built(records, name=names[0]), tmp_path)
    log = compiled(tmp_path)
    assert "Float too large" not in log and "Missing character" not in log
    macros((tmp_path / "numbers.tex").read_text())


def test_a_study_without_schedules_metrics_or_configs_compiles(tmp_path: Path) -> None:
    records = study_records(names=("cosine", "linear"))
    for record in records:
        for key in ("config", "schedule", "versions", "device", "scores", "replicates", "intervals", "audit"):
            record[key] = None
        for category in record["metrics"]:
            record["metrics"][category] = dict.fromkeys(record["metrics"][category])
    reasons = paper.write(built(records), tmp_path)
    assert len(reasons) == 6
    compiled(tmp_path)
    assert set(macros((tmp_path / "numbers.tex").read_text())) >= {"demoImageAurocCosine", "demoImageAurocCosineHalf"}


@pytest.mark.slow
def test_what_an_author_writes_is_read_and_never_written(tmp_path: Path, config: dict[str, Any]) -> None:
    found = built(whole(study_records(names=("cosine", "linear")), config))
    own = {
        "prose.tex": r"\title{Mine}\author{Me}\maketitle\demoImageAurocCosine{} $\pm$ \demoImageAurocCosineHalf{}",
        "discussion.tex": r"\section{Discussion}\typeout{discussed}",
    }
    for name, text in own.items():
        (tmp_path / name).write_text(text)
    paper.write(found, tmp_path)
    assert all((tmp_path / name).read_text() == text for name, text in own.items())
    assert "discussed" in compiled(tmp_path)


def test_numbers_are_those_of_the_tables() -> None:
    found = built(study_records())
    said = macros(numbers.document(found))
    for metric, word in (("image_auroc", "ImageAuroc"), ("pixel_aupro_30", "PixelAuproThirty")):
        for group, estimate in zip(found.groups, found.estimates[metric], strict=True):
            name = f"demo{word}{group.label.title()}"
            assert (said[name], said[f"{name}Half"]) == (f"{estimate.value:.3f}", f"{estimate.half:.3f}")
    assert (said["demoRuns"], said["demoGroups"], said["demoSeeds"]) == ("24", "4", "2")
    assert said["demoBaseline"] == found.comparison.baseline.label  # type: ignore[union-attr]
    assert said["demoImageAurocEdmDifference"].startswith(r"\ensuremath{-}0.0")
    assert re.fullmatch(r"\d\.\d{3}|\\ensuremath\{<\}0\.001", said["demoImageAurocEdmP"])
    assert said["demoImageAurocEdmBrick"] == f"{found.by_category['brick']['image_auroc'][-1].value:.3f}"


def test_names_of_commands_are_letters_without_collisions_and_keep_still() -> None:
    assert naming.names([("lr-0.5_x2", "30", "100", "a=-1")]) == ["lrZeroPointFiveXTwoThirtyOneZeroZeroAIsMinusOne"]
    twins = [("s", "cosine_x"), ("s", "cosine x"), ("s", "cosineX"), ("s", "中文"), ("s", "文字"), ("s", "Größe")]
    named = naming.names(twins)
    assert len(set(named)) == len(named) and all(re.fullmatch("[a-zA-Z]+", name) for name in named)
    assert dict(zip(twins, named, strict=True)) == dict(zip(twins[::-1], naming.names(twins[::-1]), strict=True))
    assert named[-1] == "sGroE"


def chosen(group: str) -> list[tuple[str, DictConfig]]:
    return [(path.stem, OmegaConf.load(path)) for path in sorted((CONF / group).glob("*.yaml"))]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("group", "phrase"),
    [
        ("schedule", learning.schedule),
        ("weight", learning.weight),
        ("denoiser", learning.denoiser),
        ("representation", judging.representation),
        ("scorer", judging.scorer),
        ("anomaly_map", judging.pooling),
    ],
)
def test_there_are_words_for_every_choice_that_ships(config: dict[str, Any], group: str, phrase: Any) -> None:
    said = {}
    learned = ["denoiser=conv"] if group in ("schedule", "weight") else []
    for name, _ in chosen(group):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = OmegaConf.to_container(compose("train", [*learned, f"{group}={name}"]), resolve=True)
        said[name] = phrase(cfg)
        assert said[name] and "\\texttt" not in said[name] and "None" not in said[name], name
        references.cited(said[name])  # every key is in the library
    assert len(set(said.values())) == len(said)


def test_what_has_no_words_is_named_with_its_settings() -> None:
    mine = {"_target_": "my.module.Strange_Schedule", "rate": 0.5, "_partial_": True}
    text = learning.schedule({"denoiser": {"_target_": "x.LearnedDenoiser"}, "schedule": mine})
    assert (
        text == r"\texttt{Strange\_\allowbreak{}Schedule} (rate=0.5)"
        or text == r"\texttt{Strange\_Schedule} (rate=0.5)"
    )


def test_methods_say_once_what_is_shared_and_by_choice_what_varies(config: dict[str, Any]) -> None:
    records = whole(study_records(names=("cosine", "edm"), categories=("brick", "grass")), config)
    edm = {"_target_": "diffect.diffusion.schedules.EDM", "p_mean": -1.2, "p_std": 1.2, "endpoints": "matched"}
    for record in records:
        if record["choices"]["schedule"] == "edm":
            record["config"] = {**record["config"], "schedule": {**edm, "log_snr_range": [-5, 7]}}
    text = methods.document(built(records))
    assert text.count("AdamW") == 1 and text.count("EfficientNet") == 1
    schedule = (
        r"The noise schedule is \(by \\emph\{schedule\}\) \\emph\{cosine\}: .*nichol2021.*; \\emph\{edm\}: .*karras2022"
    )
    assert re.search(schedule, text)
    assert "Together the categories have 132 images to fit, 20 for selection, 40 for calibration" in text
    assert "seeds 0 and 1: 8 runs in 2 groups" in text
    assert "8.0 minutes" in text and "torch 2.13.0+cpu" in text
    works = references.cited(text)
    assert {work.key for work in works} == set(re.findall(r"\w+", ",".join(re.findall(r"\\cite\{([^}]*)\}", text))))
    assert references.bibtex(works).count("\n@") == references.listed(works).count("\\bibitem") == len(works)
    assert "hang2024improved" not in references.bibtex(works)


def test_the_library_is_whole() -> None:
    for work in references.library().values():
        assert {"author", "title", "year"} <= work.fields.keys(), work.key
        assert {"journal", "booktitle", "howpublished", "publisher"} & work.fields.keys(), work.key
        assert work.text.count("{") == work.text.count("}"), work.key
    assert len(references.library()) == (Path(references.__file__).parent / "library.bib").read_text().count("\n@")


def test_a_random_estimand_and_a_named_baseline_are_said(config: dict[str, Any]) -> None:
    records = whole(study_records(categories=tuple("abcdefgh"), names=("cosine", "edm", "linear")), config)
    text = methods.document(built(records, estimand="random", baseline="linear"))
    assert "taken as a sample of their kind" in text and r"\emph{linear}, named beforehand" in text
    assert "permutation of the categories' signs" in text and "iman1980" in text
    single = methods.document(built([make()]))
    assert "has one setting" in single and "Groups are compared" not in single


def composed(*overrides: str) -> dict[str, Any]:
    """A config as `train` resolves it."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        plain = OmegaConf.to_container(compose("train", ["data.size=128", *overrides]), resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


@pytest.mark.parametrize("detector", [path.stem for path in sorted((CONF / "detector").glob("*.yaml"))])
def test_every_detector_reads_as_prose_whatever_its_seed(detector: str) -> None:
    phrases = (learning.denoiser, learning.training, judging.scorer, judging.pooling)
    first, second = (
        [phrase(composed(f"detector={detector}", f"seed={seed}")) for phrase in phrases] for seed in (3, 17)
    )
    assert first == second
    assert not re.search(r"\\texttt|None|null|_target_|\bseed\b", " ".join(first))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("denoiser=empirical",), r"\(all of each category or, where they are more, 10,000 chosen by greedy \$k\$"),
        (("denoiser=empirical", "denoiser.keep=random"), "10,000 drawn at random"),
        (("denoiser=empirical", "denoiser.memory=500"), r"\(500 patches of each category, chosen by greedy"),
        (("denoiser=empirical", "denoiser.memory=0.1"), r"\(10\\% of those of each category, chosen by greedy"),
        (("denoiser=empirical", "denoiser.conditional=false"), "all of all categories together"),
        (("denoiser=empirical", "denoiser.window=2"), "a weighted mean of those from at most 2 cells away"),
        (("denoiser.denoiser.memory=500",), "for each level of the pyramid.*independent.*500 patches.*drawn at random"),
    ],
)
def test_what_a_closed_form_stores_is_said(overrides: tuple[str, ...], said: str) -> None:
    assert re.search(said, learning.denoiser(composed(*overrides)))


def test_how_patches_were_kept_is_not_guessed() -> None:
    config = composed("denoiser=empirical")
    del config["denoiser"]["keep"]
    assert learning.denoiser(config).endswith("(all of each category or, where they are more, 10,000)")


def test_what_follows_group_and_category_together_is_said_by_both(config: dict[str, Any]) -> None:
    records = whole(study_records(names=("cosine", "edm"), categories=("brick", "grass"), seeds=(0, 1)), config)
    texts = ["b" if run["categories"] == ["grass"] and run["choices"]["schedule"] == "edm" else "a" for run in records]
    assert told(built(records), "It is", texts) == (
        r"It is (by group and category) \emph{cosine} and \emph{edm on brick}: a; \emph{edm on grass}: b."
    )


def test_only_where_noise_is_next_to_nothing_the_error_is_the_distance_to_the_nearest() -> None:
    assert "nearest stored patch" in judging.scorer(composed("detector=patchcore"))
    assert "nearest stored patch" not in judging.scorer(composed("denoiser=empirical"))


@pytest.mark.parametrize(
    ("changes", "overrides", "said"),
    [
        (
            {"protocol": {"component_scale": "the mean on the selection normals, of each category by itself"}},
            (),
            "Components are brought to one scale by the mean on the selection normals, of each category by itself.",
        ),
        (
            {},
            ("data.contamination=0.1",),
            r"Of these normal images 10\% are replaced by defective ones that nothing tells apart: the same images "
            "with synthetic defects.",
        ),
        (
            {},
            ("data.contamination=0.05", "data.contamination_from=test"),
            r"5\% are replaced by defective ones that nothing tells apart: from half of the test defects of each kind, "
            "which is held out of the test set.",
        ),
        (
            {},
            ("data.contamination_from=test",),
            "none is replaced by a defective one; half of the test defects of each kind is held out of the test set.",
        ),
        ({}, ("data.contamination=0.1", "data.contamination_from=/home/me"), "images of a folder of their own."),
        (
            {},
            ("data.augment=[turn,zoom]", "data.augment_copies=7"),
            "The images to fit are joined by 7 copies of each, at random composed of turn and zoom.",
        ),
        (
            {"outlier_removal": {"rule": "modified z-score above 3", "dropped": {}}},
            (),
            "Left out of training are images of fit and selection with a modified z-score above 3.",
        ),
        (
            {"finetuned_from": {"signature": "a", "study": "b", "categories": ["leather", "wood"]}},
            (),
            "The network starts from that of a run on leather and wood.",
        ),
    ],
)
def test_what_was_done_to_the_images_is_said(changes: dict[str, Any], overrides: tuple[str, ...], said: str) -> None:
    records = [make(seed=seed, config=composed(*overrides), **changes) for seed in (0, 1)]
    text = methods.document(built(records))
    assert said in text and "/home" not in text
    assert said not in methods.document(built([make(seed=seed, config=composed()) for seed in (0, 1)]))


def test_a_part_without_words_is_told_without_its_seed() -> None:
    parts = [
        {
            "_target_": "my.Outer",
            "seed": seed,
            "inner": {"_target_": "my.Inner", "_partial_": True, "seed": seed, "k": 2},
        }
        for seed in (0, 1)
    ]
    first, second = (learning.denoiser({"denoiser": part}) for part in parts)
    assert first == second and "Inner(k=2)" in first.replace(r"\allowbreak{}", "")


def test_what_differs_beside_the_axes_is_said_and_the_rest_is_the_same(config: dict[str, Any]) -> None:
    records = whole(study_records(names=("cosine", "edm"), categories=("brick", "grass"), seeds=(0, 1)), config)
    alike = methods.document(built(records))
    assert "All other choices are the same." in alike
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
    text = methods.document(built(records))
    said = re.search("Also different are (.*); all other choices are the same", text.replace(r"\allowbreak{}", ""))
    assert said is not None and "All other choices" not in text
    assert said[1] == r"\texttt{scorer.levels} (by \emph{schedule}); \texttt{data.size} (by category)"


def test_nothing_is_called_the_same_where_a_run_has_no_config() -> None:
    records = study_records(names=("cosine", "edm"))
    records[0]["config"] = None
    assert "other choices" not in methods.document(built(records))


def test_captions_promise_no_more_than_is_drawn() -> None:
    pictures = ["comparison.pdf", "levels.pdf", "pareto.pdf"]
    for seeds in ((0,), (0, 1)):
        records = study_records(seeds=seeds)
        for record in records:
            row = {"log_snr": 1.0, "image_auroc": 0.9, "pixel_aupro_30": 0.8}
            record["levels"] = {name: [row] for name in record["categories"]}
        text = document.document(built(records), pictures, [], [])
        assert ("Small dots" in text) == ("intervals over seeds where" in text) == (len(seeds) > 1)
        assert "Not drawn" not in text
        text = document.document(built(records[1:]), pictures, [], [])
        assert ("Not drawn, since not comparable: cosine (without brick)." in text) == (len(seeds) == 1)
    for record in records:
        if record["choices"]["schedule"] == "edm":
            record["levels"] = {}
    text = document.document(built(records), pictures, [], [])
    assert "Not drawn, for want of figures by level (there are none where a single level is scored): edm." in text
