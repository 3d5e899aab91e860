"""What a run learns, in words: its noise schedule, its loss weight, its denoiser, its training."""

from diffect.reports.escaping import escape
from diffect.reports.paper.closed import closed_form
from diffect.reports.paper.phrases import Config, kind, number, numbers, part, verbatim

_PREDICTIONS = {
    "v": r"predicts $v$~\cite{salimans2022progressive}",
    "eps": r"predicts the noise~\cite{ho2020ddpm}",
    "x0": "predicts the clean input",
}
_BETAS = {"beta_start": r"first $\beta$", "beta_end": r"last $\beta$"}


def learns(config: Config) -> bool:
    """Whether the denoiser is trained by denoising; the others are solved at once, or leave learning to the scorer."""
    return kind(part(config, "denoiser")) == "LearnedDenoiser"


def schedule(config: Config) -> str:
    """The family of the noise schedule."""
    return _family(part(config, "schedule")) if learns(config) else ""


def _family(node: Config) -> str:
    match kind(node):
        case "Linear":
            return r"$\beta$ linear in the step~\cite{ho2020ddpm}" + _given(node, _BETAS)
        case "ScaledLinear":
            return r"$\sqrt{\beta}$ linear in the step~\cite{rombach2022latent}" + _given(node, _BETAS)
        case "Cosine":
            return r"the cosine schedule~\cite{nichol2021improved}" + _given(node, {"s": "$s$"})
        case "Sigmoid":
            settings = _given(node, {"start": "start", "end": "end", "tau": r"$\tau$"})
            return r"the sigmoid schedule~\cite{jabri2023scalable,chen2023importance}" + settings
        case "Laplace":
            settings = _given(node, {"mu": r"$\mu$", "b": "$b$"})
            return r"log-SNR from a Laplace distribution~\cite{hang2024improved}" + settings
        case "EDM":
            settings = _given(node, {"p_mean": r"$P_\mathrm{mean}$", "p_std": r"$P_\mathrm{std}$"})
            return r"log-normal noise~\cite{karras2022edm}" + settings
        case "RectifiedFlow":
            return r"the straight paths of rectified flow~\cite{liu2023flow}"
        case "Shifted":
            sizes = _given(node, {"size": "side of the input", "base_size": "of the base"})
            return rf"{_family(part(node, 'base'))}, shifted to the input's size~\cite{{hoogeboom2023simple}}{sizes}"
        case "ZeroTerminalSNR":
            return rf"{_family(part(node, 'base'))}, rescaled to a terminal SNR of zero~\cite{{lin2024common}}"
        case _:
            return verbatim(node)


def _given(node: Config, names: dict[str, str]) -> str:
    """Those of a part's settings that the config gives, by their names in formulas."""
    settings = [f"{name} = {number(node[key])}" for key, name in names.items() if node.get(key) is not None]
    return f" ({', '.join(settings)})" if settings else ""


def end_points(config: Config) -> str:
    """Which log-SNRs training covers."""
    node = part(config, "schedule")
    if not learns(config) or "endpoints" not in node:
        return ""
    span = node.get("log_snr_range")
    low, high = span if isinstance(span, list | tuple) and len(span) == 2 else (None, None)
    match node["endpoints"]:
        case "matched":
            restricted = "time being restricted and rescaled so that log-SNR falls"
            return f"a common range, {restricted} from {number(high)} to {number(low)}"
        case "affine":
            return f"a common range, log-SNR being stretched onto {number(low)} to {number(high)}"
        case _:
            return r"its own range, infinite ends cut at $|\mbox{log-SNR}| = 20$"


def weight(config: Config) -> str:
    """The loss weight, on the eps error."""
    node = part(config, "weight")
    if not learns(config) or not node:
        return ""
    match kind(node):
        case "Eps":
            return r"$w = 1$, the plain noise loss~\cite{ho2020ddpm}"
        case "X0":
            return r"$w = 1/\mathrm{SNR}$, the plain loss on the clean input"
        case "V":
            return r"$w = 1/\alpha^2$, the plain $v$ loss~\cite{salimans2022progressive}"
        case "MinSNR":
            gamma = number(node.get("gamma"))
            return rf"$w = \min(\mathrm{{SNR}}, \gamma)/\mathrm{{SNR}}$ with $\gamma$ = {gamma}~\cite{{hang2023minsnr}}"
        case "Sigmoid":
            return rf"a sigmoid of log-SNR, bias {number(node.get('bias'))}~\cite{{kingma2023understanding}}"
        case "Matched":
            target = _family(part(node, "target"))
            return (
                "matched: density times weight is that of the following schedule with $w = 1$, whatever the schedule,"
                f" so that all schedules have one objective: {target}"
            )
        case _:
            return verbatim(node)


def denoiser(config: Config) -> str:
    """The denoiser, learned or in closed form."""
    node = part(config, "denoiser")
    match kind(node):
        case "LearnedDenoiser":
            guidance = node.get("guidance") or 0
            guided = rf", with classifier-free guidance {number(guidance)}~\cite{{ho2022guidance}}" if guidance else ""
            told = _PREDICTIONS.get(str(node.get("prediction")), f"predicts {escape(str(node.get('prediction')))}")
            return f"{_network(part(node, 'network'))}, which {told}{guided}"
        case "NoDenoiser":
            return "absent: the scorer learns by itself"
        case "":
            return ""
        case _:
            return closed_form(node)


def _network(node: Config) -> str:
    match kind(node):
        case "ConvNet":
            size = f"width {number(node.get('width'))}, expansion {number(node.get('expand'))}"
            blocks = rf"{number(node.get('depth'))} residual blocks~\cite{{liu2022convnet}}"
            if node.get("kernel") == 1:
                return f"a network of {blocks} that sees each grid cell by itself ({size})"
            return f"a convolutional network of {blocks} on the grid ({size}, kernel {number(node.get('kernel'))})"
        case "UNet":
            return rf"a U-Net~\cite{{ronneberger2015unet}} with attention (widths {numbers(node.get('widths'))})"
        case "DiT":
            size = f"patches of {number(node.get('patch'))}, width {number(node.get('width'))}"
            layers = f"{number(node.get('depth'))} layers of {number(node.get('heads'))} heads"
            return rf"a diffusion transformer~\cite{{peebles2023dit}} ({size}, {layers})"
        case _:
            return verbatim(node)


def training(config: Config) -> str:
    """Steps, batches, optimiser, averaging; empty where nothing is learned by steps."""
    node = part(config, "training")
    by_scorer = kind(part(config, "scorer")) == "DiffusionTime"
    if not node or not (learns(config) or by_scorer):
        return ""
    said = {key: number(value) for key, value in node.items()}
    batch = number(part(config, "data").get("batch_size"))
    trainer = part(config, "trainer")
    clip = trainer.get("gradient_clip_val")
    return (
        rf"{said.get('steps')} steps of {batch} images, by AdamW~\cite{{loshchilov2019adamw}} with learning rate"
        f" {said.get('learning_rate')} (linear warm-up over {said.get('warmup')} steps, then cosine decay to 0) and"
        f" weight decay {said.get('weight_decay')}"
        + (f", gradients clipped at norm {number(clip)}" if clip else "")
        + f", in {escape(str(trainer.get('precision')))} precision"
        + (
            f"; a moving average of the weights (decay {said.get('ema')}) is kept and scored with"
            if node.get("ema")
            else ""
        )
    )


def times(config: Config) -> str:
    """How training draws its noise levels."""
    return "uniformly, stratified over the batch" if learns(config) else ""
