"""Clips are cut where a camera paused, and training reads them."""

import json

import av
import numpy as np
import pytest
from bags import png, raw, write

from rvm_training.__main__ import main
from rvm_training.data.manifest import Manifest
from rvm_training.data.video import probe, read_frames
from rvm_training.offline.clips import ClipSettings, cut_clips
from rvm_training.offline.encoding import VideoSettings
from rvm_training.offline.recordings import recordings

SETTINGS = ClipSettings(VideoSettings(crf=1), shortest_s=0.5)


def grey(level):
    return np.full((40, 60, 3), level, np.uint8)


def seconds(*stretches):
    """Images at 10 Hz from one time to another each; their level is their number."""
    times = np.concatenate([np.arange(first, last, 0.1) for first, last in stretches])
    return [raw(grey(index), "rgb8", round(time * 1e9)) for index, time in enumerate(times)]


def cut(out, path, settings=SETTINGS, **options):
    (made,), _ = cut_clips(recordings([str(path)]), out, settings, **options)
    assert not made.outcome.error
    return made


def test_clips_end_at_pauses_and_short_ones_are_dropped(tmp_path):
    path = write(tmp_path / "run", {"/front/image_raw": seconds((1, 3), (5, 5.3), (7, 8))})
    made = cut(tmp_path / "out", path)
    assert [(each.file, each.images) for each in made.stretches] == [("front_0000.mp4", 20), ("front_0001.mp4", 10)]
    assert made.dropped == 1
    assert [each.fps for each in made.stretches] == pytest.approx([10, 10])
    second = made.stretches[1]
    assert (second.first_stamp_ns, second.last_stamp_ns) == pytest.approx((7 * 10**9, round(7.9 * 1e9)), abs=2)
    shown = read_frames(str(tmp_path / "out" / "run" / "front_0001.mp4"), range(10), second.fps)
    assert [round(frame.mean()) for frame in shown] == pytest.approx(range(23, 33), abs=2)


def test_a_long_stretch_goes_on_in_another_clip(tmp_path):
    path = write(tmp_path / "run", {"/front/image_raw": seconds((1, 4))})
    made = cut(tmp_path / "out", path, ClipSettings(shortest_s=0.5, longest_s=1))
    assert [each.images for each in made.stretches] == [10, 10, 10]


def test_images_that_cannot_be_used_are_left_out_and_cut_where_they_are_many(tmp_path):
    messages = [png(grey(index), 10**9 + index * 10**8) for index in range(30)]
    for message in [messages[3], *messages[10:18]]:
        message.data[60:70] = 0
    path = write(tmp_path / "run", {"/front/compressed": messages})
    made = cut(tmp_path / "out", path)
    assert made.outcome.refused == {"front": 9}
    assert [each.images for each in made.stretches] == [9, 12]


def test_videos_are_small_even_and_have_keyframes(tmp_path):
    pictures = [raw(np.zeros((301, 455, 3), np.uint8), "rgb8", 10**9 + index * 10**8) for index in range(25)]
    cut(tmp_path / "out", write(tmp_path / "run", {"/front": pictures}), ClipSettings(VideoSettings(64, gop=10)))
    with av.open(str(tmp_path / "out" / "run" / "front_0000.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.height, stream.width) == ("h264", 64, 96)
        keys = [index for index, packet in enumerate(container.demux(stream)) if packet.is_keyframe]
    assert keys == [0, 10, 20]


def test_the_command_writes_a_manifest_that_tells_where_clips_are_from(tmp_path, video, capsys):
    first = write(tmp_path / "first", {"/front/image_raw": seconds((1, 4)), "/rear/image_raw": seconds((1, 4))})
    second = write(tmp_path / "second", {"/front/image_raw": seconds((1, 4))})
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    out = tmp_path / "out"
    inputs = [str(first), str(second), str(tmp_path / "broken.mp4"), str(video("drive.mp4", 80))]
    words = ["--out", str(out), "--val-share", "0.5", "--workers", "2"]
    assert main(["clips", *inputs, *words]) == 1
    told = capsys.readouterr().out
    assert "first: 2 clips" in told
    assert "1 inputs could not be cut:" in told
    manifest = Manifest.read(out / "manifest.parquet")
    rows = [manifest[row] for row in range(len(manifest))]
    assert sorted((row.recording, row.camera) for row in rows) == [
        (str(tmp_path / "drive.mp4"), "camera"), (str(first), "front"), (str(first), "rear"), (str(second), "front"),
    ]  # fmt: skip
    assert {row.split for row in rows} == {"train", "val"}
    assert len({row.split for row in rows if row.recording == str(first)}) == 1, "a recording is on one side"
    assert {row.first_stamp_ns for row in rows} == {10**9}
    for row in rows:
        assert (row.frames, row.fps) == probe(row.path)
    assert main(["clips", *inputs, *words]) == 1
    assert "is there; go on with --resume" in capsys.readouterr().err
    main(["clips", *inputs, *words, "--resume"])
    assert "left out, their clips are there: 3" in capsys.readouterr().out


def test_shards_of_inputs_have_manifests_of_their_own(tmp_path):
    inputs = [str(write(tmp_path / name, {"/front": seconds((1, 4))})) for name in ("a", "b", "c")]
    for index in range(2):
        assert main(["clips", *inputs, "--out", str(tmp_path / "out"), "--shard", f"{index}/2"]) == 0
    found = [len(Manifest.read(tmp_path / "out" / f"manifest_{index}_of_2.parquet")) for index in range(2)]
    assert found == [2, 1]


def test_nothing_is_left_of_a_recording_that_breaks(tmp_path):
    path = write(tmp_path / "run", {"/front": seconds((1, 3))})
    (part,) = path.glob("*.mcap")
    part.write_bytes(part.read_bytes()[:-50])
    (made,), _ = cut_clips(recordings([str(path)]), tmp_path / "out", SETTINGS)
    assert "rvm bag repair" in made.outcome.error
    assert not any((tmp_path / "out").glob("*"))


def test_clips_of_another_way_are_not_taken_for_these(tmp_path):
    path = write(tmp_path / "run", {"/front": seconds((1, 3))})
    cut(tmp_path / "out", path)
    assert json.loads((tmp_path / "out" / "run" / "clips.json").read_text())["clips"][0]["images"] == 20
    with pytest.raises(ValueError, match=r"was made in another way \(longest_s\)"):
        cut(tmp_path / "out", path, ClipSettings(SETTINGS.video, shortest_s=0.5, longest_s=9), resume=True)
