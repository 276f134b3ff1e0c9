"""Instances of COCO become classes of pixels."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

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


def test_what_gives_no_region_is_left_out_and_counted(tmp_path, pictures, labels):
    pictures("a.png", "b.png")
    annotations = [mark(1, 3, [BOX]), mark(1, 3, []), mark(3, 3, [BOX])]
    instances(tmp_path / "i.json", [image(1, "a.png"), image(2, "b.png"), image(3, "gone.png")], annotations)
    found, by_name = labels()
    assert list(by_name) == ["a.png"]
    assert found.left_out == 3


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
    with pytest.raises(ValueError, match="give it with its folder"):
        labels()


def test_malformed_files_are_told(tmp_path, pictures, labels):
    pictures("a.png")
    instances(tmp_path / "i.json", [image(1, "a.png")], [{"image_id": 1, "segmentation": [BOX]}])
    with pytest.raises(ValueError, match=r"i\.json: is malformed as instances of COCO \(KeyError\('category_id'\)"):
        labels()
    instances(tmp_path / "i.json", [image(1, "a.png")], [mark(1, 3, {"size": [4, 5], "counts": [0, 20]})])
    with pytest.raises(ValueError, match="got a mask of 4x5, expected 20x30"):
        labels()
