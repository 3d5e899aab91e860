"""A study as its readers see it: ranked groups of runs, their means and differences, and the tables of them."""

from dataclasses import dataclass

from diffect.reports.cells import Table
from diffect.reports.comparison import Comparison
from diffect.runs.grid import Group
from diffect.runs.ranks import Ranking, Stability
from diffect.runs.record import GAINS
from diffect.runs.statistics import Estimate
from diffect.runs.table import LeftOut, Run

# The columns of the summary, and what the field quotes as its reference for three of them.
COLUMNS = (
    *("image_auroc", "image_tpr_at_5fpr", "pixel_auroc", "pixel_aupro_30", "pixel_peak_hit"),
    *GAINS.values(),
    *("conformal_fpr", "conformal_tpr", "latency_ms"),
)
BY_CATEGORY = COLUMNS[:-1]  # an image takes as long whatever it shows
RANKED = COLUMNS[0]
REFERENCE = {"image_auroc": 0.94, "image_tpr_at_5fpr": 0.89, "latency_ms": 100.0}

Estimates = dict[str, tuple[Estimate, ...]]  # by metric, in the order of the groups
Ties = dict[str, tuple[bool, ...]]  # likewise


@dataclass(frozen=True)
class Study:
    """All that a report is made of; `groups` are in order of their mean image AUROC, and what is by group follows them.

    `ranking` and `stability` are of the image AUROC too, and have an order of their own. `tied` are those that the
    best of a column does not differ from, `holes` the combinations of choices that no run has, and `warned` the data
    audit's warnings by category.
    """

    name: str
    axes: tuple[str, ...]
    runs: tuple[Run, ...]
    groups: tuple[Group, ...]
    estimates: Estimates
    by_category: dict[str, Estimates]
    tied: Ties
    tied_by_category: dict[str, Ties]
    holes: tuple[tuple[str, ...], ...]
    warned: dict[str, tuple[str, ...]]
    comparison: Comparison | None
    left_out: tuple[LeftOut, ...]
    estimand: str
    ranking: Ranking
    stability: Stability
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()

    def label(self, group: Group) -> str:
        return group.label or self.name
