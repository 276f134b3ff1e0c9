"""Configurations are strict, converted, and come back as written."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from rvm_training import configuration
from rvm_training.data.layouts import LAYOUTS
from rvm_training.pretraining.config import TrainConfig

CONFIGS = sorted((Path(__file__).resolve().parents[2] / "training" / "configs").glob("*.yaml"))


@dataclass(frozen=True)
class Inner:
    """A section."""

    rate: float = 0.1
    """How fast,
    in units."""
    pair: tuple[int, int] = (1, 2)
    """Two of them."""


@dataclass(frozen=True)
class Outer:
    """A configuration."""

    name: str = "x"
    """What it is called."""
    where: Path | None = None
    """A place."""
    inner: Inner = field(default_factory=Inner)
    """The section."""

    def __post_init__(self) -> None:
        if self.name == "bad":
            raise ValueError("name: got 'bad', expected a better one")


def test_words_win_over_the_file_and_the_file_over_defaults(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("name: file\ninner:\n  rate: 3e-4\n")
    config = configuration.load(Outer, path, ["inner.pair=[5, 6]", "name=word", "name=last"])
    assert config == Outer("last", None, Inner(3e-4, (5, 6)))


def test_numbers_that_yaml_takes_for_text_are_numbers():
    assert yaml.safe_load("3e-4") == "3e-4"
    assert configuration.load(Outer, None, ["inner.rate=3e-4"]).inner.rate == 3e-4


def test_paths_come_as_paths():
    assert configuration.load(Outer, None, ["where=/a/b"]).where == Path("/a/b")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["inner.rat=1"], r"unknown key inner\.rat; did you mean rate\?"),
        (["zzz=1"], "unknown key zzz; expected one of name, where, inner"),
        (["inner.rate=fast"], r"inner\.rate: got 'fast', input should be a valid number"),
        (["inner.pair=[1]"], r"inner\.pair"),
        (["inner=3"], "inner: got 3"),
        (["name=bad"], "name: got 'bad', expected a better one"),
        (["name"], r"got 'name', expected key=value"),
        (["name.x=1"], "name: got {'x': 1}"),
        (["inner.rate=[1"], "is not YAML"),
    ],
)
def test_mistakes_are_told(words, message):
    with pytest.raises(ValueError, match=message):
        configuration.load(Outer, None, words)


def test_missing_file_and_malformed_yaml_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file at"):
        configuration.load(Outer, tmp_path / "no.yaml")
    (tmp_path / "c.yaml").write_text("a: [1")
    with pytest.raises(ValueError, match="not YAML"):
        configuration.load(Outer, tmp_path / "c.yaml")
    for text in ("- 1", "[]"):
        (tmp_path / "c.yaml").write_text(text)
        with pytest.raises(ValueError, match="got list at the top"):
            configuration.load(Outer, tmp_path / "c.yaml")
    (tmp_path / "c.yaml").write_text("inner: {rate: 1}\nname: y\ninner: {pair: [1, 2]}\n")
    with pytest.raises(ValueError, match="key 'inner' stands twice"):
        configuration.load(Outer, tmp_path / "c.yaml")
    (tmp_path / "c.yaml").write_text("# Nothing but defaults.\n")
    assert configuration.load(Outer, tmp_path / "c.yaml") == Outer()


def test_a_saved_configuration_comes_back(tmp_path):
    config = Outer("y", Path("p"), Inner(0.5, (3, 4)))
    configuration.save(config, tmp_path / "c.yaml")
    assert configuration.load(Outer, tmp_path / "c.yaml") == config


def test_the_commented_form_has_every_field_with_its_meaning_and_loads(tmp_path):
    text = configuration.commented(Outer())
    assert "  # How fast, in units.\n  rate: 0.1\n" in text
    assert "where: null" in text
    (tmp_path / "c.yaml").write_text(text)
    assert configuration.load(Outer, tmp_path / "c.yaml") == Outer()


def test_every_field_of_a_run_has_a_description(tmp_path):
    def check(config):
        docs = configuration.field_docs(type(config))
        for name in config.__dataclass_fields__:
            assert docs.get(name), f"{type(config).__name__}.{name}"
            value = getattr(config, name)
            if hasattr(value, "__dataclass_fields__"):
                check(value)

    config = TrainConfig()
    check(config)
    (tmp_path / "c.yaml").write_text(configuration.commented(config))
    assert configuration.load(TrainConfig, tmp_path / "c.yaml") == config


def test_differences_name_the_fields():
    assert configuration.differences(Outer(), Outer("y", None, Inner(rate=2.0))) == {
        "name": ("x", "y"), "inner.rate": (0.1, 2.0),
    }  # fmt: skip


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_mixtures_are_shares_of_sources_that_manifests_name(path):
    if (mixture := configuration.load(TrainConfig, path).data.mixture) is not None:
        assert sum(mixture.values()) == pytest.approx(1)
        assert mixture.keys() <= {layout.source for layout in LAYOUTS.values()}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_shipped_configurations_load(path):
    config = configuration.load(TrainConfig, path)
    assert config.name == path.stem
