"""Augmented copies: what each kind does, where copies stand, of which image they are, and what they depend on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import picture, save
from torch import Tensor

from diffect.data import features, store
from diffect.data.augmentation import DEGREES, KINDS, SHARE, ZOOM, _applied, _draw_move, _exact_moves, _moved
from diffect.data.datamodule import DataModule
from diffect.data.sources.mvtec import Folder

Make = Callable[..., Path]


@pytest.fixture
def module(make: Make, tmp_path: Path) -> Callable[..., DataModule]:
    """module(kinds, copies, **settings): a DataModule on two categories of 20 training images, at 32 px."""
    root = make("a", "b", train=20)

    def build(kinds: Any = (), copies: int = 0, **settings: Any) -> DataModule:
        given: dict[str, Any] = {"size": 32, "batch_size": 2, "cache": str(tmp_path / "cache")} | settings
        return DataModule(Folder(given.pop("root", root)), augment=kinds, augment_copies=copies, **given)

    return build


def means(image: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool2d(image.float(), 8)


def fitted(data: DataModule) -> list[dict[str, Tensor]]:
    """All items of the fit set, one by one."""
    data.attach("means", means)
    return [
        {name: values[i] for name, values in batch.items()}
        for batch in data.fit_dataloader()
        for i in range(len(batch["label"]))
    ]


# Kinds


def moved(kind: str, seed: int, image: np.ndarray) -> np.ndarray:
    return _moved(image, np.zeros(image.shape[:2], np.uint8), [kind], np.random.default_rng(seed))[0]


@pytest.mark.parametrize("shape", [(40, 40), (31, 40)])
@pytest.mark.parametrize(
    ("kinds", "count"),
    [
        (["mirror"], 1),
        (["flip"], 1),
        (["mirror", "flip"], 3),
        (["quarter"], 3),
        (["mirror", "quarter"], 7),
        (["flip", "quarter"], 7),
        (["mirror", "flip", "quarter"], 7),
    ],
)
def test_exact_kinds_move_pixels_and_change_none(shape: tuple[int, int], kinds: list[str], count: int) -> None:
    image = picture(3, *shape)
    blank, moves = np.zeros(shape, np.uint8), _exact_moves(kinds)
    found = [_applied(image, blank, move)[0] for move in moves]
    group = [np.rot90(one, turns) for one in (image, image[:, ::-1]) for turns in range(4)]
    where = [[np.array_equal(one, other) for other in group] for one in found]
    assert all(row.count(True) == 1 for row in where)
    assert len({row.index(True) for row in where} - {0}) == len(moves) == count
    one_kind = {"mirror": [image[:, ::-1]], "flip": [image[::-1]], "quarter": group[1:4]}
    if len(kinds) == 1:
        assert all(any(np.array_equal(a, b) for b in one_kind[kinds[0]]) for a in found)


def test_kinds_that_change_pixels_are_drawn() -> None:
    assert all(_exact_moves(["mirror", kind]) == [] for kind in ("turn", "shift", "zoom")) and _exact_moves([]) == []


def test_a_shift_is_of_whole_pixels_with_the_mirror_at_the_border() -> None:
    image, found = picture(4, 50, 100), set()
    padded = np.pad(image, ((2, 2), (4, 4), (0, 0)), mode="reflect")
    for seed in range(200):
        out = moved("shift", seed, image)
        fits = [
            (down, across)
            for down in range(-2, 3)
            for across in range(-4, 5)
            if np.array_equal(out, padded[2 + down : 52 + down, 4 + across : 104 + across])
        ]
        assert len(fits) == 1
        found.add(fits[0])
    assert (0, 0) not in found and {abs(down) for down, _ in found} == {0, 1, 2}
    assert max(abs(across) for _, across in found) == 4 == SHARE * 100


def test_turn_and_zoom_stay_within_their_bounds() -> None:
    turns, zooms = [], []
    for seed in range(300):
        turn, _, _ = _draw_move((40, 40), ["turn"], np.random.default_rng(seed))
        zoom, _, _ = _draw_move((40, 40), ["zoom"], np.random.default_rng(seed))
        turns.append(np.degrees(np.arctan2(turn[1, 0], turn[0, 0])))
        assert np.allclose(turn @ turn.T, np.eye(2)) and zoom[0, 1] == zoom[1, 0] == 0 and zoom[0, 0] == zoom[1, 1]
        zooms.append(1 / zoom[0, 0])
    assert -DEGREES <= min(turns) < -14 and 14 < max(turns) <= DEGREES
    assert 1 / ZOOM <= min(zooms) < 0.92 and 1.09 < max(zooms) <= ZOOM


def test_a_zoom_grows_what_is_in_the_middle() -> None:
    image = np.zeros((81, 81, 3), np.uint8)
    image[20:61, 20:61] = 200
    for seed in range(10):
        matrix, _, _ = _draw_move((81, 81), ["zoom"], np.random.default_rng(seed))
        width = (moved("zoom", seed, image)[40, :, 0] > 100).sum()
        assert abs(width - 41 / matrix[0, 0]) <= 1


def test_masks_move_as_their_images_do() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[10:30, 5:40] = 255
    for seed in range(20):
        turned, mask = _moved(image, image[..., 0] // 255, KINDS, np.random.default_rng(seed))
        assert ((turned[..., 0] > 127) != mask).mean() < 0.01


# Copies in the fit set


def test_copies_join_the_fit_set_and_no_other(module: Callable[..., DataModule]) -> None:
    plain, data = module(), module(["mirror", "turn"], 3)
    plain.setup()
    items = fitted(data)
    real = plain.splits["fit"]
    assert data.splits["fit"][: len(real)] == real and len(items) == 4 * len(real)
    assert all(data.splits[name] == plain.splits[name] for name in ("selection", "calibration", "test"))
    told = data.summary()
    assert told["augment"] == ["mirror", "turn"] and "augment" not in plain.summary()
    for category, counts in told["categories"].items():
        assert counts.pop("copies") == 3 * counts["fit"]
        assert counts == plain.summary()["categories"][category]
    for at, item in enumerate(items):
        assert torch.equal(item["raw"], means(item["image"][None])[0]) and not item["anomalous"]
        origin = data.origins("fit")[at]
        assert origin == (at if at < len(real) else (at - len(real)) // 3)
        assert item["label"] == items[origin]["label"]
        assert at == origin or not torch.equal(item["image"], items[origin]["image"])


def test_a_copy_bears_the_name_of_its_image_and_its_number(module: Callable[..., DataModule]) -> None:
    data = module(["mirror", "flip"], 2)
    data.setup()
    count = len(data.splits["fit"]) // 3
    names = [data.sample(*row).name for row in data.splits["fit"]]
    assert names[count:] == [f"{name}#{copy}" for name in names[:count] for copy in (1, 2)]


def test_training_batches_hold_copies_and_stay_balanced(module: Callable[..., DataModule]) -> None:
    data = module(["shift"], 1, batch_size=4, batches_per_epoch=40)
    keys = {int(item["key"]) for item in fitted(data)}
    seen: set[int] = set()
    for batch in data.train_dataloader():
        assert batch["label"].sum() == 2
        seen |= set(batch["key"].tolist())
    assert seen == keys


def test_one_image_becomes_several(module: Callable[..., DataModule]) -> None:
    data = module(["turn", "shift", "zoom"], 7, category="a", shots=1, batch_size=8)
    items = fitted(data)
    assert len({int(item["key"]) for item in items}) == 8 and data.origins("fit") == [0] * 8
    counts = data.summary()["categories"]["a"]
    assert (counts["fit"], counts["copies"]) == (1, 7)


@pytest.mark.parametrize(("kinds", "copies"), [(["mirror", "flip"], 3), (["quarter"], 3), (["flip", "quarter"], 7)])
def test_copies_of_an_image_differ_from_it_and_from_each_other(
    module: Callable[..., DataModule], kinds: list[str], copies: int
) -> None:
    data = module(kinds, copies, category="a")
    items = fitted(data)
    origins = data.origins("fit")
    for origin in set(origins):
        made = {int(item["key"]) for item, of in zip(items, origins, strict=True) if of == origin}
        assert len(made) == 1 + copies
    few = fitted(module(kinds, 1, category="a"))  # the first of these copies, whatever their number
    real = len(few) // 2
    assert [int(one["key"]) for one in few[real:]] == [int(one["key"]) for one in items[real::copies]]
    orders = [int(item["key"]) for item in fitted(module(kinds, copies, category="a", seed=1))]
    assert orders != [int(item["key"]) for item in items]


def test_a_copy_depends_on_seed_image_and_number_alone(module: Callable[..., DataModule]) -> None:
    def copies(count: int, **settings: Any) -> dict[tuple[int, int], Tensor]:
        """By the key of the image, and the copy's number."""
        data = module(["turn", "mirror"], count, **settings)
        items = fitted(data)
        real = len(items) // (1 + count)
        number = {at: (at - real) % count for at in range(real, len(items))}
        return {(int(items[data.origins("fit")[at]]["key"]), n): items[at]["image"] for at, n in number.items()}

    many = copies(3)
    for few in (copies(1), copies(3, shots=10), copies(2, category="b")):
        assert few and all(torch.equal(image, many[at]) for at, image in few.items() if at in many)
        assert set(few) & set(many)
    assert not torch.equal(*(next(iter(copies(1, category="a", seed=seed, shots=20).values())) for seed in (0, 1)))
    ordered = [fitted(module(kinds, 1, category="a")) for kinds in (["turn", "mirror"], ["mirror", "turn", "turn"])]
    assert all(torch.equal(a["image"], b["image"]) for a, b in zip(*ordered, strict=True))


def test_copies_and_their_features_are_kept(module: Callable[..., DataModule], monkeypatch: pytest.MonkeyPatch) -> None:
    before = fitted(module(["zoom"], 2))
    monkeypatch.setattr(store, "npy_writer", None)  # calling it now fails
    monkeypatch.setattr(features, "_extract", None)
    after = fitted(module(["zoom"], 2))
    assert all(torch.equal(a[name], b[name]) for a, b in zip(before, after, strict=True) for name in a)


def test_padding_is_the_mirror_of_the_copy_and_a_quarter_turns_the_box(
    module: Callable[..., DataModule], make: Make
) -> None:
    root = make("a", train=8)
    for number in range(2):  # upright images among the squares
        save(root / f"a/train/good/9{number}.png", picture(number, 40, 20))
    items = fitted(module(["quarter"], 3, root=root, selection=0, category="a"))
    boxes = [(int(one["valid"].any(1).sum()), int(one["valid"].any(0).sum())) for one in items]
    assert {(32, 32), (32, 16), (16, 32)} == set(boxes)
    for item, box in zip(items, boxes, strict=True):
        if box == (16, 32):
            assert item["valid"][8:24].all()
            assert torch.equal(item["image"][:, :8], item["image"][:, 8:16].flip(1))


def test_dropping_an_image_drops_its_copies(module: Callable[..., DataModule]) -> None:
    data = module(["mirror", "flip"], 2, category="a")
    before = fitted(data)
    real = len(before) // 3
    data.drop("fit", [1, real])  # image 1, and by its first copy image 0
    after = fitted(data)
    assert len(after) == 3 * (real - 2)
    assert data.origins("fit")[: real - 2] == list(range(real - 2))
    assert torch.equal(after[0]["image"], before[2]["image"])
    counts = data.summary()["categories"]["a"]
    assert (counts["fit"], counts["copies"], counts["dropped"]) == (real - 2, 2 * (real - 2), {"fit": 2})


def test_copies_of_defective_images_are_defective_and_no_batch_shows_it(module: Callable[..., DataModule]) -> None:
    data = module(["mirror"], 1, contamination=0.5, category="a")
    plain = module(contamination=0.5, category="a")
    items = fitted(data)
    real = len(items) // 2
    for at in range(real, len(items)):
        assert torch.equal(items[at]["image"], items[data.origins("fit")[at]]["image"].flip(-1))
        assert not items[at]["mask"].any() and not items[at]["anomalous"]
    dirty = [data.sample(*row).anomalous for row in data.splits["fit"]]
    assert dirty[:real] == dirty[real:] and any(dirty)
    assert data.summary()["categories"]["a"]["contaminated"] == plain.summary()["categories"]["a"]["contaminated"]


# Fresh copies


def test_fresh_copies_are_of_the_real_images_and_others_than_those_trained_on(
    module: Callable[..., DataModule],
) -> None:
    data = module(["turn"], 2)
    items = fitted(data)
    real = len(items) // 3
    for copies in (1, 2):
        fresh = [image for batch in data.augmented("fit", ["turn"], copies, seed=0) for image in batch["image"]]
        assert len(fresh) == copies * real
        trained = {int(item["key"]) for item in items}
        keys = [int(key) for batch in data.augmented("fit", ["turn"], copies, seed=0) for key in batch["key"]]
        assert not trained & set(keys)
    some = [int(key) for batch in data.augmented("fit", ["turn"], 2, 0, [1, 0]) for key in batch["key"]]
    assert some == keys[2:4] + keys[:2]
    assert sum(len(batch["key"]) for batch in data.augmented("selection", ["turn"], 2)) == 2 * len(
        data.splits["selection"]
    )
    plain = module()
    fitted(plain)
    for a, b in zip(plain.augmented("fit", "turn", 2, seed=0), data.augmented("fit", ["turn"], 2, seed=0), strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)


# What cannot be had


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kinds": ["twist"], "copies": 1}, r"data\.augment names twist, which is not known; allowed: mirror, flip"),
        ({"kinds": ["turn"], "copies": -1}, r"augment_copies is -1; it must be a whole number, 0 or more"),
        ({"kinds": ["turn"], "copies": 1.5}, r"augment_copies is 1\.5; it must be a whole number"),
        (
            {"kinds": ["mirror"], "copies": 7},
            r"data\.augment_copies=7 is not allowed: mirror makes 1 different copy of an",
        ),
        (
            {"kinds": ["flip", "mirror"], "copies": 4},
            r"mirror and flip make 3 different copies .* set at most 3, or add",
        ),
        ({"kinds": "quarter", "copies": 4}, r"quarter makes 3 different"),
        ({"kinds": ["mirror", "quarter"], "copies": 8}, r"mirror and quarter make 7 different copies"),
        ({"kinds": [], "copies": 2}, r"data\.augment_copies=2 asks for copies, but data\.augment names nothing"),
    ],
)
def test_what_cannot_be_made_is_said_in_one_sentence(
    module: Callable[..., DataModule], settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        module(**settings).setup()


def test_a_quarter_needs_a_square_canvas(module: Callable[..., DataModule], make: Make) -> None:
    root = make("long")
    for number in range(10):
        save(root / f"long/train/good/{number:03d}.png", picture(number, 40, 110))
    said = r"data\.augment names quarter, which needs a square canvas, and it is 32 x 96: leave quarter out, or set"
    with pytest.raises(ValueError, match=said):
        module(["quarter", "turn"], 1, category="long").setup()
    data = module(category="long")
    data.attach("", means)
    with pytest.raises(ValueError, match=said):
        data.augmented("fit", ["quarter"], 1, seed=0)
    module(["quarter"], 1, category="long", max_aspect=1).setup()
