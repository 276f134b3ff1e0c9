"""Tar shards hold the same clips as the files they were packed from."""

import io
import json
import tarfile
from dataclasses import replace
from typing import ClassVar

import fsspec
import numpy as np
import pytest

from rvm_training.data.manifest import Clip, Manifest
from rvm_training.data.shards import index_shards, merge, pack
from rvm_training.data.sources import opened
from rvm_training.data.video import VideoError, read_frames


class CountingFile(fsspec.spec.AbstractBufferedFile):
    def _fetch_range(self, start, end):
        self.fs.fetched.append((start, end))
        return self.fs.data[start:end]


class CountingFileSystem(fsspec.AbstractFileSystem):
    """A store that notes which ranges are asked for."""

    data = np.random.default_rng(0).bytes(200_000)
    fetched: ClassVar[list[tuple[int, int]]] = []

    def info(self, path, **_):
        return {"name": path, "size": len(self.data), "type": "file"}

    def _open(self, path, mode="rb", **options):
        options.pop("autocommit", None)
        return CountingFile(self, path, mode, **options)


@pytest.fixture
def manifest(tmp_path, video):
    video("in/a.mp4", frames=30)
    video("in/b.mkv", frames=40, gop=8)
    return Manifest.of(
        [
            Clip("a.mp4", 0, 30, 25.0, "x"),
            Clip("b.mkv", 0, 20, 25.0, "y", 2.0),
            Clip("b.mkv", 20, 20, 25.0, "y", split="val"),
        ],
        tmp_path / "in",
    )


def frames_of(clip: Clip, indices):
    with opened(clip) as file:
        return read_frames(file, [clip.start + index for index in indices], clip.fps)


@pytest.mark.parametrize("shard_bytes", [1, 2**30], ids=["one-each", "all-in-one"])
def test_packed_clips_give_the_same_frames(tmp_path, manifest, shard_bytes):
    packed, problems = pack(manifest, tmp_path / "shards", shard_bytes=shard_bytes)
    assert not problems
    assert len(list((tmp_path / "shards").glob("*.tar"))) == (2 if shard_bytes == 1 else 1)
    for row in range(3):
        assert np.array_equal(frames_of(packed[row], [0, 7, 19]), frames_of(manifest[row], [0, 7, 19]))
        kept = replace(packed[row], path=manifest[row].path, offset=0, size=0)
        assert kept == manifest[row]
    # One video, two clips: one copy.
    assert (packed[1].offset, packed[1].path) == (packed[2].offset, packed[2].path)


def test_shards_are_plain_webdataset_tars(tmp_path, manifest):
    pack(manifest, tmp_path / "shards")
    with tarfile.open(tmp_path / "shards" / "shard-00000.tar") as shard:
        names = shard.getnames()
        about = json.loads(shard.extractfile("000000001.json").read())
    assert names == ["000000000.mp4", "000000000.json", "000000001.mkv", "000000001.json"]
    assert about == {"source": "y", "split": "train", "fps": 25.0, "origin": "b.mkv"}


def test_existing_shards_are_not_overwritten(tmp_path, manifest):
    pack(manifest, tmp_path / "shards")
    with pytest.raises(FileExistsError, match="give a new folder"):
        pack(manifest, tmp_path / "shards")


def test_shards_of_others_are_indexed(tmp_path, video):
    data = video("v.mp4", frames=33).read_bytes()
    path = tmp_path / "shards" / "00001.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as shard:  # The default format, whose headers may take several blocks.
        for name, content in (("a" * 150 + ".mp4", data), ("k.json", b"{}"), ("bad.mp4", b"x" * 100)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            shard.addfile(info, io.BytesIO(content))
    clips, problems = index_shards(path.parent, source="theirs", manifest_folder=tmp_path)
    assert [(clip.path, clip.frames, clip.fps, clip.source) for clip in clips] == [
        ("shards/00001.tar", 33, 25.0, "theirs")
    ]
    assert len(problems) == 1
    assert "bad.mp4" in problems[0]
    clip = Manifest.of(clips, tmp_path)[0]
    assert frames_of(clip, [5])[0, 20, 20, 0] == 5


def test_our_own_shards_keep_source_and_split(tmp_path, manifest):
    pack(manifest, tmp_path / "shards")
    clips, problems = index_shards(tmp_path / "shards", manifest_folder=tmp_path, val_share=0.5)
    assert not problems
    assert [(clip.source, clip.split) for clip in clips] == [("x", "train"), ("y", "train")]


def test_a_video_without_a_split_beside_it_gets_one(tmp_path, manifest):
    rows = [replace(manifest[row], split="") for row in range(2)]
    pack(Manifest.of(rows, tmp_path / "in"), tmp_path / "shards")
    clips, _ = index_shards(tmp_path / "shards", manifest_folder=tmp_path, val_share=0.5)
    assert {clip.split for clip in clips} <= {"train", "val"}


def test_damaged_shards_and_videos_are_listed_and_the_rest_is_used(tmp_path, manifest):
    pack(manifest, tmp_path / "shards")
    (tmp_path / "shards" / "cut.tar").write_bytes(b"no tar file" * 100)
    clips, problems = index_shards(tmp_path / "shards", manifest_folder=tmp_path)
    assert len(clips) == 2
    assert len(problems) == 1
    assert problems[0].startswith("cut.tar: cannot be read as a tar file")


def test_packing_leaves_out_what_cannot_be_read(tmp_path, manifest):
    (tmp_path / "in" / "a.mp4").unlink()
    packed, problems = pack(manifest, tmp_path / "shards")
    assert [packed[row].source for row in range(len(packed))] == ["y", "y"]
    assert len(problems) == 1
    assert "a.mp4" in problems[0]


def test_only_blocks_around_the_frames_are_fetched_from_a_store(tmp_path, monkeypatch):
    monkeypatch.setattr("rvm_training.data.sources.BLOCK_BYTES", 1000)
    fsspec.register_implementation("counting", CountingFileSystem, clobber=True)
    with opened(Clip("counting://s.tar", 0, 9, 25.0, offset=50_000, size=100_000)) as file:
        file.seek(40_000)
        assert file.read(5_000) == CountingFileSystem.data[90_000:95_000]
        with pytest.raises(VideoError, match="counting://s.tar at byte 50000"):
            read_frames(file, [0], 25.0)
    start, end = CountingFileSystem.fetched[0]
    assert start == 90_000
    assert end < 100_000, "a buffer and a block beyond what was asked for"


def test_clips_are_read_through_any_file_system_that_fsspec_knows(tmp_path, manifest):
    pack(manifest, tmp_path / "shards")
    data = (tmp_path / "shards" / "shard-00000.tar").read_bytes()
    fsspec.filesystem("memory").pipe_file("/s.tar", data)
    packed, _ = pack(manifest, tmp_path / "again")
    remote = replace(packed[1], path="memory://s.tar")
    assert np.array_equal(frames_of(remote, [3]), frames_of(manifest[1], [3]))
    fsspec.filesystem("memory").pipe_file("/a.mp4", (tmp_path / "in" / "a.mp4").read_bytes())
    assert np.array_equal(frames_of(Clip("memory://a.mp4", 0, 30, 25.0), [3]), frames_of(manifest[0], [3]))
    fsspec.filesystem("memory").pipe_file("/bad.mp4", b"no video")
    with pytest.raises(VideoError, match=r"memory://bad\.mp4: cannot be decoded"):
        frames_of(Clip("memory://bad.mp4", 0, 30, 25.0), [3])


def test_a_missing_shard_is_a_video_error(tmp_path):
    with pytest.raises(VideoError, match="cannot be opened"):
        frames_of(Clip(str(tmp_path / "no.tar"), 0, 9, 25.0, offset=512, size=100), [0])


def test_merged_manifests_point_to_the_same_files(tmp_path, manifest):
    manifest.write(tmp_path / "in" / "m.csv")
    Manifest.of([Clip("/elsewhere/z.mp4", 0, 9, 30.0, "z"), Clip("s3://b/q.mp4", 0, 9, 30.0, "z")], tmp_path).write(
        tmp_path / "n.parquet"
    )
    (tmp_path / "lists").mkdir()
    merge([tmp_path / "in" / "m.csv", tmp_path / "n.parquet"], tmp_path / "lists").write(tmp_path / "lists" / "all.csv")
    back = Manifest.read(tmp_path / "lists" / "all.csv")
    assert [back[i].path for i in range(5)] == [
        str(tmp_path / "in" / "a.mp4"), str(tmp_path / "in" / "b.mkv"), str(tmp_path / "in" / "b.mkv"),
        "/elsewhere/z.mp4", "s3://b/q.mp4",
    ]  # fmt: skip
