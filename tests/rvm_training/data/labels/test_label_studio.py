"""Label Studio's JSON becomes classes of pixels."""

import json

import numpy as np
import pytest

from rvm_training.data.labels.shapes import brush


def packed(values, *, runs, width=8, lengths=(3, 7, 12, 15)):
    """Pack values as Label Studio does; `runs` are (one value repeated?, which length, count)."""
    text = f"{len(values):032b}{width - 1:05b}" + "".join(f"{each - 1:04b}" for each in lengths)
    at = 0
    for same, which, count in runs:
        text += f"{int(same)}{which:02b}{count - 1:0{lengths[which]}b}"
        text += "".join(f"{value:0{width}b}" for value in (values[at : at + 1] if same else values[at : at + count]))
        at += count
    text += "0" * (-len(text) % 8)
    return [int(text[place : place + 8], 2) for place in range(0, len(text), 8)]


def task(picture, results, **other):
    return {"id": 1, "data": {"image": picture}, "annotations": [{"result": results, **other}]}


def polygon(label, points):
    return {"type": "polygonlabels", "value": {"points": points, "polygonlabels": [label]}}


HALF = [[0, 0], [100, 0], [100, 50], [0, 50]]


def test_strokes_are_unpacked_runs_of_one_value_and_of_several():
    rgba = np.zeros((2, 3, 4), np.uint8)
    rgba[0, 1:, 3] = 255
    rgba[1, 2] = (1, 2, 3, 200)
    values = rgba.ravel().tolist()
    runs = [(False, 1, 12), (True, 0, 8), (False, 2, 4)]
    assert brush(packed(values, runs=runs), (2, 3)).tolist() == [[False, True, True], [False, False, True]]
    with pytest.raises(ValueError, match="got 24 values of 8 bits, expected the 48 bytes of its RGBA"):
        brush(packed(values, runs=runs), (4, 3))
    with pytest.raises(ValueError, match="bytes of brush strokes, expected more"):
        brush(packed(values, runs=runs)[:-3], (2, 3))


def test_polygons_are_in_percent_and_strokes_lie_over_them(tmp_path, pictures, labels):
    pictures("a.png")
    rgba = np.zeros((20, 30, 4), np.uint8)
    rgba[0, 0] = 255
    rle = packed(rgba.ravel().tolist(), runs=[(True, 0, 4), (True, 2, 2396)])
    strokes = {"type": "brushlabels", "value": {"format": "rle", "rle": rle, "brushlabels": ["cup"]}}
    box = {"type": "rectanglelabels", "value": {"rectanglelabels": ["cup"]}}
    (tmp_path / "export.json").write_text(json.dumps([task("a.png", [polygon("floor", HALF), strokes, box])]))
    found, by_name = labels()
    assert (found.names, found.left_out) == (("background", "cup", "floor"), {"marks without a region": 1})
    assert by_name["a.png"][0, 0] == 1
    assert (by_name["a.png"][1:10] == 2).all()
    assert (by_name["a.png"][10:] == 0).all()


@pytest.mark.parametrize(
    "address",
    [
        "/data/upload/4/0123abcd-a.png", "/data/local-files/?d=pictures/a.png", "s3://bucket/some/a.png",
        "https://host/a.png?key=1",
    ],
)  # fmt: skip
def test_pictures_are_found_by_what_their_address_ends_in(tmp_path, pictures, labels, address):
    pictures("pictures/a.png")
    (tmp_path / "export.json").write_text(json.dumps([task(address, [polygon("floor", HALF)])]))
    _, by_name = labels()
    assert list(by_name) == ["a.png"]


def test_other_fields_of_a_task_name_no_picture(tmp_path, pictures, labels):
    pictures("12.png", "13.png")
    marked = task("/data/upload/1/0123abcd-13.png", [polygon("floor", HALF)])
    marked["data"] = {"id": "12", **marked["data"]}
    (tmp_path / "export.json").write_text(json.dumps([marked]))
    assert list(labels()[1]) == ["13.png"]


def test_tasks_that_nobody_marked_are_left_out(tmp_path, pictures, labels):
    pictures("a.png", "b.png", "c.png")
    marks = [polygon("floor", HALF)]
    box = {"type": "rectanglelabels", "value": {"rectanglelabels": ["cup"]}}
    tasks = [task("a.png", marks), task("b.png", marks, was_cancelled=True), task("c.png", [box]), task("d.png", marks)]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    found, by_name = labels()
    assert list(by_name) == ["a.png"]
    assert found.left_out == {"pictures without a region": 2, "pictures not found": 1, "marks without a region": 1}


def test_the_first_annotator_who_drew_counts(tmp_path, pictures, labels):
    pictures("my picture.png")
    both = task("/data/upload/1/0123abcd-my_picture.png", [])
    both["annotations"] += [{"result": [polygon("floor", HALF)]}, {"result": [polygon("cup", HALF)]}]
    (tmp_path / "export.json").write_text(json.dumps([both]))
    found, by_name = labels()
    assert found.names == ("background", "floor")
    assert (by_name["my picture.png"][:10] == 1).all()


def test_pictures_that_were_turned_since_are_told(tmp_path, pictures, labels):
    pictures("a.png")
    results = [polygon("floor", HALF) | {"original_width": 20, "original_height": 30}]
    (tmp_path / "export.json").write_text(json.dumps([task("a.png", results)]))
    with pytest.raises(ValueError, match="got 20x30, expected 30x20"):
        labels()


def test_malformed_exports_are_told(tmp_path, pictures, labels):
    pictures("a.png")
    (tmp_path / "export.json").write_text(json.dumps([task("a.png", [{"type": "polygonlabels"}])]))
    with pytest.raises(ValueError, match="its export of Label Studio is malformed"):
        labels()
