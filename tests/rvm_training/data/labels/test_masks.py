"""Folders of masks become classes of pixels."""

import numpy as np
import pytest
from PIL import Image

from rvm_training.data.labels import IGNORE, read_labelled
from rvm_training.mask_files import save_mask


def half(value, other=0, kind=np.uint8):
    mask = np.full((20, 30), other, kind)
    mask[:10] = value
    return mask


def test_masks_of_a_palette_and_of_grey_are_read_by_their_values(tmp_path, pictures, labels):
    pictures("train/images/a.jpg", "val/images/b.jpg", "val/images/unlabelled.jpg")
    for split in ("train", "val"):
        (tmp_path / split / "masks").mkdir()
    save_mask(tmp_path / "train" / "masks" / "a.png", half(2))
    Image.fromarray(half(1, 255)).save(tmp_path / "val" / "masks" / "b.png")
    (tmp_path / "labels.txt").write_text("ground\nwall\nrobot\n")
    found, by_name = labels()
    assert found.names == ("ground", "wall", "robot")
    assert {picture.path.name: picture.split for picture in found.pictures} == {"a.jpg": "train", "b.jpg": "val"}
    np.testing.assert_array_equal(by_name["a.jpg"], half(2))
    np.testing.assert_array_equal(by_name["b.jpg"], half(1, IGNORE, np.uint16))
    assert found.left_out == {"pictures without a mask": 1}


@pytest.mark.parametrize("names", ["", "ground\nrobot\n"])
def test_black_and_white_masks_mark_with_white(tmp_path, pictures, labels, names):
    pictures("images/a.png")
    (tmp_path / "masks").mkdir()
    Image.fromarray(half(255)).save(tmp_path / "masks" / "a.PNG")
    if names:
        (tmp_path / "labels.txt").write_text(names)
    found, by_name = labels()
    assert found.names == (("ground", "robot") if names else ("background", "marked"))
    np.testing.assert_array_equal(by_name["a.png"], half(1))


def test_vocs_lists_are_the_splits(tmp_path, pictures, labels):
    names = "a.rf.0b1c", "my b"
    pictures(*(f"JPEGImages/{name}.jpg" for name in names))
    (tmp_path / "SegmentationClass").mkdir()
    for name in names:
        save_mask(tmp_path / "SegmentationClass" / f"{name}.png", half(1))
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text('"my b"\n')
    (lists / "val.txt").write_text("a.rf.0b1c\n")
    found, _ = labels()
    assert [picture.split for picture in found.pictures] == ["val", "train"]


def test_without_names_the_values_that_occur_are_the_classes(tmp_path, pictures, labels):
    pictures("images/a.png", "images/sub/b.png")
    (tmp_path / "labels" / "sub").mkdir(parents=True)
    Image.fromarray(half(700, 4, np.uint16)).save(tmp_path / "labels" / "a.png")
    Image.fromarray(half(30, 4)).save(tmp_path / "labels" / "sub" / "b.png")
    found, by_name = labels()
    assert found.names == ("class 4", "class 30", "class 700")
    assert found.ids == (4, 30, 700)
    np.testing.assert_array_equal(by_name["a.png"], half(2))
    np.testing.assert_array_equal(by_name["b.png"], half(1))


def test_masks_in_colours_are_read_by_cvats_labelmap(tmp_path, pictures, labels):
    pictures("JPEGImages/a.jpg")
    (tmp_path / "SegmentationClass").mkdir()
    colours = np.zeros((20, 30, 3), np.uint8)
    colours[:10] = (255, 128, 0)
    Image.fromarray(colours).save(tmp_path / "SegmentationClass" / "a.png")
    (tmp_path / "labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:0,0,0::\nfloor:255,128,0::\n")
    found, by_name = labels()
    assert found.names == ("background", "floor")
    assert found.colours == ((0, 0, 0), (255, 128, 0))
    np.testing.assert_array_equal(by_name["a.jpg"], half(1))
    # Of a palette the colour counts, not the index; and VOC's void does not count at all.
    mask = Image.fromarray(half(1), "P")
    mask.putpalette([224, 224, 192, 0, 0, 0])
    mask.save(tmp_path / "SegmentationClass" / "a.png")
    np.testing.assert_array_equal(labels()[1]["a.jpg"], half(0, IGNORE, np.uint16))
    Image.fromarray(colours).save(tmp_path / "SegmentationClass" / "a.png")
    (tmp_path / "labelmap.txt").write_text("background:0,0,0::\n")
    with pytest.raises(ValueError, match=r"got the colour \(255, 128, 0\), expected one of"):
        labels()


def test_what_does_not_fit_is_told(tmp_path, pictures, labels):
    pictures("images/a.png")
    (tmp_path / "masks").mkdir()
    save_mask(tmp_path / "masks" / "a.png", half(5))
    (tmp_path / "labels.txt").write_text("one\ntwo\n")
    with pytest.raises(ValueError, match=r"a\.png: got the value 5, expected one of \[0, 1\]"):
        labels()
    save_mask(tmp_path / "masks" / "a.png", half(1)[:, :20])
    with pytest.raises(ValueError, match="got 20x20, expected 20x30, its picture's"):
        labels()
    (tmp_path / "labels.txt").write_text("one:red::\n")
    with pytest.raises(ValueError, match="got 'one:red::', expected name:red,green,blue::"):
        labels()


def test_folders_of_nothing_or_of_two_formats_are_refused(tmp_path, pictures):
    with pytest.raises(FileNotFoundError, match="no folder at"):
        read_labelled(tmp_path / "nothing")
    pictures("a.png")
    with pytest.raises(ValueError, match="got no labelled picture; expected pictures and masks"):
        read_labelled(tmp_path)
    (tmp_path / "a.xml").write_text("<annotations/>")
    (tmp_path / "a.json").write_text('{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(ValueError, match="got files of COCO and CVAT, expected those of one format"):
        read_labelled(tmp_path)
