"""CVAT's XML becomes classes of pixels."""

import numpy as np
import pytest

META = """<meta><task><labels>
<label><name>floor</name><color>#ff8000</color></label><label><name>cup</name><color>#0000ff</color></label>
</labels></task></meta>"""


def write(tmp_path, body, meta=META):
    (tmp_path / "annotations.xml").write_text(
        f'<?xml version="1.0"?>\n<annotations><version>1.1</version>{meta}{body}</annotations>'
    )


def test_polygons_and_masks_are_painted_by_their_order(tmp_path, pictures, labels):
    pictures("images/a.png")
    write(
        tmp_path,
        """<image id="0" name="a.png" width="30" height="20">
        <mask label="cup" rle="2, 3, 1, 6" left="4" top="2" width="4" height="3" z_order="1"/>
        <polygon label="floor" points="0,0;30,0;30,10;0,10" z_order="0"/>
        <box label="cup" xtl="0" ytl="0" xbr="3" ybr="3"/></image>""",
    )
    found, by_name = labels()
    assert found.names == ("background", "floor", "cup")
    assert found.colours == ((0, 0, 0), (255, 128, 0), (0, 0, 255))
    assert found.left_out == {"marks without a region": 1}
    expected = np.zeros((20, 30))
    expected[:10] = 1
    expected[2, 6:8], expected[3, 4] = 2, 2
    expected[3, 6:8], expected[4, 4:8] = 2, 2
    np.testing.assert_array_equal(by_name["a.png"], expected)


def test_tracks_of_videos_are_painted_where_they_are_inside(tmp_path, pictures, labels):
    pictures(*(f"images/frame_{number:06d}.png" for number in range(3)))
    polygon = '<polygon frame="{}" outside="{}" points="0,0;30,0;30,5;0,5"/>'
    write(
        tmp_path,
        f'<track id="0" label="cup">{polygon.format(0, 0)}{polygon.format(1, 0)}{polygon.format(2, 1)}</track>',
    )
    found, by_name = labels()
    assert sorted(by_name) == ["frame_000000.png", "frame_000001.png"]  # The third has nothing to learn from.
    assert (by_name["frame_000001.png"][:5] == 2).all()
    assert found.left_out == {"pictures without a region": 1}


SHAPE = '<polygon frame="{}" outside="0" points="0,0;30,0;30,5;0,5"/>'
VIDEO = META.replace("</task>", "<original_size><width>30</width><height>20</height></original_size></task>")


def track(*frames):
    return f'<track label="cup">{"".join(SHAPE.format(frame) for frame in frames)}</track>'


def test_frames_of_a_video_have_cvats_numbers_where_some_were_deleted(tmp_path, pictures, labels):
    pictures(*(f"images/frame_{number:06d}.png" for number in (1, 2, 5)), "SegmentationClass/frame_000001.png")
    write(tmp_path, track(2, 5), VIDEO)
    assert list(labels()[1]) == ["frame_000002.png", "frame_000005.png"]
    write(tmp_path, track(0), VIDEO)
    with pytest.raises(ValueError, match="got a mark on frame 0, expected one of the 3 pictures beside it"):
        labels()


def test_pictures_of_tracks_are_counted_where_their_order_can_be_told(tmp_path, pictures, labels):
    pictures(*(f"images/{number}.png" for number in (7, 8, 9)))
    write(tmp_path, track(1), META.replace("<task>", "<task><size>3</size>"))
    assert list(labels()[1]) == ["8.png"]
    write(tmp_path, track(1), META.replace("<task>", "<task><size>4</size>"))
    with pytest.raises(ValueError, match="got tracks over 4 pictures and 3 pictures beside it"):
        labels()
    pictures("images/10.png")  # After 9 by its number, and before 7 as text.
    with pytest.raises(ValueError, match="in an order that can be told; export the task as `CVAT for images"):
        labels()


def test_tracks_of_several_tasks_are_refused(tmp_path, pictures, labels):
    pictures("images/frame_000000.png")
    shape = '<polygon frame="0" outside="0" points="0,0;30,0;30,5;0,5"/>'
    write(tmp_path, f'<track label="cup" task_id="1">{shape}</track><track label="cup" task_id="2">{shape}</track>')
    with pytest.raises(ValueError, match="got tracks of 2 tasks, expected those of one"):
        labels()


def test_labels_in_another_order_are_the_same(tmp_path, pictures, labels):
    pictures("a.png", "b.png")
    image = '<image name="{}"><polygon label="cup" points="0,0;30,0;30,5;0,5"/></image>'
    write(tmp_path, image.format("a.png"))
    (tmp_path / "annotations.xml").rename(tmp_path / "one.xml")
    other = (
        "<meta><task><labels><label><name>cup</name></label><label><name>floor</name></label></labels></task></meta>"
    )
    write(tmp_path, image.format("b.png"), other)
    found, by_name = labels()
    assert found.names == ("background", "cup", "floor")
    np.testing.assert_array_equal(by_name["a.png"], by_name["b.png"])


def test_pictures_of_subsets_and_without_a_suffix_are_found(tmp_path, pictures, labels):
    pictures("images/Train/x.png", "images/Validation/x.png")
    image = '<image name="{}" subset="{}"><polygon label="cup" points="0,0;30,0;30,5;0,5"/></image>'
    write(tmp_path, image.format("x.png", "Train") + image.format("x", "Validation"))
    found, _ = labels()
    assert [(picture.path.parent.name, picture.split) for picture in found.pictures] == [
        ("Train", "train"), ("Validation", "val"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            '<image name="a.png"><polygon label="sofa" points="0,0;1,1;2,2"/></image>',
            "got a mark of 'sofa', expected",
        ),
        ('<image><polygon label="cup" points="0,0;1,1;2,2"/></image>', "got <image> without name"),
        ("<image", "is malformed as annotations of CVAT"),
    ],
)
def test_malformed_files_are_told(tmp_path, pictures, labels, body, message):
    pictures("a.png")
    write(tmp_path, body)
    with pytest.raises(ValueError, match=message):
        labels()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ('rle="2, 3" left="4" top="2" width="4" height="3"', "got run lengths of 5 pixels, expected 3x4"),
        ('rle="2, 10" left="28" top="2" width="4" height="3"', "got a mask at 28, 2 of 4x3, expected it within 30x20"),
    ],
)
def test_masks_that_do_not_fit_are_told(tmp_path, pictures, labels, mask, message):
    pictures("a.png")
    write(tmp_path, f'<image name="a.png"><mask label="cup" {mask}/></image>')
    with pytest.raises(ValueError, match=message):
        labels()
