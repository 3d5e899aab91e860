"""What the order of the groups is worth: their ranks over the blocks, and the first place with other seeds."""

from diffect.reports.notes import joined
from diffect.runs.estimands import BLOCK, BLOCKS, RANDOM
from diffect.runs.ranks import LEVEL, Ranking
from diffect.runs.stability import Stability

_FEW = 10  # seeds below which a resample of them is called firmer than it is


def lines(ranking: Ranking, stability: Stability, estimand: str) -> list[str]:
    """One sentence on each, or why there is none."""
    return [_ranks(ranking, estimand), _first(stability)]


def _ranks(found: Ranking, estimand: str) -> str:
    if found.reason is not None or found.p is None or found.critical_difference is None:
        return f"no critical difference of ranks: {found.reason}."
    scope = "" if estimand == RANDOM else ", on these test images"
    text = (
        f"ranks by image AUROC within each {BLOCK[estimand]}, averaged over {found.blocks} {BLOCKS[estimand]}{scope}:"
        f" Friedman's chi2 = {found.statistic:.2f}, p {_p(found.p)} (Iman and Davenport)"
    )
    if found.p > LEVEL:
        return f"{text}: the groups are not shown to differ."
    cliques = "; ".join(joined([found.groups[place] for place in clique]) for clique in found.cliques)
    apart = f"not told apart: {cliques}" if cliques else "any two are told apart"
    return f"{text}; critical difference {found.critical_difference:.2f} (Nemenyi, {LEVEL}), {apart}."


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _first(found: Stability) -> str:
    if found.reason is not None:
        return f"whether other seeds would change the first place cannot be said: {found.reason}."
    order = sorted(range(len(found.groups)), key=lambda place: -found.shares[place])
    shares = [
        f"{joined([found.groups[place]])} in {found.shares[place]:.0%}"
        for place in order
        if found.shares[place] >= 0.005
    ]
    firm = "; so few seeds look firmer than they are" if found.seeds < _FEW else ""
    return (
        f"first by image AUROC when the {found.seeds} seeds are drawn again ({found.resamples:,} times, the same for"
        f" all): {', '.join(shares)}{firm}."
    )
