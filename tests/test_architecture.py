"""The house stands: a file imports from lower floors only, and what reads logged runs never waits for torch.

The floors are read off the import statements, wherever in a file they stand; the picture in docs/architecture.md
names every module.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import diffect

PACKAGE = Path(diffect.__file__).parent
FLOORS = (  # from the ground up; what stands on one floor does not import each other
    {"schedules", "backbones", "metrics", "tracking", "runs", "sentences", "helping", "checkpoints"}
    | {"moments", "categories"},
    {"weights", "interop", "affine", "optimisation", "frame", "reports"},
    {"representations", "denoising", "data"},
    {"denoisers", "scorers", "anomaly_map", "head"},
    {"levels"},
    {"detector"},
    {"assembly", "crossfit", "fitting", "panel", "gallery", "account", "signing"},
    {"adaptation", "cleaning"},
    {"run", "explaining"},
    {"tuning"},
    {"commands"},
    {"launching"},
    {"__main__"},
)
ASIDE = {"runs": set(), "reports": {"runs"}}  # the way from logged runs to a paper
HEAVY = ("torch", "pytorch_lightning", "torchmetrics", "diffusers", "wandb")
LIGHT = (
    *(
        "diffect.__main__",
        "diffect.launching",
        "diffect.runs",
        "diffect.reports",
        "diffect.commands",
        "diffect.signing",
    ),
    *(f"diffect.tuning.{name}" for name in ("candidates", "choice", "told")),
    *(f"diffect.data.{name}" for name in ("mvtec", "textures", "audit", "download")),
)


def floor(unit: str) -> int:
    """The floor of a module or package that stands directly in diffect."""
    return next(number for number, units in enumerate(FLOORS) if unit in units)


def files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def unit_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import of diffect's own, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno} imports relatively"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.startswith("diffect."):
                yield node.lineno, name


def test_every_file_has_a_floor() -> None:
    placed = set().union(*FLOORS)
    assert {unit_of(path) for path in files()} == placed, "place the new module on a floor, here and in the docs"


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_file_imports_from_lower_floors_only(path: Path) -> None:
    own = unit_of(path)
    for line, name in imports(path):
        other = name.split(".")[1]
        if other in (own, "__version__"):
            continue
        place = f"{path.relative_to(PACKAGE.parent)}:{line}"
        assert floor(other) < floor(own), f"{place} imports {name}, which does not stand below {own}"
        if own in ASIDE:
            assert other in ASIDE[own], f"{place} imports {name}: {own} reads logged runs and nothing else"


def test_modules_of_one_package_import_each_other_in_one_direction() -> None:
    modules = {module_of(path): path for path in files()}
    edges = {
        module: {target for _, name in imports(path) for target in (name, name.rpartition(".")[0]) if target in modules}
        for module, path in modules.items()
    }
    done: set[str] = set()
    while remaining := {module: targets - done - {module} for module, targets in edges.items() if module not in done}:
        free = {module for module, targets in remaining.items() if not targets}
        assert free, f"these import each other in a circle: {sorted(remaining)}"
        done |= free


def test_the_picture_in_the_docs_names_every_unit() -> None:
    docs = Path(__file__).parents[1] / "docs" / "architecture.md"
    picture = docs.read_text(encoding="utf-8")
    missing = [
        name
        for name in sorted(set().union(*FLOORS))
        if (f"{name}/" if (PACKAGE / name).is_dir() else f"{name}.py") not in picture
    ]
    assert missing == []


def light_modules() -> list[str]:
    found = [module_of(path) for path in files()]
    return [module for module in found if any(module == one or module.startswith(f"{one}.") for one in LIGHT)]


def test_what_reads_and_starts_runs_does_not_import_torch() -> None:
    modules = light_modules()
    assert len(modules) > 15
    # Each is imported into the same fresh interpreter; the first that brings a heavy package along is named.
    code = f"""
import importlib, sys
for module in {modules!r}:
    importlib.import_module(module)
    heavy = [name for name in {HEAVY!r} if name in sys.modules]
    if heavy:
        sys.exit(f"{{module}} imports {{', '.join(heavy)}}")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_the_sweeper_that_hydra_imports_at_every_start_is_light() -> None:
    code = f"""
import sys
import hydra_plugins.diffect_study.sweeper
sys.exit(", ".join(name for name in {HEAVY!r} if name in sys.modules) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"the sweeper imports {done.stderr}"
