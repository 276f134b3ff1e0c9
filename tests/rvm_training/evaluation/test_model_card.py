"""A model card says what the weights, the results and people say, and is not written by half."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from rvm_model.weights import BUNDLED, load_weights
from rvm_training.__main__ import main
from rvm_training.evaluation.model_card import CardNotes, model_card
from rvm_training.evaluation.models import ModelInfo
from rvm_training.evaluation.noise_square import LINEAR
from rvm_training.evaluation.result import Result

ROOT = Path(__file__).resolve().parents[3]
NOTES = CardNotes(**{field.name: f"About {field.name}." for field in dataclasses.fields(CardNotes)})


@pytest.fixture
def weights(tiny_model):
    return load_weights(tiny_model)


@pytest.fixture
def results(weights):
    def one(name, identity, iou):
        model = ModelInfo(name, "recurrent", identity, True, "fp32", "torch", 16)
        return Result("noise-square", model, "made", {}, {LINEAR: iou, "chance": 0.12})

    return [one("tiny", weights[1].identity, 0.5), one("pixels", "", 0.25)]


def test_a_card_says_what_was_measured_and_what_people_say(weights, results):
    card = model_card(*weights, NOTES, results)
    for field in dataclasses.fields(CardNotes):
        assert f"\n\nAbout {field.name}." in card
    assert "| **50.0** |" in card
    assert f"| {LINEAR} | 0.5 | 0.25 |" in card
    network, info = weights
    assert info.identity in card
    assert f"{sum(each.numel() for each in network.parameters()):,}" in card
    assert "Random weights" not in card
    assert "Random weights" in model_card(network, dataclasses.replace(info, trained=False), NOTES, results)


def test_results_of_other_settings_stand_apart(weights, results):
    def horizon(size, last):
        return dataclasses.replace(results[0], protocol="horizon", settings={"size": size}, metrics={"J&F@8": last})

    card = model_card(*weights, NOTES, [*results, horizon([240, 432], 0.5), horizon([120, 216], 0.25)])
    assert "horizon, on made, 240x432</summary>\n\n| | tiny |\n|---|---:|\n| J&F@8 | 0.5 |\n" in card
    assert "horizon, on made, 120x216</summary>\n\n| | tiny |\n|---|---:|\n| J&F@8 | 0.25 |\n" in card


def test_a_card_is_not_written_by_half(weights, results):
    with pytest.raises(ValueError, match="got notes without limits, expected every part"):
        model_card(*weights, dataclasses.replace(NOTES, limits=" "), results)
    with pytest.raises(ValueError, match="got no result of the weights sha256:"):
        model_card(*weights, NOTES, results[1:])


def test_the_template_becomes_a_card(tiny_model, results, tmp_path, capsys):
    assert main(["eval", "card", "--template"]) == 0
    template = capsys.readouterr().out
    assert "# Machine, hours, and energy where it is known." in template
    notes = {name: f"About {name}." for name in yaml.safe_load(template)}
    (tmp_path / "notes.yaml").write_text(yaml.safe_dump(notes))
    files = [str(result.save(tmp_path)) for result in results]
    out = tmp_path / "cards" / "tiny.md"
    words = [*files, "--model", tiny_model, "--notes", str(tmp_path / "notes.yaml")]
    assert main(["eval", "card", *words, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert out.read_text().startswith("# ")
    assert printed.strip() == str(out)
    assert main(["eval", "card", *words]) == 0
    assert capsys.readouterr().out == out.read_text()
    (tmp_path / "notes.yaml").write_text(template)
    assert main(["eval", "card", *words]) == 1
    assert "got notes without purpose, not_for" in capsys.readouterr().err


@pytest.mark.parametrize("notes", sorted((ROOT / "docs" / "model_cards").glob("*.yaml")), ids=lambda path: path.stem)
def test_cards_of_this_repository_hold_their_notes_as_they_stand(notes):
    bundled = BUNDLED.get(notes.stem)
    card = (bundled or notes).with_suffix(".md").read_text(encoding="utf-8")
    for name, text in yaml.safe_load(notes.read_text(encoding="utf-8")).items():
        assert text.strip() in card, name
