"""`rvm features` is timed beside its bare engine, round by round."""

import pytest

from rvm_training.benchmark.offline import Comparison, compare
from rvm_training.offline.features import Target
from rvm_training.offline.recordings import recordings


def test_a_share_is_of_the_bare_engines_rate_just_before_and_after():
    assert Comparison(bare=[10, 20, 20], whole=[9, 18]).shares == pytest.approx([0.6, 0.9])


def test_both_are_timed_and_nothing_is_left(engine, bag, tmp_path):
    (tmp_path / "out").mkdir()
    found = compare(recordings([str(bag())]), engine, Target(tmp_path / "out"), batch=2, rounds=2)
    assert (len(found.bare), len(found.whole)) == (3, 2)
    assert all(rate > 0 for rate in (*found.bare, *found.whole))
    assert not any((tmp_path / "out").iterdir())


def test_an_input_that_fails_ends_it(engine, tmp_path, video):
    good = recordings([str(video("good.mp4", 5)), str(video("bad.mp4", 5))])
    (tmp_path / "bad.mp4").write_bytes((tmp_path / "good.mp4").read_bytes()[:300])
    with pytest.raises(ValueError, match="bad.mp4"):
        compare(good, engine, Target(tmp_path), batch=1, rounds=1)
