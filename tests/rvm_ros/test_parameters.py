"""The table of parameters."""

import pytest

pytest.importorskip("rcl_interfaces.msg")

from rvm_ros.parameters import (
    PERCEPTION_PARAMETERS,
    PLAYER_PARAMETERS,
    ParameterSpec,
    camera_parameters,
    check_camera_names,
)

EVERY = [*PERCEPTION_PARAMETERS, *PLAYER_PARAMETERS, *camera_parameters("front")]


@pytest.mark.parametrize("spec", EVERY, ids=lambda spec: spec.name)
def test_every_default_is_allowed_and_described(spec):
    assert spec.problem(spec.default) == ""
    assert len(spec.description) > 15
    assert spec.descriptor().description == spec.description


def test_names_are_unique():
    for table in (PERCEPTION_PARAMETERS, PLAYER_PARAMETERS, camera_parameters("front")):
        names = [spec.name for spec in table]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("spec", "value", "problem"),
    [
        (ParameterSpec("a", 3, "", 1, 5), 0, "a: got 0, expected at least 1"),
        (ParameterSpec("a", 3, "", 1, 5), 6, "a: got 6, expected at most 5"),
        (ParameterSpec("a", 0.5, "", 0.0), float("nan"), "a: got nan, expected at least 0.0"),
        (ParameterSpec("a", "x", "", choices=("x", "y")), "z", "a: got 'z', expected one of x, y"),
        (ParameterSpec("a", (1, 2), "", 1, length=2), [1], "a: got 1 items, expected 2"),
        (ParameterSpec("a", (1, 2), "", 1, length=2), [1, 0], "a: got 0, expected at least 1"),
        (ParameterSpec("a", (1, 2), "", 1, length=2), [3, 4], ""),
    ],
)
def test_a_value_that_is_not_allowed_is_told_with_what_is(spec, value, problem):
    assert spec.problem(value) == problem


def test_ranges_stand_in_the_descriptor():
    integer = ParameterSpec("a", 3, "", 1, 5).descriptor().integer_range[0]
    assert (integer.from_value, integer.to_value, integer.step) == (1, 5, 0)
    floating = ParameterSpec("a", 0.5, "", 0.0, 1.0).descriptor().floating_point_range[0]
    assert (floating.from_value, floating.to_value) == (0.0, 1.0)
    assert not ParameterSpec("a", True, "", 0, 1).descriptor().integer_range


@pytest.mark.parametrize("names", [["camera"], ["front", "rear_left2"]])
def test_camera_names_that_fit_a_topic_are_taken(names):
    check_camera_names(names)


@pytest.mark.parametrize("names", [[], ["a", "a"], ["front camera"], ["1st"], ["a/b"], ["a__b"], ["_a"], ["a_"], [""]])
def test_camera_names_that_fit_no_topic_are_refused(names):
    with pytest.raises(ValueError, match="cameras: got"):
        check_camera_names(names)
