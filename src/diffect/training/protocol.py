"""How each setting of a run was chosen, in words for its record."""

from omegaconf import DictConfig

from diffect.data.datamodule import DataModule
from diffect.detector.anomaly_map import AnomalyMap
from diffect.detector.module import DetectorModule
from diffect.runs.record import Protocol


def describe(cfg: DictConfig, detector: DetectorModule, data: DataModule, reference: str) -> Protocol:
    """The protocol of one run.

    Args:
        cfg: the config of the run.
        detector: trained and calibrated.
        data: with its splits.
        reference: the images that the components were scaled on.
    """
    has_selection = bool(data.splits["selection"])
    checkpoint = "the lowest loss on the selection normals at fixed noise"
    if detector.learner is None:
        checkpoint = "none to choose from: the denoiser was solved on the fit images"
    elif not has_selection:
        checkpoint = "the last step: too few images for a selection set"
    head = None
    if detector.predictor.head is not None:
        normals = "selection" if has_selection else "fit"
        head = f"trained on synthetic defects on the fit images, components standardised on the {normals} normals"
    return Protocol(
        checkpoint=checkpoint,
        component_scale=_component_scale(detector.predictor.anomaly_map, reference),
        threshold=_threshold(cfg.evaluation.conformal_rate, [one.threshold for one in detector.calibrations]),
        outline="of maps: the same of the highest pixels of the same images",
        settings="as the config gives them, fixed before the test set was read, the same for all categories",
        test_set="read once, after all of it" if data.splits["test"] else "none: there were no test images",
        head=head,
    )


def _threshold(rate: float, thresholds: list[float | None]) -> str:
    promise = f"a promised false-positive rate of {rate:g}"
    if all(threshold is None for threshold in thresholds):
        return f"none: too few calibration normals for {promise} (19 for 5%)"
    some = "; null where a category has too few of them (19 for 5%)" if None in thresholds else ""
    return f"held-out calibration normals for {promise}{some}"


def _component_scale(anomaly_map: AnomalyMap, reference: str) -> str:
    """How components were made comparable, and how the border was corrected before."""
    what = "the mean" if anomaly_map.calibration == "mean" else "the mean and standard deviation"
    width = anomaly_map.border.width
    border = (
        f", after components within {width} cells of the border were divided by how much larger they are there on "
        "normal images"
    )
    each = ", of each category by itself" if anomaly_map.groups > 1 else ""
    return f"{what} on {reference}{each}{border if width else ''}"
