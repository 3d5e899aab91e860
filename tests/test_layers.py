"""What starts, finds and reports runs never waits for torch.

Which package may import which is a contract in pyproject.toml, and `make lint` checks it. What an import really brings
along is seen in a fresh interpreter only.
"""

import pkgutil
import subprocess
import sys

import pytest

import diffect

HEAVY = ("torch", "pytorch_lightning", "torchmetrics", "diffusers", "wandb")
LIGHT = (
    "diffect.cli",
    "diffect.config",
    "diffect.data.audit",
    "diffect.data.sources",
    "diffect.data.splits",
    "diffect.data.store",
    "diffect.errors",
    "diffect.metrics.evaluation",
    "diffect.reports",
    "diffect.runs",
    "diffect.training.fingerprint",
    "diffect.tuning.candidates",
    "diffect.tuning.record",
    "diffect.tuning.selection",
)


def heavy_imports(modules: list[str], heavy: tuple[str, ...] = HEAVY) -> str:
    """Import the modules into one fresh interpreter: "light", or which is the first that brings what along."""
    code = f"""
import importlib, sys
for module in {modules!r}:
    importlib.import_module(module)
    heavy = [name for name in {heavy!r} if name in sys.modules]
    if heavy:
        sys.exit(f"{{module}} imports {{', '.join(heavy)}}")
print("light")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    return (done.stdout + done.stderr).strip()


def light_modules(name: str) -> list[str]:
    """The module `name`, and all modules in it where it is a package."""
    everything = {info.name for info in pkgutil.walk_packages(diffect.__path__, "diffect.", onerror=lambda _: None)}
    return [module for module in sorted(everything) if module == name or module.startswith(f"{name}.")]


@pytest.mark.slow
def test_what_starts_finds_and_reports_runs_does_not_import_torch() -> None:
    modules = {name: light_modules(name) for name in LIGHT}
    assert all(modules.values()), f"no such module: {[name for name, those in modules.items() if not those]}"
    assert heavy_imports([module for those in modules.values() for module in those]) == "light"


def test_the_sweeper_that_hydra_imports_at_every_start_is_light() -> None:
    assert heavy_imports(["hydra_plugins.diffect_study.sweeper"], (*HEAVY, "matplotlib", "scipy")) == "light"
