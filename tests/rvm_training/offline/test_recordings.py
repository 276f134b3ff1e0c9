"""What inputs on the command line mean."""

import numpy as np
import pytest
from bags import raw, write

from rvm_training.offline.recordings import recordings


def test_bags_videos_folders_and_patterns_each_have_a_name(bag, video, tmp_path):
    bag("monday"), bag("tuesday")
    video("drive.mp4", 5)
    assert [each.name for each in recordings([str(tmp_path / "*day")])] == ["monday", "tuesday"]
    (part,) = (tmp_path / "monday").glob("*.mcap")
    assert [each.name for each in recordings([str(part)])] == ["monday"]
    assert [each.name for each in recordings([str(tmp_path)])] == ["drive", "monday", "tuesday"]


def test_images_of_a_folder_are_one_sequence_in_natural_order(tmp_path):
    import cv2

    for number in (10, 9, 1):
        cv2.imwrite(str(tmp_path / f"f{number}.png"), np.full((4, 6, 3), number, np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    for inputs in ([str(tmp_path)], [str(tmp_path / "*.png")], [str(tmp_path / f"f{n}.png") for n in (10, 1, 9)]):
        (found,) = recordings(inputs, rate_hz=10)
        assert (found.name, found.lengths()) == (tmp_path.name, {"camera": 3})
        arrivals = list(found)
        assert [int(each.decode()[0, 0, 0]) for each in arrivals] == [1, 9, 10]
        assert [each.stamp_ns for each in arrivals] == [10**9, 11 * 10**8, 12 * 10**8]


def test_inputs_of_one_name_are_told_apart_by_their_folders(tmp_path):
    for folder in ("a", "b"):
        write(tmp_path / folder / "run", {"/front": [raw(np.zeros((4, 6, 3), np.uint8), "rgb8")]})
    names = [each.name for each in recordings([str(tmp_path / "*" / "run")])]
    assert names == ["a_run", "b_run"]
    write(tmp_path / "c" / "a" / "run", {"/front": [raw(np.zeros((4, 6, 3), np.uint8), "rgb8")]})
    with pytest.raises(ValueError, match="which would all be called alike"):
        recordings([str(tmp_path / "a" / "run"), str(tmp_path / "c" / "a" / "run")])


def test_what_is_not_there_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing matches .*none"):
        recordings([str(tmp_path / "none")])
    (empty,) = recordings([str(tmp_path)])
    with pytest.raises(ValueError, match="a folder without bags, videos and images"):
        empty.lengths()
    with pytest.raises(ValueError, match="expected a topic of its own for each camera"):
        recordings([str(tmp_path)], cameras={"left": "/front", "right": "/front"})


def test_pictures_beside_bags_are_no_sequence(bag, tmp_path):
    bag("monday")
    (tmp_path / "map.png").write_bytes(b"a picture")
    assert [each.name for each in recordings([str(tmp_path)])] == ["monday"]


def test_chosen_cameras_count_alone(bag):
    (found,) = recordings([str(bag())], cameras={"left": "/front/image_raw"})
    assert found.lengths() == {"left": 12}
    assert {arrival.camera for arrival in found} == {"left"}
