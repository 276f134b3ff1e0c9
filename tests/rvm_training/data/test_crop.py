"""Random resized crops stay inside the image and within their ranges; one box serves all frames."""

import numpy as np
import pytest

from rvm_training.data.crop import Crop, CropConfig, centre_crop, draw_crop


def test_crops_keep_to_area_ratio_and_image():
    config = CropConfig()
    crops = [draw_crop(np.random.default_rng([1, i]), 240, 320, config) for i in range(2000)]
    areas = np.array([crop.height * crop.width for crop in crops]) / (240 * 320)
    ratios = np.array([crop.width / crop.height for crop in crops])
    assert areas.min() > 0.295
    assert areas.max() <= 1
    assert ratios.min() > 0.74
    assert ratios.max() < 1.35
    assert all(crop.top + crop.height <= 240 and crop.left + crop.width <= 320 for crop in crops)
    flipped = np.mean([crop.flip for crop in crops])
    assert abs(flipped - 0.5) < 0.06


def test_an_image_too_narrow_for_the_ratio_is_cut_to_the_nearest():
    crop = draw_crop(np.random.default_rng(0), 50, 1000, CropConfig(area=(1.0, 1.0)))
    assert (crop.height, crop.width) == (50, round(50 * 4 / 3))


def test_the_whole_image_is_taken_when_so_configured():
    crop = draw_crop(np.random.default_rng(0), 64, 64, CropConfig(area=(1, 1), ratio=(1, 1), flip=0))
    assert crop == Crop(0, 0, 64, 64, flip=False)


def test_all_frames_get_the_same_box_and_flip():
    frames = np.arange(2 * 6 * 8 * 3, dtype=np.uint8).reshape(2, 6, 8, 3)
    cut = Crop(1, 2, 4, 5, flip=True).apply(frames)
    assert np.array_equal(cut, frames[:, 1:5, 2:7][:, :, ::-1])


def test_centre_crop_is_the_largest_box_of_a_shape_in_the_middle():
    assert centre_crop(48, 64, (32, 32)) == Crop(0, 8, 48, 48, flip=False)
    assert centre_crop(48, 64, (120, 160)) == Crop(0, 0, 48, 64, flip=False)
    assert centre_crop(48, 64, (100, 200)) == Crop(8, 0, 32, 64, flip=False)


@pytest.mark.parametrize("options", [{"area": (0, 1)}, {"area": (0.5, 0.3)}, {"ratio": (2, 1)}, {"flip": 1.5}])
def test_empty_ranges_are_refused(options):
    with pytest.raises(ValueError, match="expected"):
        CropConfig(**options)
