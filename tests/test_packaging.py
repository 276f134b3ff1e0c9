"""The package as pip and colcon see it: metadata that agree, and a wheel that has everything a robot looks for."""

import os
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from rvm_model.weights import BUNDLED

ROOT = Path(__file__).resolve().parents[1]
PACKAGE_FOLDERS = [ROOT / "rvm_model", ROOT / "rvm_ros", ROOT / "training" / "rvm_training"]
EXECUTABLES = {"feature_recorder", "perception_container", "perception_node", "video_player_node"}
MAX_LINES = 400
OFFLINE = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]


def pip(*arguments: str | Path) -> None:
    command = [sys.executable, "-m", "pip", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of what is packaged, because setuptools leaves build/ in the folder that it builds."""
    folder = tmp_path_factory.mktemp("source")
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("rvm_model", "rvm_ros", "training", "launch", "config", "resource", "scripts"):
        shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "package.xml", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", *OFFLINE, "--wheel-dir", folder, source)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def names(wheel) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def metadata(wheel) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


@pytest.fixture(scope="module")
def prefix(wheel, tmp_path_factory) -> Path:
    """A prefix that the wheel is installed into, as `pip install .` would install it."""
    folder = tmp_path_factory.mktemp("prefix")
    pip("install", *OFFLINE, "--ignore-installed", "--no-warn-script-location", "--prefix", folder, wheel)
    return folder


@pytest.fixture(scope="module")
def manifest() -> ElementTree.Element:
    return ElementTree.parse(ROOT / "package.xml").getroot()


def text(manifest: ElementTree.Element, tag: str) -> str:
    found = manifest.findtext(tag)
    assert found, tag
    return found


def test_package_xml_and_setup_py_say_the_same(manifest, metadata):
    assert text(manifest, "name") == metadata["Name"].replace("-", "_") == "rvm_ros"
    assert text(manifest, "version") == metadata["Version"]
    assert text(manifest, "license") == (metadata["License"] or metadata["License-Expression"]) == "Apache-2.0"
    assert (ROOT / "LICENSE").read_text(encoding="utf-8").split()[:4] == ["Apache", "License", "Version", "2.0,"]


def test_package_xml_is_an_ament_python_package_of_format_3(manifest):
    assert manifest.get("format") == "3"
    assert manifest.findtext("export/build_type") == "ament_python"


def test_package_xml_declares_every_message_package_that_the_nodes_import(manifest):
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "rvm_ros").rglob("*.py"))
    imported = set(re.findall(r"^\s*(?:from|import) (\w+_(?:msgs|srvs|interfaces)|rclpy|cv_bridge)\b", sources, re.M))
    declared = {element.text for element in manifest.iterfind("exec_depend")}
    assert "sensor_msgs" in imported
    assert imported <= declared


def test_constraints_meet_what_setup_py_asks_for(metadata):
    packaging = pytest.importorskip("packaging.requirements")
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    requirements = [packaging.Requirement(line) for line in metadata.get_all("Requires-Dist")]
    asked = {requirement.name: requirement.specifier for requirement in requirements}
    assert "torch" in pins
    for name, version in pins.items():
        assert version in asked[name], name


def test_wheel_has_every_module_of_the_three_packages(names):
    for folder in PACKAGE_FOLDERS:
        modules = {str(path.relative_to(folder.parent)) for path in folder.rglob("*.py")}
        assert f"{folder.name}/__init__.py" in modules
        assert modules | {f"{folder.name}/py.typed"} <= names


def test_wheel_has_the_bundled_weights_and_their_card(names):
    for path in BUNDLED.values():
        assert {f"rvm_model/weights/{path.name}", f"rvm_model/weights/{path.stem}.md"} <= names


def data_files(names: set[str]) -> set[str]:
    """What a wheel installs beside site-packages, relative to the prefix."""
    return {name.split(".data/data/")[1] for name in names if ".data/data/" in name}


def expected_data_files() -> set[str]:
    found = {f"share/rvm_ros/{path.relative_to(ROOT)}" for name in ("launch", "config") for path in files(ROOT / name)}
    found |= {f"lib/rvm_ros/{path.name}" for path in files(ROOT / "scripts")}
    return found | {"share/rvm_ros/package.xml", "share/ament_index/resource_index/packages/rvm_ros"}


def test_wheel_has_every_launch_and_configuration_file_and_nothing_of_the_tests(names):
    assert data_files(names) == expected_data_files()
    assert not [name for name in names if "test" in name]


def test_editable_wheel_has_the_data_files_too(source, tmp_path):
    program = "import sys; from setuptools.build_meta import build_editable; build_editable(sys.argv[1])"
    subprocess.run([sys.executable, "-c", program, tmp_path], cwd=source, check=True, capture_output=True, timeout=300)
    (path,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        assert data_files(set(archive.namelist())) == expected_data_files()
        assert "rvm_ros/perception_node.py" not in archive.namelist()


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


def test_wrappers_are_executable_and_call_main_of_the_module_they_are_named_after():
    wrappers = files(ROOT / "scripts")
    assert {wrapper.name for wrapper in wrappers} == EXECUTABLES
    for wrapper in wrappers:
        source = wrapper.read_text(encoding="utf-8")
        assert source.startswith("#!/usr/bin/env python3\n")
        assert f"from rvm_ros.{wrapper.name} import main\n" in source
        assert os.access(wrapper, os.X_OK)
        module = (ROOT / "rvm_ros" / f"{wrapper.name}.py").read_text(encoding="utf-8")
        assert re.search(r"^def main\(", module, re.M)


def test_ament_index_finds_package_and_executables_after_an_install(prefix, monkeypatch):
    index = pytest.importorskip("ament_index_python")
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(prefix))
    assert index.get_package_prefix("rvm_ros") == str(prefix)
    share = Path(index.get_package_share_directory("rvm_ros"))
    assert (share / "launch" / "perception.launch.py").is_file()
    assert (share / "config" / "fastdds_shm.xml").is_file()
    installed = list((prefix / "lib" / "rvm_ros").iterdir())
    assert {path.name for path in installed} == EXECUTABLES
    assert all(os.access(path, os.X_OK) for path in installed)


def test_installed_command_lists_its_subcommands(prefix):
    (packages,) = prefix.glob("lib/python*/site-packages")
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    run = subprocess.run(
        [sys.executable, prefix / "bin" / "rvm", "--help"], env=environment, capture_output=True, text=True, check=True
    )
    assert "weights" in run.stdout


@pytest.mark.parametrize("folder", PACKAGE_FOLDERS, ids=lambda folder: folder.name)
def test_no_source_file_is_too_long(folder):
    too_long = {
        str(path.relative_to(ROOT)): lines
        for path in folder.rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert not too_long
