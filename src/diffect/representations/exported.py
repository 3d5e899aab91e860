"""A backbone from a `torch.export` program file, which is checked for code before it is loaded."""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffect.config.check import checked
from diffect.config.description import enumerated
from diffect.config.types import File
from diffect.errors import first_line
from diffect.representations.backbones import Backbone


@checked
class Exported(Backbone):
    """Any backbone as a `torch.export` program file: images (B, 3, H, W) in [0, 1] to one feature map or several.

    torch's loader unpickles, evaluates and executes parts of such a file, so only a graph of built-in operators and
    plain tensors is loaded (`_refuse_code`).

    Args:
        path: the .pt2 file; export it with a dynamic batch and the height and width of the data's canvas.
    """

    def __init__(self, path: File[str]) -> None:
        file = Path(path).expanduser()
        if not file.is_file():
            raise ValueError(f"backbone.path is {path}: there is no such file; write one with torch.export.save")
        content = file.read_bytes()
        try:
            _refuse_code(content)
            program = torch.export.load(io.BytesIO(content))
        except Exception as error:
            raise ValueError(
                f"backbone.path is {path}: not a program that is safe to load ({first_line(error)})"
            ) from error
        self.identity = f"exported:{hashlib.sha256(content).hexdigest()[:16]}"
        # The guards are Python source that would be executed; shapes are checked without them.
        self.net = program.module(check_guards=False)
        nodes = {node.name: node for node in program.graph.nodes}
        outputs = [nodes[name].meta.get("val") for name in program.graph_signature.user_outputs if name in nodes]
        self.channels = [m.shape[1] for m in _feature_maps(outputs)]

    def describe(self) -> str:
        return f"an exported backbone of {len(self.channels)} feature maps with {enumerated(self.channels)} channels"

    def maps(self, images: Tensor) -> list[Tensor]:
        try:
            out = self.net(images)
        except (AssertionError, RuntimeError) as error:
            raise ValueError(
                f"the exported backbone refuses images of shape {tuple(images.shape)}: {first_line(error)}; "
                "export it with a dynamic batch dimension and this height and width"
            ) from error
        return _feature_maps(out)


def _feature_maps(out: Any) -> list[Tensor]:
    maps = list(out) if isinstance(out, tuple | list) else [out]
    if not maps or any(not isinstance(m, Tensor) or m.ndim != 4 for m in maps):
        raise ValueError("the exported backbone must return feature maps of shape (B, C, h, w)")
    return maps


# What a program file may hold: members of the archive, then strings of the graph by their key.
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
    from torch.export.pt2_archive import PT2ArchiveReader  # slow to import: only if it is needed

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
            raise ValueError(f"its graph holds the {key} {text[:80]!r}, which is not allowed")


def _strings(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every string in a JSON document with its key; metadata is left out."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name != "metadata":
                yield from _strings(value, name)
    elif isinstance(node, list):
        for value in node:
            yield from _strings(value, key)
    elif isinstance(node, str):
        yield key, node
