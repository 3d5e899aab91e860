"""Do the intervals and tests of `diffect report` keep what they promise? Simulated studies in which the truth is known.

    python experiments/statistics/simulate.py [studies=10000] [out=FOLDER]

Writes simulation.csv beside this file, and coverage.csv into the package, where the report looks small studies up;
with `out` both go there. Every figure comes out of the functions that the report calls. A study has figures like real
ones: what a category is worth, what a method gains on it (an interaction), a seed's split, training noise, and the
luck of the test images, of which most is the same for both methods. The true mean and the true difference are 0.
"""

import csv
import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from diffect.runs import paired_tests, statistics
from diffect.runs.coverage import TABLE
from diffect.runs.ranks import ranking
from diffect.runs.statistics import FEWEST_CATEGORIES, FIXED, RANDOM, random_mean
from diffect.storage.atomic import write_atomic

# Standard deviations, in units of AUROC: those of the study noise_schedules, the interaction that of detectors.
CATEGORY, INTERACTION, SPLIT, TRAINING = 0.15, 0.02, 0.02, 0.01
IMAGES = 0.055
SHARED, OWN, RUN = (IMAGES * share**0.5 for share in (0.6, 0.3, 0.1))  # of both methods, of one, of one run
REPLICATES = 200
COVERS, EXACT, NEAR = (0.93, 0.97), (0.0, 0.05), (0.04, 0.06)  # what is promised at 10 blocks or more
ENOUGH = 10
SMALL = [(FIXED, (3, seeds)) for seeds in range(2, ENOUGH)]
SMALL += [(RANDOM, (categories, 3)) for categories in range(FEWEST_CATEGORIES, ENOUGH)]
OTHERS = [(FIXED, shape) for shape in ((5, 3), (15, 3), (3, 10), (15, 10))]
OTHERS += [(RANDOM, shape) for shape in ((10, 3), (15, 3), (20, 3))]

Row = dict[str, Any]
Claim = tuple[float, float] | None


def figures(rng: np.random.Generator, estimand: str, shape: tuple[int, int], groups: int = 2, own: float = OWN) -> Any:
    """The figures (groups, C, S) of one study without any true effect; `own` is one method's luck with the images."""
    categories, seeds = shape
    worth = CATEGORY * rng.standard_normal((1, categories, 1))
    gain = INTERACTION * rng.standard_normal((groups, categories, 1))
    if estimand == FIXED:  # the claim is about these categories, so what they are worth on average is the truth
        worth, gain = (part - part.mean(axis=1, keepdims=True) for part in (worth, gain))
    split = SPLIT * rng.standard_normal((1, categories, seeds))
    luck = SHARED * rng.standard_normal((1, categories, 1)) + own * rng.standard_normal((groups, categories, 1))
    noise = np.hypot(TRAINING, RUN) * rng.standard_normal((groups, categories, seeds))
    return worth + gain + split + luck + noise


def bootstrap(rng: np.random.Generator, shape: tuple[int, int]) -> Any:
    """What resampling the test images moves, (2, C, S, REPLICATES): most of it both methods and all seeds alike."""
    categories, seeds = shape
    shared = SHARED * rng.standard_normal((1, categories, 1, REPLICATES))
    own = OWN * rng.standard_normal((2, categories, 1, REPLICATES))
    return shared + own + RUN * rng.standard_normal((2, categories, seeds, REPLICATES))


def cells(table: Any) -> dict[tuple[str, int], Any]:
    """A table (C, S, ...) by category and seed."""
    return {(f"{c:02d}", s): table[c, s] for c in range(table.shape[0]) for s in range(table.shape[1])}


def intervals(rng: np.random.Generator, estimand: str, shape: tuple[int, int], studies: int) -> tuple[float, float]:
    """The shares of 95% intervals of a mean, and of a difference, that hold the true 0."""
    names = [f"{c:02d}" for c in range(shape[0])]
    held = np.zeros(2)
    for _ in range(studies):
        values = [cells(table) for table in figures(rng, estimand, shape)]
        drawn = [cells(table) for table in bootstrap(rng, shape)] if estimand == FIXED else [{}, {}]
        mean = statistics.estimate_mean(estimand, values[0], drawn[0], names)
        both = statistics.paired((values[0], drawn[0]), (values[1], drawn[1]))
        difference = statistics.estimate_mean(estimand, *both, names)
        held += [abs(found.value) <= found.half for found in (mean, difference)]
    return float(held[0]) / studies, float(held[1]) / studies


def differences(
    rng: np.random.Generator, estimand: str, shape: tuple[int, int], studies: int, groups: int = 2, own: float = OWN
) -> Any:
    """The differences of each group from the first by block, (studies, groups - 1, B)."""
    names = [f"{c:02d}" for c in range(shape[0])]

    def study() -> list[list[float]]:
        first, *others = (cells(table) for table in figures(rng, estimand, shape, groups, own))
        pairs = (statistics.paired((other, {}), (first, {}))[0] for other in others)
        return [list(statistics.block_means(estimand, pair, names).values()) for pair in pairs]

    return np.array([study() for _ in range(studies)])


def p_values(test: Callable[[Any], Any], blocks: Any) -> Any:
    """The p of (studies, ..., B), a few studies at a time: all ways to flip the signs of many would not fit."""
    return np.concatenate([test(part) for part in np.array_split(blocks, max(1, len(blocks) // 100))])


def size(test: Callable[[Any], Any], blocks: Any) -> float:
    """The share of studies in which a test of (studies, B) rejects, at 0.05."""
    return float(np.mean(p_values(test, blocks) <= 0.05))


def friedman(rng: np.random.Generator, estimand: str, shape: tuple[int, int], studies: int) -> tuple[float, float]:
    """Of 5 groups that are alike: how often Friedman's test rejects, and how often any two are called different."""
    rejected = parted = 0
    for _ in range(studies):
        tables = figures(rng, estimand, shape, groups=5, own=0.0 if estimand == FIXED else OWN)
        names = [f"{c:02d}" for c in range(shape[0])]
        found = ranking(
            {str(g): statistics.block_means(estimand, cells(t), names) for g, t in enumerate(tables)}, "blocks"
        )
        rejected += found.p is not None and found.p <= 0.05
        parted += found.cliques != (tuple(range(5)),)
    return rejected / studies, parted / studies


def familywise(blocks: Any) -> float:
    """How often any of several true hypotheses is rejected after Holm's correction, of blocks (studies, tests, B)."""
    found = [min(paired_tests.holm(list(row), len(row))) for row in p_values(paired_tests.sign_flip, blocks)]
    return float(np.mean(np.array(found) <= 0.05))


def resampled(rng: np.random.Generator, shape: tuple[int, int], studies: int) -> float:
    """Coverage of the percentile bootstrap that draws categories, and seeds within them: not used, for this."""
    categories, seeds = shape
    held = 0
    for _ in range(studies):
        table = figures(rng, RANDOM, shape)
        gain = table[0] - table[1]
        rows = rng.integers(0, categories, (1000, categories, 1))
        means = gain[rows, rng.integers(0, seeds, (1000, categories, seeds))].mean(axis=(1, 2))
        low, high = np.quantile(means, (0.025, 0.975))
        held += low <= 0 <= high
    return held / studies


def bca(blocks: Any) -> float:
    """Coverage of the bootstrap that is corrected for bias and acceleration: not used, for this."""
    from scipy.stats import bootstrap

    parts = np.array_split(blocks, max(1, len(blocks) // 100))
    drawn = np.random.default_rng(0)
    found = [bootstrap((part,), np.mean, n_resamples=1000, axis=-1, method="BCa", rng=drawn) for part in parts]
    held = [(one.confidence_interval.low <= 0) & (one.confidence_interval.high >= 0) for one in found]
    return float(np.mean(np.concatenate(held)))


def rows(studies: int) -> Iterator[Row]:
    """The whole table; each size of study has random numbers of its own, so that one more changes no other."""

    def row(what: str, quantity: str, estimand: str, shape: tuple[int, int], share: float, claim: Claim) -> Row:
        error = (share * (1 - share) / studies) ** 0.5
        promise: tuple[Any, ...] = ("", "", "")
        if claim is not None:
            promise = (*claim, str(claim[0] - 3 * error <= share <= claim[1] + 3 * error).lower())
        line = (what, quantity, estimand, *shape, studies, round(share, 4), round(error, 4), *promise)
        return dict(zip(COLUMNS, line, strict=True))

    for estimand, shape in SMALL + OTHERS:
        blocks = shape[estimand == FIXED]
        enough = blocks >= ENOUGH
        rng = np.random.default_rng([estimand == FIXED, *shape])
        mean, difference = intervals(rng, estimand, shape, studies)
        yield row("interval of a mean", "coverage", estimand, shape, mean, COVERS if enough else None)
        yield row("interval of a difference", "coverage", estimand, shape, difference, COVERS if enough else None)
        held = differences(rng, estimand, shape, studies, own=0.0 if estimand == FIXED else OWN)[:, 0]
        yield row("permutation", "size", estimand, shape, size(paired_tests.sign_flip, held), EXACT)
        yield row("Wilcoxon", "size", estimand, shape, size(paired_tests.wilcoxon, held), EXACT)
        if enough:
            five = differences(rng, estimand, shape, studies, groups=5, own=0.0 if estimand == FIXED else OWN)
            yield row("permutation with Holm over 4 groups", "any rejected", estimand, shape, familywise(five), EXACT)
            both = friedman(rng, estimand, shape, studies)
            yield row("Friedman of 5 groups", "size", estimand, shape, both[0], NEAR)
            yield row("Nemenyi after Friedman of 5 groups", "any rejected", estimand, shape, both[1], (0.0, 0.06))
    yield from (row(*line, None) for line in refused(studies))


def refused(studies: int) -> Iterator[tuple[str, str, str, tuple[int, int], float]]:
    """What is not used, and why; and what skewed gains do to all that is used."""
    rng = np.random.default_rng(1)
    for shape in ((3, 2), (15, 3)):
        share = resampled(rng, shape, studies)
        yield "percentile bootstrap of categories and seeds", "coverage", RANDOM, shape, share
    for shape in ((10, 3), (15, 3)):
        share = bca(differences(rng, RANDOM, shape, studies)[:, 0])
        yield "BCa bootstrap of categories", "coverage", RANDOM, shape, share
    tables = np.array([figures(rng, RANDOM, (15, 3)) for _ in range(studies)])
    each = (tables[:, 0] - tables[:, 1]).reshape(studies, -1)
    yield "permutation of category x seed", "size", RANDOM, (15, 3), size(paired_tests.sign_flip, each)
    anew = differences(rng, FIXED, (3, 10), studies)[:, 0]
    yield "permutation of seeds claimed for other images", "size", FIXED, (3, 10), size(paired_tests.sign_flip, anew)
    for categories in (10, 15):
        gains = rng.standard_exponential((studies, categories)) - 1
        found = [random_mean(cells(row[:, None])) for row in gains]
        share = float(np.mean([one.half >= abs(one.value) for one in found]))
        yield "interval of a difference if gains are exponential", "coverage", RANDOM, (categories, 1), share
        share = size(paired_tests.sign_flip, gains)
        yield "permutation if gains are exponential", "size", RANDOM, (categories, 1), share


COLUMNS = ("what", "quantity", "estimand", "categories", "seeds", "studies", "share", "standard_error")
COLUMNS += ("promised_low", "promised_high", "kept")  # kept: within three standard errors
ACHIEVED = ("estimand", "blocks", "studies", "mean_coverage", "difference_coverage", "size")


def achieved(table: list[Row]) -> list[Row]:
    """The lines of SMALL as the report looks them up: what its intervals, and its declared test, achieve."""
    share = {(line["what"], line["estimand"], line["categories"], line["seeds"]): line["share"] for line in table}
    lines = []
    for estimand, shape in SMALL:
        mean, difference = (share[f"interval of a {what}", estimand, *shape] for what in ("mean", "difference"))
        # With fixed categories the declared p is at most 0.05 where the interval leaves zero out.
        tested = share["permutation", estimand, *shape] if estimand == RANDOM else round(1 - difference, 4)
        line = (estimand, shape[estimand == FIXED], table[0]["studies"], mean, difference, tested)
        lines.append(dict(zip(ACHIEVED, line, strict=True)))
    return lines


def main(arguments: list[str]) -> None:
    given = dict(argument.split("=", 1) for argument in arguments)
    table = list(rows(int(given.get("studies", 10_000))))
    places = [Path(__file__).with_name("simulation.csv"), TABLE]
    if "out" in given:
        places = [Path(given["out"]) / place.name for place in places]
    for place, lines in zip(places, (table, achieved(table)), strict=True):
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        write_atomic(place, buffer.getvalue())


if __name__ == "__main__":
    main(sys.argv[1:])
