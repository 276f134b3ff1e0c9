"""What the demo writes down."""

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from rvm_ros.demo import recording


def test_followed_objects_are_scored_where_they_are_to_be_seen_beside_the_mask_that_stays():
    marked = np.zeros((4, 8), np.uint8)
    marked[:, :2], marked[:, 7:] = 1, 2
    first, second = marked.copy(), np.zeros((4, 8), np.uint8)
    second[:, 2:4] = 1  # Object 1 has moved away from its mask, object 2 out of the image.
    found = second.copy()
    found[2:] = 0  # Half of it is found.
    result = recording.followed_iou([first, found], [first, second], marked)
    assert result["object 1"] == {"iou": 0.75, "iou_in_the_last_frame": 0.5, "iou_of_the_marked_mask_kept": 0.5}
    assert result["object 2"] == {"iou": 1.0, "iou_in_the_last_frame": 1.0, "iou_of_the_marked_mask_kept": 1.0}


def test_an_object_that_is_never_seen_again_is_not_scored():
    marked, gone = np.eye(4, dtype=np.uint8), np.zeros((4, 4), np.uint8)
    assert recording.followed_iou([gone], [gone], marked) == {}


@pytest.mark.parametrize(
    ("count", "wanted", "expected"), [(0, 3, []), (1, 3, [0]), (3, 5, [0, 1, 2]), (9, 3, [0, 4, 8])]
)
def test_frames_are_picked_evenly_with_first_and_last(count, wanted, expected):
    assert recording.evenly(count, wanted) == expected


def test_pictures_of_any_size_stand_side_by_side_with_even_sides():
    row = recording.side_by_side({"a": np.zeros((271, 481, 3), np.uint8), "b": np.full((100, 133, 3), 200, np.uint8)})
    assert row.shape[0] == recording.PANEL_HEIGHT + recording.TITLE_HEIGHT
    assert row.shape[0] % 2 == 0
    assert row.shape[1] % 2 == 0
    assert (row[-1, -1] == 200).all()
    assert (row[-1, 0] == 0).all()


def test_a_video_holds_the_frames_that_were_written(tmp_path):
    frames = [np.full((32, 64, 3), value, np.uint8) for value in (20, 120, 220)]
    with recording.VideoWriter(tmp_path / "v.mp4", Fraction(30000, 1001)) as video:
        for frame in frames:
            video.write(frame)
    with av.open(str(tmp_path / "v.mp4")) as container:
        read = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == Fraction(30000, 1001)
    assert [abs(int(frame.mean()) - want) <= 4 for frame, want in zip(read, (20, 120, 220), strict=True)] == [True] * 3
    first, last = recording.read_frames(tmp_path / "v.mp4", [0, 2])
    np.testing.assert_array_equal(first, read[0])
    np.testing.assert_array_equal(last, read[2])


def test_a_contact_sheet_stacks_rows_in_rgb(tmp_path):
    rows = [np.full((4, 6, 3), (250, 0, 0), np.uint8), np.full((4, 6, 3), (0, 0, 250), np.uint8)]
    recording.write_contact_sheet(tmp_path / "sheet.png", rows)
    sheet = cv2.cvtColor(cv2.imread(str(tmp_path / "sheet.png")), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(sheet, np.vstack(rows))
