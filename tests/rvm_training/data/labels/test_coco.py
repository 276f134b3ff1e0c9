"""Instances of COCO become classes of pixels."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from rvm_training.data.labels import read_labelled

CATEGORIES = [{"id": 7, "name": "robot"}, {"id": 3, "name": "cup"}]


def instances(path, images, annotations, categories=CATEGORIES):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))


def image(number, name):
    return {"id": number, "file_name": name, "height": 20, "width": 30}


def mark(number, category, shape, area=1.0):
    return {"image_id": number, "category_id": category, "segmentation": shape, "area": area}


BOX = [4, 2, 14, 2, 14, 8, 4, 8]


def test_polygons_and_run_lengths_are_painted_the_small_over_the_large(tmp_path, pictures, labels):
    pictures("images/a.png", "images/b.png")
    whole = coco_mask.encode(np.asfortranarray(np.ones((20, 30), np.uint8)))
    runs = {"size": [20, 30], "counts": [0, 20, 580]}  # The first column, as numbers.
    text = {"size": [20, 30], "counts": whole["counts"].decode()}
    annotations = [mark(1, 3, [BOX], 60), mark(1, 7, text, 600), mark(2, 7, runs, 20)]
    instances(tmp_path / "annotations" / "instances.json", [image(1, "a.png"), image(2, "b.png")], annotations)
    found, by_name = labels()
    assert found.names == ("background", "cup", "robot")
    assert found.ids == (0, 3, 7)
    expected = np.full((20, 30), 2)
    expected[2:8, 4:14] = 1
    np.testing.assert_array_equal(by_name["a.png"], expected)
    assert (by_name["b.png"][:, 0] == 2).all()
    assert (by_name["b.png"][:, 1:] == 0).all()


def test_splits_are_those_of_files_and_folders(tmp_path, pictures, labels):
    pictures("train/a.png", "valid/b.png", "images/c.png")
    for split, name in (("train", "a.png"), ("valid", "b.png")):  # As Roboflow writes them.
        instances(tmp_path / split / "_annotations.coco.json", [image(1, name)], [mark(1, 3, [BOX])])
    instances(tmp_path / "annotations" / "instances_val2017.json", [image(1, "c.png")], [mark(1, 3, [BOX])])
    found, _ = labels()
    assert {picture.path.name: picture.split for picture in found.pictures} == {
        "a.png": "train", "b.png": "val", "c.png": "val",
    }  # fmt: skip


def test_words_in_folders_are_no_splits_and_test_is_one(tmp_path, pictures, labels):
    pictures("cup_train_ride/a.png", "test/b.png")
    marks = [mark(1, 3, [BOX]), mark(2, 3, [BOX])]
    instances(tmp_path / "instances.json", [image(1, "a.png"), image(2, "b.png")], marks)
    found, _ = labels()
    assert [picture.split for picture in found.pictures] == [None, "test"]


def test_what_gives_no_region_is_left_out_and_counted(tmp_path, pictures, labels):
    pictures("a.png", "b.png")
    annotations = [mark(1, 3, [BOX]), mark(1, 3, []), mark(3, 3, [BOX])]
    instances(tmp_path / "i.json", [image(1, "a.png"), image(2, "b.png"), image(3, "gone.png")], annotations)
    found, by_name = labels()
    assert list(by_name) == ["a.png"]
    assert found.left_out == {
        "marks without a region": 1, "pictures without a region": 1, "pictures not found": 1,
    }  # fmt: skip


def test_of_pictures_of_one_name_that_of_the_files_split_is_meant(tmp_path, pictures, labels):
    pictures("images/Train/frame_000000.png", "images/Validation/frame_000000.png")
    for split, category in (("Train", 3), ("Validation", 7)):
        marks = [mark(1, category, [BOX])]
        instances(tmp_path / "annotations" / f"instances_{split}.json", [image(1, "frame_000000.png")], marks)
    found, _ = labels()
    assert [(picture.path.parent.name, picture.split) for picture in found.pictures] == [
        ("Train", "train"), ("Validation", "val"),
    ]  # fmt: skip


def test_folders_of_label_studios_own_machine_do_not_matter(tmp_path, pictures, labels):
    pictures("images/cb0618f6-a.png", "images/90fbb0c7-my_b_1.png")
    names = "../../label-studio/data/media/upload/4/cb0618f6-a.png", "images\\1/90fbb0c7-my b (1).png"
    marks = [mark(1, 3, [BOX]), mark(2, 3, [BOX])]
    instances(tmp_path / "result.json", [image(1, names[0]), image(2, names[1])], marks)
    found, _ = labels()
    assert len(found.pictures) == 2


def test_files_that_macos_puts_beside_pictures_are_none(tmp_path, pictures, labels):
    pictures("a.png")
    (tmp_path / "__MACOSX").mkdir()
    for name in ("._a.png", "__MACOSX/a.png"):
        (tmp_path / name).write_bytes(b"nothing")
    instances(tmp_path / "i.json", [image(1, "a.png")], [mark(1, 3, [BOX])])
    assert list(labels()[1]) == ["a.png"]


def test_linked_folders_are_looked_through(tmp_path, pictures, labels):
    pictures("elsewhere/set/a.png")
    instances(tmp_path / "elsewhere" / "set" / "i.json", [image(1, "a.png")], [mark(1, 3, [BOX])])
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "train").symlink_to(tmp_path / "elsewhere" / "set")
    (picture,) = read_labelled(tmp_path / "root").pictures
    assert picture.split == "train"


def test_pictures_of_another_folder_are_others(tmp_path, pictures, labels):
    pictures("two/a.png", "one/b.png")
    marks = [mark(1, 3, [BOX]), mark(2, 3, [BOX])]
    instances(tmp_path / "i.json", [image(1, "one/a.png"), image(2, "one\\b.png")], marks)
    found, by_name = labels()
    assert list(by_name) == ["b.png"]
    assert found.left_out == {"pictures not found": 1}


def test_pictures_that_were_scaled_since_are_told(tmp_path, pictures, labels):
    pictures("a.png")
    instances(tmp_path / "i.json", [image(1, "a.png") | {"height": 40, "width": 60}], [mark(1, 3, [BOX])])
    with pytest.raises(ValueError, match=r"a\.png: got 20x30, expected 40x60, as .*i\.json says"):
        labels()


def test_categories_of_one_name_are_told_apart_and_unused_ones_are_no_classes(tmp_path, pictures, labels):
    pictures("a.png")
    categories = [{"id": 0, "name": "fish"}, {"id": 1, "name": "fish"}, {"id": 2, "name": "bird"}]
    marks = [mark(1, 0, [BOX]), mark(1, 1, BOX)]  # One polygon may lack the list around it.
    instances(tmp_path / "i.json", [image(1, "a.png")], marks, categories)
    found, by_name = labels()
    assert found.names == ("background", "fish (0)", "fish (1)")
    assert found.ids == ()
    assert set(np.unique(by_name["a.png"])) == {0, 2}


def test_a_picture_that_two_files_label_is_told(tmp_path, pictures, labels):
    pictures("a.png")
    for name in ("one.json", "two.json"):
        instances(tmp_path / name, [image(1, "a.png")], [mark(1, 3, [BOX])])
    with pytest.raises(ValueError, match=r"a\.png: got labels in .*one\.json and .*two\.json"):
        labels()


def test_why_nothing_is_left_is_told(tmp_path, pictures, labels):
    pictures("a.png")
    instances(tmp_path / "boxes.json", [image(1, "a.png")], [mark(1, 3, [])])
    (tmp_path / "cut.json").write_text('{"images": [')
    with pytest.raises(ValueError, match=r"COCO; 1 marks without a region; 1 pictures .*cut\.json is"):
        labels()


def test_a_category_that_is_called_background_is_it(tmp_path, pictures, labels):
    pictures("a.png")
    categories = [{"id": 0, "name": "Background"}, {"id": 1, "name": "floor"}]
    instances(tmp_path / "i.json", [image(1, "a.png")], [mark(1, 1, [BOX])], categories)
    found, by_name = labels()
    assert (found.names, found.ids) == (("background", "floor"), (0, 1))
    assert set(np.unique(by_name["a.png"])) == {0, 1}


def test_a_name_that_several_pictures_have_needs_its_folder(tmp_path, pictures, labels):
    pictures("one/a.png", "two/a.png")
    instances(tmp_path / "labels" / "i.json", [image(1, "two/a.png")], [mark(1, 3, [BOX])])
    found, _ = labels()
    assert found.pictures[0].path == tmp_path / "two" / "a.png"
    instances(tmp_path / "labels" / "i.json", [image(1, "a.png")], [mark(1, 3, [BOX])])
    with pytest.raises(ValueError, match="may be, expected one; give the names their folders"):
        labels()


def test_malformed_files_are_told(tmp_path, pictures, labels):
    pictures("a.png")
    instances(tmp_path / "i.json", [image(1, "a.png")], [{"image_id": 1, "segmentation": [BOX]}])
    with pytest.raises(ValueError, match=r"i\.json: is malformed as instances of COCO \(KeyError\('category_id'\)"):
        labels()
    instances(tmp_path / "i.json", [image(1, "a.png")], [mark(1, 3, {"size": [4, 5], "counts": [0, 20]})])
    with pytest.raises(ValueError, match=r"i\.json: its labels of a\.png: got a mask of 4x5, expected 20x30"):
        labels()
    instances(tmp_path / "i.json", [image(1, "a.png")], [mark(1, 3, [[[0, 0], [9, 9], [0, 9]]])])
    with pytest.raises(ValueError, match="got a polygon of 3 numbers, expected x, y of three corners"):
        labels()
    instances(tmp_path / "i.json", [image(1, "a.png")], [mark(1, 3, {"size": [20, 30]})])
    with pytest.raises(ValueError, match=r"its labels of a\.png are malformed \(KeyError\('counts'\)"):
        labels()
