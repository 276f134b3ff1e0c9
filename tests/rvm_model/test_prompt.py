"""Prompts as they come from outside."""

import pytest
import torch

from rvm_model.prompt import Prompt, Seen, prompt_from_json


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"box": [1, 2, 3.5, 4]}', Prompt(box=(1.0, 2.0, 3.5, 4.0))),
        (
            '{"id": 3, "name": "cup", "points": [[1, 2], [3, 4]], "negative": [[5, 6]], "stamp": [7, 8]}',
            Prompt(7_000_000_008, id=3, name="cup", points=((1.0, 2.0), (3.0, 4.0)), negative=((5.0, 6.0),)),
        ),
        ('{"remove": 4}', Prompt(remove=4)),
        ('{"clear": true}', Prompt(clear=True)),
    ],
)
def test_a_prompt_is_read(text, expected):
    assert prompt_from_json(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("box", "expected JSON"),
        ("[" * 100_000, "expected JSON"),
        ("[1, 2]", "expected a JSON object"),
        ('{"boxx": [1, 2, 3, 4]}', "got boxx, expected some of box, clear"),
        ("{}", "got none of box, points, remove, clear"),
        ('{"box": [1, 2, 3, 4], "remove": 1}', r"got \['box', 'remove'\] of box"),
        ('{"box": [1, 2, 3]}', "box: got .*, expected 4 numbers"),
        ('{"box": [1, 2, 3, "4"]}', "box: got .*, expected 4 numbers"),
        ('{"box": [1, 2, 3, true]}', "box: got .*, expected 4 numbers"),
        ('{"points": 3}', "points: got 3, expected a list"),
        ('{"points": [[1, 2, 3]]}', "points: got .*, expected 2 numbers"),
        ('{"box": [1, 2, 3, 4], "id": 0}', r"id: got 0, expected a whole number 1\.\.254"),
        ('{"box": [1, 2, 3, 4], "id": 255}', r"id: got 255, expected a whole number 1\.\.254"),
        ('{"box": [1, 2, 3, 4], "id": 1.0}', "id: got 1.0"),
        ('{"box": [1, 2, 3, 4], "name": "a\\nb"}', "name: got"),
        ('{"box": [1, 2, 3, 4], "stamp": 1.5}', "stamp: got 1.5, expected"),
        ('{"remove": "cup"}', "id: got 'cup'"),
        ('{"clear": false}', "clear: got False, expected true"),
    ],
)
def test_anything_else_is_refused_with_what_is_expected(text, reason):
    with pytest.raises(ValueError, match=reason):
        prompt_from_json(text)


SEEN = Seen(5, torch.randn(4, 6, 8, generator=torch.Generator().manual_seed(0)), (64, 96), (64, 96))


@pytest.mark.parametrize("box", [(0, 0, 97, 10), (-1, 0, 5, 5), (5, 5, 5, 9), (9, 9, 5, 20), (float("nan"), 0, 5, 5)])
def test_a_box_that_is_not_on_the_image_is_refused_in_pixels(box):
    with pytest.raises(ValueError, match="in pixels of the camera's image, which has 96x64"):
        Prompt(box=box).masks(SEEN)


@pytest.mark.parametrize("point", [(97, 10), (5, -1), (float("nan"), 5)])
def test_a_point_that_is_not_on_the_image_is_refused_in_pixels(point):
    with pytest.raises(ValueError, match="in pixels of the camera's image, which has 96x64"):
        Prompt(points=((5, 5), point)).masks(SEEN)


def test_no_point_at_all_is_refused():
    with pytest.raises(ValueError, match="expected at least one on the object"):
        Prompt(negative=((5, 5),)).masks(SEEN)


def test_the_frame_is_the_one_nearest_to_the_stamp():
    seen = [Seen(stamp, SEEN.tokens, (64, 96), (64, 96)) for stamp in (100, 200, 300)]
    assert [Prompt(stamp).frame(seen) for stamp in (0, 100, 140, 160, 290, 999)] == [2, 0, 0, 1, 2, 2]
