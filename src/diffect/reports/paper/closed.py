"""The denoisers in closed form, in words: Gaussian, stored patches, one for each level of the pyramid."""

from diffect.reports.paper.phrases import Config, counted, kind, number, part, verbatim

_MOST = "10,000"  # patches that `Empirical` keeps where the config does not say how many
_KEPT = {
    "random": "drawn at random",
    "greedy": r"chosen by greedy $k$-center~\cite{gonzalez1985clustering} as in PatchCore~\cite{roth2022patchcore}",
}


def closed_form(node: Config) -> str:
    """A denoiser that is solved on the fit images at once."""
    match kind(node):
        case "Gaussian":
            return _gaussian(node)
        case "Empirical":
            return _empirical(node)
        case "PerScale":
            each = closed_form(part(node, "denoiser"))
            return f"one closed form for each level of the pyramid, the levels taken as independent: {each}"
        case _:
            return verbatim(node)


def _gaussian(node: Config) -> str:
    where = {"cell": "of each cell", "shared": "shared by all cells"}
    mean, covariance = (where.get(str(node.get(key)), "as set") for key in ("mean", "covariance"))
    shrunk = r"shrunk as far as suits the sample~\cite{chen2010shrinkage}"
    if node.get("shrinkage") != "oas":
        shrunk = f"shrunk by {number(node.get('shrinkage'))}"
    fit = f"mean {mean}, covariance {covariance}, {shrunk}"
    return rf"the exact optimum for Gaussian data, a Wiener filter ({fit}), as in PaDiM~\cite{{defard2021padim}}"


def _empirical(node: Config) -> str:
    near = ""
    if node.get("window") is not None:
        near = f" from at most {counted(int(node['window']), 'cell')} away"
    return f"the exact optimum for stored training patches, a weighted mean of those{near} ({_memory(node)})"


def _memory(node: Config) -> str:
    """How many of the training patches are stored, and which."""
    memory = node.get("memory")
    kept = _KEPT.get(str(node.get("keep")), "")
    whose = "each category" if node.get("conditional", True) else "all categories together"
    if memory is None:
        return f"all of {whose} or, where they are more, {_MOST} {kept}".rstrip()
    if isinstance(memory, float):
        count = rf"{number(round(100 * memory, 6))}\% of those"
    else:
        count = counted(memory, "patch", "patches")
    return f"{count} of {whose}" + (f", {kept}" if kept else "")
