"""Manifests survive both formats, and say what is wrong with a bad one."""

import pytest

from rvm_training.data.manifest import Clip, Manifest, relative_path

CLIPS = [
    Clip("a.mp4", 0, 300, 29.97, "k700"),
    Clip("/data/b.webm", 30, 64, 12.0, "ssv2", 2.5, "val"),
    Clip("s3://bucket/c.tar", 0, 100, 25.0, "k700", 0.0, "train", 512, 90000),
]


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_manifests_come_back_as_written_with_paths_resolved(tmp_path, suffix):
    path = tmp_path / f"m{suffix}"
    Manifest.of(CLIPS, tmp_path).write(path)
    back = Manifest.read(path)
    assert len(back) == 3
    assert back[0] == Clip(str(tmp_path / "a.mp4"), 0, 300, 29.97, "k700")
    assert back[1] == CLIPS[1]
    assert back[2] == CLIPS[2]


def test_a_hand_written_csv_needs_no_columns_for_shards(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("path,start,frames,fps,source,weight,split\nx.mp4,0,99,30,mine,1,train\n")
    assert Manifest.read(path)[0] == Clip(str(tmp_path / "x.mp4"), 0, 99, 30.0, "mine")


def test_splits_are_selected_by_name(tmp_path):
    manifest = Manifest.of(CLIPS, tmp_path)
    assert [manifest.split("val")[0].path, len(manifest.split("train"))] == ["/data/b.webm", 2]
    with pytest.raises(ValueError, match=r"no rows of split 'test', expected one of \['train', 'val'\]"):
        manifest.split("test")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("x.mp4,0,0,30,m,1,train", "row 1 has frames 0, expected at least 1"),
        ("x.mp4,-1,9,30,m,1,train", "row 1 has start -1, expected 0 or more"),
        ("x.mp4,0,9,0,m,1,train", "row 1 has fps 0.0, expected a positive rate"),
        ("x.mp4,0,9,nan,m,1,train", "column fps has 1 empty values"),
        ("x.mp4,0,9,30,m,-1,train", "row 1 has weight -1.0, expected 0 or more"),
        (",0,9,30,m,1,train", "row 1 has path '', expected a path"),
        ("x.mp4,0,,30,m,1,train", "column frames has 1 empty values"),
        ("x.mp4,0,many,30,m,1,train", "cannot be read as a manifest"),
    ],
)
def test_bad_values_are_told_with_their_row(tmp_path, row, message):
    path = tmp_path / "m.csv"
    path.write_text(f"path,start,frames,fps,source,weight,split\n{row}\n")
    with pytest.raises(ValueError, match=message):
        Manifest.read(path)


def test_missing_and_unknown_columns_are_told(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("path,start,frames,fps,source,weight,label\nx,0,9,30,m,1,2\n")
    with pytest.raises(ValueError, match=r"missing columns \['split'\], unknown columns \['label'\]"):
        Manifest.read(path)


def test_missing_file_and_other_suffix_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="rvm manifest"):
        Manifest.read(tmp_path / "m.csv")
    (tmp_path / "m.txt").write_text("")
    with pytest.raises(ValueError, match=r"got m\.txt, expected a \.parquet or \.csv file"):
        Manifest.read(tmp_path / "m.txt")


def test_paths_below_the_manifest_are_written_relative(tmp_path):
    assert relative_path(tmp_path / "videos" / "a.mp4", tmp_path) == "videos/a.mp4"
    assert relative_path(tmp_path / "a.mp4", tmp_path / "lists") == str(tmp_path / "a.mp4")
