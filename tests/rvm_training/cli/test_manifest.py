"""`rvm manifest` from folders and shards to one list, and what it refuses before it opens a video."""

import pytest

from rvm_training.__main__ import main
from rvm_training.data.manifest import Manifest


def manifest_of(path):
    manifest = Manifest.read(path)
    return [manifest[row] for row in range(len(manifest))]


def test_folders_become_one_list_and_then_shards(tmp_path, video, capsys):
    for name in ("one/a.mp4", "one/b.mkv", "two/c.mp4"):
        video(name, frames=60)
    (tmp_path / "one" / "bad.mp4").write_bytes(b"no video")
    lists = tmp_path / "lists"
    assert main(["manifest", "folder", str(tmp_path / "one"), "--out", str(lists / "one.parquet")]) == 0
    told = capsys.readouterr().out
    assert "left out 1 that cannot be used" in told
    assert "2 clips" in told
    assert "bad.mp4: cannot be opened" in (lists / "one.quarantine.txt").read_text()
    words = ["--source", "second", "--weight", "2", "--val-share", "0"]
    assert main(["manifest", "folder", str(tmp_path / "two"), "--out", str(lists / "two.csv"), *words]) == 0
    both = [str(lists / "one.parquet"), str(lists / "two.csv")]
    assert main(["manifest", "merge", *both, "--out", str(lists / "all.parquet")]) == 0
    rows = manifest_of(lists / "all.parquet")
    assert [(row.source, row.weight, row.frames) for row in rows] == [
        ("videos", 1.0, 60), ("videos", 1.0, 60), ("second", 2.0, 60),
    ]  # fmt: skip
    assert {row.split for row in rows[:2]} == {"train", "val"}
    assert main(["manifest", "pack", str(lists / "all.parquet"), "--out", str(tmp_path / "shards")]) == 0
    packed = manifest_of(tmp_path / "shards" / "manifest.parquet")
    assert [(row.source, row.split) for row in packed] == [(row.source, row.split) for row in rows]
    assert main(["manifest", "shards", str(tmp_path / "shards"), "--out", str(lists / "again.csv")]) == 0
    assert [(row.source, row.split) for row in manifest_of(lists / "again.csv")] == [
        (row.source, row.split) for row in rows
    ]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "m.txt"], "got m.txt, expected a .parquet"),
        (["--out", "m.csv", "--weight", "-1"], "--weight: got -1"),
    ],
)
def test_what_cannot_be_written_is_refused_before_videos_are_opened(
    tmp_path, video, monkeypatch, capsys, words, message
):
    video("in/a.mp4")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rvm_training.data.build.probe", lambda _: pytest.fail("a video was opened"))
    assert main(["manifest", "folder", "in", *words]) == 1
    assert message in capsys.readouterr().err


def test_a_folder_of_nothing_usable_is_told(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "bad.mp4").write_bytes(b"no video")
    assert main(["manifest", "folder", str(tmp_path / "in"), "--out", str(tmp_path / "m.csv")]) == 1
    assert "no usable video; see" in capsys.readouterr().err
    assert "bad.mp4" in (tmp_path / "m.quarantine.txt").read_text()
    assert not (tmp_path / "m.csv").exists()
