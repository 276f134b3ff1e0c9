"""Videos become what training reads, where they were."""

import av
import numpy as np
import pytest

from rvm_training.__main__ import main
from rvm_training.data.video import read_frames


def test_videos_keep_their_places_times_and_order(tmp_path, video, numbers, capsys):
    for name in ("in/train/a.mkv", "in/val/b.mp4"):
        video(name, 60, gop=250)
    (tmp_path / "in" / "bad.mp4").write_bytes(b"no video")
    words = ["transcode", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--crf", "1"]
    assert main(words) == 1
    told = capsys.readouterr().out
    assert "out: 2 videos" in told
    assert "bad.mp4 cannot be opened" in told
    out = tmp_path / "out"
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.*")) == ["train/a.mp4", "val/b.mp4"]
    with av.open(str(out / "train" / "a.mp4")) as container:
        stream = container.streams.video[0]
        assert float(stream.average_rate) == pytest.approx(25)
        keys = [index for index, packet in enumerate(container.demux(stream)) if packet.is_keyframe]
    assert max(np.diff([*keys, 60])) <= 30, "a change of scene may add one"
    frames = read_frames(str(out / "train" / "a.mp4"), [0, 7, 31, 59], 25)
    assert numbers(frames) == pytest.approx([0, 7, 31, 59], abs=1)
    assert main(words) == 1
    assert "is there; go on with --resume" in capsys.readouterr().err
    main([*words, "--resume"])
    assert "0 videos, 2 were there" in capsys.readouterr().out


def test_what_cannot_be_told_apart_or_found_is_told(tmp_path, video, capsys):
    out = ["--out", str(tmp_path / "out")]
    both = [str(video("a/x.mp4", 5)), str(video("b/x.mkv", 5))]
    assert main(["transcode", *both, *out]) == 1
    assert "got several videos for" in capsys.readouterr().err
    assert main(["transcode", str(tmp_path / "none"), *out]) == 1
    assert "nothing at" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["transcode", str(tmp_path / "empty"), *out]) == 1
    assert "got no video" in capsys.readouterr().err
