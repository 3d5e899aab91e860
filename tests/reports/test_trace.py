"""A printed figure leads to its runs: those, their values to the last digit, and the sum that makes the figure."""

import re
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from records import lay, make, run_of, study_records

from diffect.cli import launch, report
from diffect.reports import build, study, trace


def built(records: list[dict[str, Any]], **options: str) -> study.Study:
    return build.build_study("demo", [run_of(Path("outputs") / r["signature"], r) for r in records], **options)


def values(text: str) -> list[float]:
    """The values of the runs that are used, in the table's order."""
    return [float(found[1]) for found in re.finditer(r"^\w+ +\d+ +(\S+) .* yes ", text, re.M)]


def test_a_mean_is_made_of_the_values_shown() -> None:
    records = study_records(categories=("brick", "grass"), seeds=(0, 1, 2))
    found = built(records)
    text = trace.trace_figure(found, "image_auroc,cosine")
    shown = values(text)
    chosen = {r["signature"]: r["metrics"] for r in records if r["choices"]["schedule"] == "cosine"}
    assert sorted(shown) == sorted(next(iter(metrics.values()))["image_auroc"] for metrics in chosen.values())
    assert all(f"outputs/{signature}" in text for signature in chosen)
    place = [group.label for group in found.groups].index("cosine")
    estimate = found.estimates["image_auroc"][place]
    assert f"{estimate.value!r} = the mean over 2 categories (brick, grass) of the mean over 3 seeds (0, 1, 2)" in text
    assert estimate.value == pytest.approx(sum(shown) / 6, abs=1e-15)
    assert f"in the tables: {estimate.value:.3f} ± {estimate.half:.3f}" in text
    squares = re.findall(r"\(([\d.]+) x ([\d.e-]+)\)\^2", text)
    assert [factor for factor, _ in squares] == ["4.303", "1.96"]
    assert estimate.half == pytest.approx(sum((float(a) * float(b)) ** 2 for a, b in squares) ** 0.5, rel=1e-3)


def test_one_category_and_a_group_by_its_choices() -> None:
    found = built(study_records())
    text = trace.trace_figure(found, "pixel_aupro_30, schedule=edm, grass")
    assert text == trace.trace_figure(found, "pixel_aupro_30,edm,grass")
    assert len(values(text)) == 2 and "of edm on grass" in text
    place = [group.label for group in found.groups].index("edm")
    assert repr(found.by_category["grass"]["pixel_aupro_30"][place].value) in text


def test_a_label_with_commas_and_a_study_of_one_group() -> None:
    records = [*study_records(("cosine", "linear"), seeds=(0,)), *study_records(("cosine", "linear"), seeds=(0,))]
    for place, record in enumerate(records):
        record["choices"]["denoiser"] = "conv" if place < 6 else "dit"
        record["signature"] = f"{place:012x}"
    found = built(records)
    for wanted in ("image_auroc,dit, linear", "image_auroc,denoiser=dit,schedule=linear"):
        assert len(values(trace.trace_figure(found, wanted))) == 3
    assert len(values(trace.trace_figure(found, "image_auroc,dit, linear,brick"))) == 1
    assert len(values(trace.trace_figure(built(study_records(("cosine",))), "image_auroc,demo,brick"))) == 2


def test_what_is_not_used_is_shown_as_such() -> None:
    records = study_records(("cosine", "linear"))
    records[0]["metrics"]["brick"]["image_auroc"] = None
    text = trace.trace_figure(built(records), "image_auroc,cosine")
    assert len(values(text)) == 3 and len(re.findall(r" no +[0-9a-f]{12}", text)) == 3
    assert "of the mean over 1 seed (1) in each" in text
    assert "not used: seed 0, without a value on brick; a mean uses only seeds that have every category" in text
    text = trace.trace_figure(built(records), "image_ap,cosine")
    assert "in no printed table" in text


def test_random_categories_have_their_own_interval() -> None:
    records = study_records(("cosine", "linear"), categories=tuple("abcdef"))
    text = trace.trace_figure(built(records, estimand="random"), "image_auroc,cosine")
    assert "estimand=random" in text and "from categories (Student's t)" in text


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("image_aurok,cosine", r"no metric 'image_aurok'; did you mean image_auroc\? There are: image_auroc; "),
        ("image_auroc,cosin", r"no single group called 'cosin'; did you mean cosine\? There are: "),
        ("image_auroc,cosin,brick", r"no single group called 'cosin'; did you mean cosine\?"),
        ("image_auroc,cosine,brik", r"no category 'brik'; did you mean brick\? There are: brick; grass; gravel"),
        ("", r"no metric ''"),
    ],
)
def test_what_the_study_does_not_have_is_a_sentence(wanted: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=rf"^trace={wanted}: there is {sentence}"):
        trace.trace_figure(built(study_records()), wanted)


def test_a_metric_alone_lacks_its_group() -> None:
    says = r"^trace=image_auroc: GROUP is missing \(trace=METRIC,GROUP or .*\)\. There are: cosine; "
    with pytest.raises(ValueError, match=says):
        trace.trace_figure(built(study_records()), "image_auroc")


def test_a_trace_is_printed_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lay(tmp_path / "outputs" / "demo", [make()])
    config = {"experiment": "demo", "out": str(tmp_path / "out"), "outputs": str(tmp_path / "outputs")}
    report.run(OmegaConf.create({**config, "trace": "image_auroc,demo"}))
    assert repr(make()["metrics"]["brick"]["image_auroc"]) in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "value",
    ["image_auroc,cosine", 'a="b"', "it's, 'so'", "schedule=cosine,seed=1", '{"state": "finished"}', "a b/c,d", "x,\\"],
)
def test_the_command_line_takes_texts_as_they_stand(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(report, "run", lambda cfg: seen.append((cfg.trace, cfg.source)))
    launch.launch("report", ["experiment=demo", f"trace={value}", "source=wandb:team/lab"])
    assert seen == [(value, "wandb:team/lab")]
