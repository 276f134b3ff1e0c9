"""`rvm features` and `rvm bag` as a user types them."""

import pytest

from rvm_training.__main__ import main


@pytest.fixture
def features(tiny_model, tmp_path):
    """Function running `rvm features` with the tiny network, returning its exit status."""
    own = ["--model", tiny_model, "--engine", "torch", "--size", "32x48", "--out", str(tmp_path / "out")]
    return lambda *words: main(["features", *map(str, words), *own])


def test_inputs_are_processed_and_bad_ones_told_at_the_end(features, bag, tmp_path, capsys):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    assert features(tmp_path / "broken.mp4", bag()) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "run: front 12, rear 6"
    assert told[1].startswith("18 frames in ")
    assert told[-2] == "1 inputs could not be processed:"
    assert f"{tmp_path / 'broken.mp4'}: cannot be opened" in told[-1]


def test_a_second_run_goes_on_only_if_asked(features, bag, capsys):
    path = bag()
    assert features(path) == 0
    assert features(path) == 1
    assert "is there; go on with --resume" in capsys.readouterr().err
    assert features(path, "--resume") == 0
    assert "left out, their results are there: 1" in capsys.readouterr().out


def test_processes_share_the_inputs(features, bag, tmp_path, monkeypatch, capsys):
    inputs = [bag(f"run_{index}") for index in range(3)]
    assert features(*inputs, "--shard", "1/2") == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["run_1"]
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert features(*inputs) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["run_0", "run_1", "run_2"]
    assert features(inputs[0], "--shard", "3/4") == 0
    assert "nothing to do for share 3/4" in capsys.readouterr().out


def test_cameras_are_chosen_by_topic(features, bag, capsys):
    assert features(bag(), "--camera", "left=/front/image_raw") == 0
    assert "run: left 12\n" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        features("x", "--camera", "front")
    assert "expected NAME=/TOPIC" in capsys.readouterr().err


def test_a_bag_is_listed_and_made_whole(bag, tmp_path, capsys):
    path = bag()
    assert main(["bag", "info", str(path)]) == 0
    told = capsys.readouterr().out
    assert "       12  /front/image_raw  sensor_msgs/msg/Image" in told
    assert "camera rear: /rear/image_raw/compressed" in told
    (part,) = path.glob("*.mcap")
    alone = tmp_path / "alone.mcap"
    alone.write_bytes(part.read_bytes()[:-50])
    part.write_bytes(part.read_bytes()[:-50])
    assert main(["bag", "info", str(path)]) == 1
    assert "`rvm bag repair" in capsys.readouterr().err
    for broken in (path, alone):
        assert main(["bag", "repair", str(broken)]) == 0
        assert "messages kept" in capsys.readouterr().out
        assert main(["bag", "info", str(broken)]) == 0
