"""Who may import whom: the table of the house, held with `ast`, so that nothing has to be importable here."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "rvm_model": ROOT / "rvm_model",
    "rvm_ros": ROOT / "rvm_ros",
    "rvm_training": ROOT / "training" / "rvm_training",
}
ROS = {"ament_index_python", "builtin_interfaces", "cv_bridge", "rclpy"} | {
    f"{family}_msgs" for family in ("diagnostic", "lifecycle", "sensor", "std")
}
RUNTIMES = {"onnxruntime", "openvino", "tensorrt"}
ALLOWED = {
    "rvm_model": {
        "av",
        "cv2",
        "mcap",
        "rosbags",
        "filelock",
        "numpy",
        "onnx",
        "safetensors",
        "simplejpeg",
        "torch",
        "tqdm",
        "yaml",
        "zstandard",
    }
    | RUNTIMES,
    "rvm_ros": {"av", "cv2", "numpy", "rosbags", "rvm_model", "simplejpeg", "torch", "tqdm"}
    | {"rcl_interfaces", "std_srvs"}
    | ROS,
    "rvm_training": {
        "PIL",
        "lightning",
        "matplotlib",
        "pyarrow",
        "pycocotools",
        "pydantic",
        "scipy",
        "simplejpeg",
        "skimage",
        "torchcodec",
        "timm",
        "torchmetrics",
        "transformers",
        "yaml",
    }
    | {"av", "cv2", "fsspec", "numpy", "rosbags", "rvm_model", "safetensors", "torch", "tqdm"},
}


TYPE_CHECKERS_OWN = {"_typeshed"}  # imported under TYPE_CHECKING only, and nothing to install


def imported_modules(path: Path) -> Iterator[str]:
    """Full names of the modules that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; packages are imported by their full name"
            assert node.module is not None
            yield node.module


def sources(package: str) -> list[Path]:
    files = sorted(PACKAGES[package].rglob("*.py"))
    assert files, f"{package}: no sources at {PACKAGES[package]}"
    return files


def foreign_imports(package: str) -> dict[str, set[str]]:
    """Top-level modules that a package imports, outside the standard library and itself: in which files."""
    found: dict[str, set[str]] = {}
    for path in sources(package):
        for module in imported_modules(path):
            top = module.split(".")[0]
            if top not in {package} | sys.stdlib_module_names | TYPE_CHECKERS_OWN:
                found.setdefault(top, set()).add(str(path.relative_to(ROOT)))
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_package_imports_only_what_the_design_allows(package):
    forbidden = {module: files for module, files in foreign_imports(package).items() if module not in ALLOWED[package]}
    assert not forbidden


@pytest.mark.parametrize("runtime", sorted(RUNTIMES))
def test_inference_runtime_is_imported_in_one_file_at_most(runtime):
    assert len(foreign_imports("rvm_model").get(runtime, set())) <= 1


def test_heads_know_nothing_of_the_engines():
    engine_imports = {
        f"{path.name}: {module}"
        for path in sorted((PACKAGES["rvm_model"] / "heads").rglob("*.py"))
        for module in imported_modules(path)
        if module.startswith("rvm_model.engines")
    }
    assert not engine_imports


def test_network_knows_nothing_of_engines_and_heads():
    network = ["config", "layers", "position", "encoder", "core", "decoder", "masking", "rvm"]
    upward = {
        f"{name}: {module}"
        for name in network
        for module in imported_modules(PACKAGES["rvm_model"] / f"{name}.py")
        if module.startswith(("rvm_model.engines", "rvm_model.heads"))
    }
    assert not upward


def test_reader_of_imports_sees_those_inside_functions(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("import os.path\ndef f():\n    from rclpy.node import Node\n    import numpy as np\n")
    assert list(imported_modules(path)) == ["os.path", "rclpy.node", "numpy"]


def test_reader_of_imports_refuses_relative_ones(tmp_path):
    path = tmp_path / "module.py"
    path.write_text("from . import config\n")
    with pytest.raises(AssertionError, match="relative import"):
        list(imported_modules(path))
