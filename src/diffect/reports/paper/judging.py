"""How a run sees and judges an image, in words: representation, scorer, anomaly map, head."""

from diffect.reports.escaping import escape
from diffect.reports.paper.phrases import Config, counted, kind, listed, number, numbers, part, verbatim

_LITE = r"EfficientNet-Lite0~\cite{tan2019efficientnet}, pretrained on ImageNet~\cite{deng2009imagenet} and frozen"
_CLEAN = 10.0  # log-SNR from which on the nearest stored patch has next to all of the weight
_SCALINGS = {
    "scaled": "scaled to one variance",
    "standard": "each channel standardised",
    "whitened": "whitened",
}


def representation(config: Config) -> str:
    """What the detector works on."""
    node = part(config, "representation")
    match kind(node):
        case "Pixels":
            return "its pixels, each colour channel centred and scaled to unit variance"
        case "Features":
            cells = "by statistics shared by all grid cells"
            if node.get("statistics") == "cell":
                cells = "by statistics of each grid cell"
                if node.get("prior"):
                    cells += f" (which those of all cells join as {number(node['prior'])} images would)"
            level = "; its exposure is levelled first" if node.get("exposure") == "level" else ""
            if node.get("scaling") == "whitened" and node.get("shrinkage"):
                cells += f", covariance shrunk by {number(node['shrinkage'])}"
            scaling = _SCALINGS.get(str(node.get("scaling")), escape(str(node.get("scaling"))))
            return f"{_features(part(node, 'backbone'))}, on one grid, {scaling} {cells}{level}"
        case "":
            return ""
        case _:
            return verbatim(node)


def _features(node: Config) -> str:
    match kind(node):
        case "EfficientNetLite":
            blocks = node.get("blocks") or []
            which = f"block{'s' if len(blocks) > 1 else ''} {numbers(blocks)}"
            return f"the features of {which} of {_LITE}"
        case "Timm":
            name = rf"\texttt{{{escape(str(node.get('name')))}}}"
            return f"the features of levels {numbers(node.get('levels'))} of {name}, frozen"
        case _:
            return f"the features of {verbatim(node)}, frozen"


def scorer(config: Config) -> str:
    """What the components of the anomaly map are."""
    node = part(config, "scorer")
    levels = f"log-SNR {numbers(node.get('levels'))}" if node.get("levels") else ""
    match kind(node):
        case "DenoisingError":
            return _denoising(node, levels, kind(part(config, "denoiser")))
        case "Density":
            mahalanobis = ""
            if kind(part(config, "denoiser")) == "Gaussian":
                mahalanobis = r": the squared Mahalanobis distance~\cite{defard2021padim}"
            return f"the negative log-density at {levels}, less its log-determinant{mahalanobis}"
        case "Likelihood":
            low, high, steps = (number(node.get(key)) for key in ("low", "high", "steps"))
            integral = r"the I-MMSE integral~\cite{guo2005mmse,kong2023information}"
            return f"the negative log-likelihood, by {integral} over {steps} levels from log-SNR {low} to {high}"
        case "Inversion":
            span = f"from log-SNR {number(node.get('start'))} to {number(node.get('stop'))}"
            steps = rf"DDIM inversion~\cite{{song2021ddim,sakai2025inversion}} in {number(node.get('steps'))} steps"
            return f"{steps} {span}, by the {escape(str(node.get('judge')))} of its end point under pure noise"
        case "Reconstruction":
            span = (
                f"noised to log-SNR {number(node.get('start'))} and denoised in {number(node.get('steps'))} DDIM steps"
            )
            distance = str(node.get("distance"))
            cite = r"~\cite{wang2004ssim}" if distance == "ssim" else ""
            return rf"its reconstruction, {span}~\cite{{song2021ddim}}, compared by {escape(distance.upper())}{cite}"
        case "DiffusionTime":
            return _time(node, levels)
        case "":
            return ""
        case _:
            return verbatim(node)


def _denoising(node: Config, levels: str, denoiser: str) -> str:
    draws = int(node.get("draws") or 0)
    noised = f"averaged over {counted(draws, 'draw')} of noise" if draws else "no noise being added"
    metric = "squared"
    if node.get("metric") == "own":
        metric = "in the metric of the residuals' covariance on normal images"
    pyramid = ", each level of the pyramid by itself" if node.get("pyramid") == "separate" else ""
    nearest = ""
    if denoiser == "Empirical" and not draws and min(node.get("levels") or [0]) >= _CLEAN:
        nearest = r"; at so little noise the distance to the nearest stored patch~\cite{roth2022patchcore}"
    return f"the denoising error at {levels}, {noised}, {metric}{pyramid}{nearest}"


def _time(node: Config, levels: str) -> str:
    if node.get("criterion") == "hinge":
        adaptor = " behind a linear adaptor" if node.get("adaptor") else ""
        what = f"a discriminator of clean from noised patches{adaptor}, with a hinge loss, at {levels}"
        return rf"{what}, after SimpleNet~\cite{{liu2023simplenet}}"
    return rf"how noisy its patches look to a classifier of noise levels~\cite{{livernoche2024diffusion}} at {levels}"


def pooling(config: Config) -> str:
    """From components to a map and a score."""
    node = part(config, "anomaly_map")
    if kind(node) != "AnomalyMap":
        return verbatim(node) if node else ""
    combine = "the mean" if node.get("combine") == "mean" else "the maximum"
    score = "its maximum"
    if node.get("pool") == "top_mean":
        score = rf"the mean of its highest {number(round(100 * float(node.get('share') or 0), 6))}\% of pixels"
    blur = "not blurred"
    if node.get("blur"):
        blur = f"blurred (Gaussian, {number(node['blur'])} of the short side)"
    return (
        f"{combine} of the components on one scale, brought to the size of the image and {blur}; the image's score is"
        f" {score}"
    )


def head(config: Config) -> str:
    """What a head adds; empty without one."""
    node = part(config, "head")
    if not node:
        return ""
    kinds = node.get("kinds") or []
    defects = f"{listed([escape(str(one)) for one in kinds])} defects" if kinds else "defects of all kinds"
    return (
        rf"synthetic {defects} on the fit images~\cite{{zavrtanik2021draem}}, for {number(node.get('steps'))} steps;"
        f" its logit has {number(node.get('weight'))} of the weight of the map"
    )
