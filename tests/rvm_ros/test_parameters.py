"""The table of parameters."""

import pytest

pytest.importorskip("rcl_interfaces.msg")

from rvm_ros.parameters import PERCEPTION_PARAMETERS, PLAYER_PARAMETERS, camera_parameters, check_camera_names

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


@pytest.mark.parametrize("names", [["camera"], ["front", "rear_left2"]])
def test_camera_names_that_fit_a_topic_are_taken(names):
    check_camera_names(names)


@pytest.mark.parametrize("names", [[], ["a", "a"], ["front camera"], ["1st"], ["a/b"], ["a__b"], ["_a"], ["a_"], [""]])
def test_camera_names_that_fit_no_topic_are_refused(names):
    with pytest.raises(ValueError, match="cameras: got"):
        check_camera_names(names)
