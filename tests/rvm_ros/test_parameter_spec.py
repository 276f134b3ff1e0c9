"""What a parameter may be, and until when it can be set."""

import pytest

pytest.importorskip("rclpy")

from rclpy.parameter import Parameter

from rvm_ros.parameter_spec import ParameterSpec, When, declare, unknown_parameters


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


@pytest.fixture
def node(ros):
    node = ros.create_node("parameters")
    yield node
    node.destroy_node()


SPECS = [ParameterSpec(when.value, 1, "", 0, 5, when=when) for when in When]


@pytest.mark.ros
def test_what_can_be_set_goes_by_the_time(node):
    configured, told = False, []
    declare(node, SPECS, lambda: configured, told.append)

    def settable() -> set[str]:
        return {s.name for s in SPECS if node.set_parameters([Parameter(s.name, value=2)])[0].successful}

    assert settable() == {"configure", "reload", "live"}
    assert told == [], "nothing goes by them yet"
    configured = True
    assert settable() == {"reload", "live"}
    assert told == [{"reload"}, {"live"}]
    node.set_parameters([Parameter("live", value=9)])
    assert told == [{"reload"}, {"live"}], "that was refused"
    assert [node.get_parameter(spec.name).value for spec in SPECS] == [1, 2, 2, 2]


@pytest.mark.ros
def test_a_bad_value_at_the_start_is_refused(ros):
    node = ros.create_node("parameters", parameter_overrides=[Parameter("live", value=9)])
    try:
        with pytest.raises(ValueError, match="parameter live: .*Min: 0, Max: 5, value: 9"):
            declare(node, SPECS)
    finally:
        node.destroy_node()


def test_parameters_that_there_are_not_come_with_what_may_be_meant():
    given = ["camera.topci", "model", "qos_overrides./a.publisher.depth", "zzz"]
    assert unknown_parameters(given, ["camera.topic", "model"]) == {"camera.topci": "camera.topic", "zzz": ""}
