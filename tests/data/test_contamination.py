"""Defective training images: as many as asked, the same at every larger share, named in the record alone."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from configs import composed
from pictures import picture, save
from torch import Tensor

from diffect.data import features, store
from diffect.data.augmentation import KINDS
from diffect.data.datamodule import DataModule
from diffect.data.sample import Sample
from diffect.data.sources.mvtec import Folder
from diffect.training import fingerprint

pytestmark = pytest.mark.slow

Make = Callable[..., Path]
CONF = Path(__file__).parents[2] / "conf"
SPLITS = ("fit", "selection", "calibration")


@pytest.fixture
def module(make: Make, tmp_path: Path) -> Callable[..., DataModule]:
    """module(share, **settings): a DataModule on two categories of 20 training images, at 32 px."""
    root = make("a", "b", train=20)

    def build(share: float, **settings: Any) -> DataModule:
        given: dict[str, Any] = {"size": 32, "batch_size": 2, "cache": str(tmp_path / "cache")} | settings
        return DataModule(Folder(root), contamination=share, **given)

    return build


@pytest.fixture
def defective(tmp_path: Path) -> Path:
    """Six defective images for a category named a, in folders by kind, and four for any other."""
    root = tmp_path / "defective"
    for number in range(6):
        save(root / "a" / ("dent", "hole")[number % 2] / f"{number}.png", picture(700 + number))
    for number in range(4):
        save(root / "mixed" / f"{number}.png", picture(800 + number))
    return root


def means(image: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool2d(image.float(), 8)


def replaced(data: DataModule) -> dict[str, list[tuple[int, Sample]]]:
    """Of each split, the positions and samples of what was replaced."""
    data.setup()
    held = {name: [data.sample(*row) for row in data.splits[name]] for name in SPLITS}
    return {name: [(at, one) for at, one in enumerate(samples) if one.anomalous] for name, samples in held.items()}


def test_no_share_leaves_everything_as_it_is(module: Callable[..., DataModule]) -> None:
    data = module(0)
    assert replaced(data) == {"fit": [], "selection": [], "calibration": []} and len(data.parts) == 2
    summary = data.summary()
    assert "contamination" not in summary and not {"contaminated", "dropped_contaminated"} & set(
        summary["categories"]["a"]
    )


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.5])
def test_as_many_as_asked_of_each_category_wherever_they_were_cut_to(
    module: Callable[..., DataModule], share: float
) -> None:
    clean, data = module(0), module(share)
    found = replaced(data)
    clean.setup()
    for label, category in enumerate(data.categories):
        held = data.summary()["categories"][category]
        mine = [one for name in SPLITS for _, one in found[name] if one.category == category]
        assert len(mine) == sum(held["contaminated"].values()) == round(share * 20)
        assert [held[name] for name in SPLITS] == [clean.summary()["categories"][category][name] for name in SPLITS]
        assert {data.parts[part].label for part, _ in data.splits["fit"]} == {0, 1}
        assert len({one.name for one in mine}) == len(mine) and label < len(data.parts)
    assert data.splits["test"] == clean.splits["test"]
    summary = data.summary()
    assert summary["contamination"] == share and summary["contamination_from"] == "synthetic defects on the very images"


def test_an_image_replaced_at_one_share_is_replaced_at_every_larger_one(module: Callable[..., DataModule]) -> None:
    shares = [0.05, 0.1, 0.2, 0.35, 0.5]
    found = [
        {(name, at, one) for name, some in replaced(module(share)).items() for at, one in some} for share in shares
    ]
    assert all(few < many for few, many in pairwise(found))
    assert replaced(module(0.2, seed=1)) != replaced(module(0.2))
    assert {name for name, some in replaced(module(0.5)).items() if some} == set(SPLITS)


@pytest.mark.parametrize("split", ["fit", "selection"])
def test_a_replaced_image_is_the_normal_one_with_a_defect_that_no_batch_shows(
    module: Callable[..., DataModule], split: Any
) -> None:
    clean, data = module(0), module(0.5)
    found = replaced(data)[split]
    for one in (clean, data):
        one.attach("", means)
    for at, sample in found:
        was = clean.sample(*clean.splits[split][at])
        assert (sample.name, sample.path, sample.split) == (was.name, was.path, "train")
    changed = set()
    both = zip(clean.normal_dataloader(split), data.normal_dataloader(split), strict=True)
    for start, (before, after) in enumerate(both):
        known = ("label", "valid", "mask", "anomalous", "has_mask")
        assert all(torch.equal(before[name], after[name]) for name in known)
        differs = (before["image"] != after["image"]).flatten(1).any(1)
        changed |= {start * data.eval_batch_size + int(place) for place in differs.nonzero()}
        assert torch.equal(after["raw"], means(after["image"]))
    assert changed == {at for at, _ in found} and changed


def test_the_test_set_is_untouched(module: Callable[..., DataModule]) -> None:
    clean, data = module(0), module(0.5)
    for one in (clean, data):
        one.attach("", means)
    for a, b in zip(clean.test_dataloader(), data.test_dataloader(), strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_all_shares_have_one_store_and_its_features_in_common(
    module: Callable[..., DataModule], monkeypatch: pytest.MonkeyPatch
) -> None:
    module(0.05).attach("means", means)
    monkeypatch.setattr(store, "npy_writer", None)  # calling it now fails
    monkeypatch.setattr(features, "_extract", None)
    data = module(0.5)
    data.attach("means", means)
    assert not callable(data.parts[-1].raw)
    batch = next(iter(data.fit_dataloader()))
    assert torch.equal(batch["raw"], means(batch["image"]))


def test_which_images_and_which_copies_is_the_same_in_another_process(
    module: Callable[..., DataModule], tmp_path: Path
) -> None:
    copies = {"augment": list(KINDS), "augment_copies": 2}
    data = module(0.2, **copies)
    here = {name: [(at, one.name, one.defect) for at, one in some] for name, some in replaced(data).items()}
    keys = [int(data.parts[part].store.keys[row]) for part, row in data.splits["fit"]]
    code = f"""
import json
from diffect.data.datamodule import DataModule
from diffect.data.sources.mvtec import Folder
root, cache = {str(tmp_path / "set")!r}, {str(tmp_path / "new")!r}
data = DataModule(Folder(root), size=32, batch_size=2, contamination=0.2, cache=cache, **{copies!r})
data.setup()
held = {{name: [(at, data.sample(*row)) for at, row in enumerate(data.splits[name])] for name in {SPLITS!r}}}
defects = {{name: [(at, one.name, one.defect) for at, one in some if one.anomalous] for name, some in held.items()}}
print(json.dumps([defects, [int(data.parts[part].store.keys[row]) for part, row in data.splits["fit"]]]))
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(ran) == json.loads(json.dumps([here, keys]))


def test_further_defects_can_be_drawn_on_defective_images(module: Callable[..., DataModule]) -> None:
    data = module(0.5)
    data.attach("means", means)
    originals = [image for batch in data.fit_dataloader() for image in batch["image"]]
    place = 0
    for batch in data.synthetic("fit", copies=2):
        for image, mask in zip(batch["image"], batch["mask"], strict=True):
            changed = (image != originals[place // 2]).any(0)
            assert changed.any() and not (changed & ~mask).any()
            place += 1
    assert place == 2 * len(originals)


def test_dropped_images_are_counted_as_normal_or_defective(module: Callable[..., DataModule]) -> None:
    data = module(0.5, category="a")
    before = data.summary()["categories"]["a"]["contaminated"]["fit"]
    at = [position for position, _ in replaced(data)["fit"]]
    clean = next(position for position in range(len(data.splits["fit"])) if position not in at)
    data.drop("fit", [at[0], clean])
    summary = data.summary()["categories"]["a"]
    assert summary["contaminated"]["fit"] == before - 1
    assert summary["dropped"] == {"fit": 2} and summary["dropped_contaminated"] == {"fit": 1}


# From a folder


def test_images_of_a_folder_take_the_places_of_the_same_images(
    module: Callable[..., DataModule], defective: Path
) -> None:
    data = module(0.2, category="a", contamination_from=str(defective))
    found = replaced(data)
    assert sum(map(len, found.values())) == 4
    assert {one.defect for some in found.values() for _, one in some} <= {"dent", "hole"}
    places = {name: [at for at, _ in some] for name, some in found.items()}
    assert places == {name: [at for at, _ in some] for name, some in replaced(module(0.2, category="a")).items()}
    assert data.summary()["contamination_from"] == str(defective)
    more = replaced(module(0.3, category="a", contamination_from=str(defective)))
    assert all({*found[name]} <= {*more[name]} for name in SPLITS)
    other = module(0.2, category="b", contamination_from=str(defective / "mixed"))
    assert {one.defect for some in replaced(other).values() for _, one in some} == {"defective"}


def test_what_the_folder_holds_has_a_fingerprint_of_its_own(module: Callable[..., DataModule], defective: Path) -> None:
    def named(share: float, folder: Path | str = defective) -> dict[str, str]:
        return module(share, category="a", contamination_from=str(folder)).fingerprints()

    before, clean = named(0.1), module(0, category="a").fingerprints()
    assert named(0) == named(0.1, "test") == clean
    assert before["fingerprint"] == clean["fingerprint"]  # tested on the same images
    save(defective / "a/hole/9.png", picture(9))
    assert (
        named(0.1)["contamination_fingerprint"] != before["contamination_fingerprint"]
        and named(0.1).keys() == before.keys()
    )


def test_a_data_set_gives_its_test_images_for_it_but_not_those_that_are_tested(
    module: Callable[..., DataModule], make: Make, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    save(other / "a/test/hole/0.png", picture(901))
    save(other / "a/test/good/1.png", picture(902))
    found = replaced(module(0.05, category="a", contamination_from=str(other)))
    assert [one.name for some in found.values() for _, one in some] == ["a/test/hole/0.png"]
    with pytest.raises(ValueError, match=r"holds 3 images that are also in the test set of a, first a/test/hole/000"):
        module(0.05, category="a", contamination_from=str(tmp_path / "set")).setup()


# From the test set


def test_half_of_the_tests_defects_are_held_out_and_trained_on(module: Callable[..., DataModule]) -> None:
    clean = module(0, category="a")
    clean.setup()
    before, shares = {clean.sample(*row) for row in clean.splits["test"]}, (0, 0.05)
    kinds = Counter(one.defect for one in before if one.anomalous)
    assert kinds == {"hole": 3}
    for share in shares:
        data = module(share, category="a", contamination_from="test")
        found = replaced(data)
        data.attach("", means)
        chosen = {one for some in found.values() for _, one in some}
        tested = {data.sample(*row) for row in data.splits["test"]}
        assert len(chosen) == sum(map(len, found.values())) == round(share * 20)
        assert chosen <= before - tested and tested < before
        assert {one for one in before if not one.anomalous} <= tested
        held = Counter(one.defect for one in before - tested)
        assert held == {kind: number // 2 for kind, number in kinds.items()}
        summary = data.summary()
        assert summary["contamination_from"] == (
            "up to half of the test defects of each kind, held out of the test set in whole groups"
        )
        assert summary["categories"]["a"]["defects"] == Counter(one.defect for one in tested)
        assert summary["categories"]["a"]["masks"] == sum(one.load_mask is not None for one in tested) == 2
        assert sum(summary["categories"]["a"].get("contaminated", {}).values()) == len(chosen)
        seen = [
            batch["anomalous"].any() or batch["mask"].any()
            for name in SPLITS
            for batch in data._rows_loader(data.splits[name])
        ]
        assert not any(seen)
        assert sum(int(batch["anomalous"].sum()) for batch in data.test_dataloader()) == sum(kinds.values()) - 1


def test_notes_are_of_the_images_that_are_tested(make: Make, tmp_path: Path) -> None:
    root = make("bare", train=20, defective=4)
    for path in sorted((root / "bare/ground_truth/hole").iterdir()):
        path.unlink()
    for share in (None, "test"):
        data = DataModule(Folder(root), size=32, batch_size=2, cache=str(tmp_path / "cache"), contamination_from=share)
        summary = data.summary()["categories"]["bare"]
        left = 4 if share is None else 2
        assert summary["notes"] == [f"{left} defective images without a mask: image metrics only"]


def test_the_same_test_defects_are_held_out_at_every_share_and_others_by_another_seed(
    make: Make, tmp_path: Path
) -> None:
    root = make("many", train=20, defective=12)

    def built(share: float, seed: int = 0) -> DataModule:
        cache = str(tmp_path / "cache")
        data = DataModule(
            Folder(root), size=32, batch_size=2, cache=cache, contamination=share, contamination_from="test", seed=seed
        )
        data.setup()
        return data

    some = [built(share) for share in (0, 0.1, 0.3)]
    assert some[0].splits["test"] == some[1].splits["test"] == some[2].splits["test"]
    names = [{one.name for held in replaced(data).values() for _, one in held} for data in some]
    assert names[0] < names[1] < names[2] and len(names[2]) == 6
    assert built(0, seed=1).splits["test"] != some[0].splits["test"]
    with pytest.raises(ValueError, match=r"replaces 7 of the 20 .* data\.contamination_from=test holds 6 for it"):
        built(0.35)


def test_no_split_shares_a_group_of_test_samples_with_another_or_with_the_test(make: Make, tmp_path: Path) -> None:
    root = make("many", train=20, good=12, defective=12)
    for kind in ("good", "hole"):
        for number, path in enumerate(sorted((root / "many/test" / kind).iterdir())):
            mask = root / "many/ground_truth" / kind / f"{path.stem}_mask.png"
            for one in filter(Path.is_file, (path, mask)):
                one.rename(one.with_name(f"p{number % 6}_{one.name}"))
    for path in (root / "many/train/good").iterdir():
        path.rename(path.with_name(f"t{path.stem}_{path.name}"))
    cache = str(tmp_path / "cache")
    for seed in range(4):
        data = DataModule(
            Folder(root),
            size=32,
            cache=cache,
            groups="^([pt][0-9]+)_",
            contamination=0.15,
            contamination_from="test",
            seed=seed,
        )
        found = replaced(data)
        assert sum(map(len, found.values())) == 3
        groups = [{data.sample(*row).group for row in data.splits[name]} for name in (*SPLITS, "test")]
        assert sum(map(len, groups)) == len(set().union(*groups)) and len(groups[3]) == 3
        assert len(data.splits["test"]) == 12


@pytest.mark.parametrize("share", [-0.1, 0.51, True, float("nan")])
def test_a_share_out_of_range_is_refused(module: Callable[..., DataModule], share: float) -> None:
    with pytest.raises(ValueError, match=rf"DataModule\.contamination is {share}; it must be a number from 0 to 0\.5"):
        module(share).setup()


@pytest.mark.parametrize(
    ("share", "shots", "said"),
    [
        (
            0.1,
            2,
            r"0\.1 rounds to 0 of the 2 training images of a; it must be 0, or more than 0\.25",
        ),
        (0.02, 20, r"0\.02 rounds to 0 of the 20 .* of a; .* more than 0\.025"),
        (0.5, 1, r"0\.5 rounds to 0 of the 1 training images of a; it must be 0$"),
    ],
)
@pytest.mark.parametrize("folder", [None, "test"])
def test_a_share_of_less_than_an_image_is_refused(
    module: Callable[..., DataModule], share: float, shots: int, said: str, folder: str | None
) -> None:
    with pytest.raises(ValueError, match=rf"data\.contamination={said}"):
        module(share, shots=shots, contamination_from=folder).setup()
    if shots == 2:
        assert sum(map(len, replaced(module(0.26, shots=2, category="a")).values())) == 1


def test_what_cannot_be_had_is_said_in_one_sentence(module: Callable[..., DataModule], defective: Path) -> None:
    with pytest.raises(ValueError, match=r"replaces 10 of the 20 normal images of a .* holds 6 for it"):
        module(0.5, contamination_from=str(defective)).setup()
    with pytest.raises(ValueError, match=r"replaces 7 of the 20 normal images of b .* holds 4 for it"):
        module(0.35, category="b", contamination_from=str(defective)).setup()
    with pytest.raises(ValueError, match=r"data\.contamination_from=nowhere is not a folder"):
        module(0.1, contamination_from="nowhere").setup()


def test_sixteen_bit_images_are_scaled_as_the_training_images_are(
    module: Callable[..., DataModule], make: Make, tmp_path: Path
) -> None:
    from PIL import Image

    root, brought = tmp_path / "deep", tmp_path / "brought"
    for folder, level in ((root / "c/train/good", 4000), (root / "c/test/good", 4000), (brought, 200)):
        folder.mkdir(parents=True)
        for number in range(10):
            pixels = np.full((40, 40), level - number, np.uint16)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    dirty: dict[str, Any] = {"contamination": 0.2, "contamination_from": str(brought)}
    data = DataModule(Folder(root), size=32, batch_size=2, cache=str(tmp_path / "cache"), groups="none", **dirty)
    data.setup()
    assert data.parts[1].store.arrays.max() == round(200 * 255 / 4095)


def test_the_content_of_a_folder_of_defects_names_the_run_and_not_its_place(defective: Path, tmp_path: Path) -> None:
    def named(folder: Path | str, share: float = 0.1) -> str:
        given = [f"data.contamination={share}", f"data.contamination_from={folder}", "data.category=brick"]
        return fingerprint.of(composed("train", *given))

    before = named(defective)
    moved = defective.rename(tmp_path / "moved")
    assert named(moved) == before != named("test")
    save(moved / "new.png", picture(5))
    assert named(moved) != before and named(moved, 0.2) != named(moved)
