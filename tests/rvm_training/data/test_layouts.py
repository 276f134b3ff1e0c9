"""The public datasets' layouts, on tiny made-up copies of each."""

import json

import pytest

from rvm_training.data.build import probe_clips
from rvm_training.data.layouts import LAYOUTS, hashed_splits, read_layout


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")


def found(name, folder, val_share=0.0):
    return {(str(item.path.relative_to(folder)), item.split) for item in read_layout(name, folder, val_share)}


def test_a_plain_folder_takes_its_splits_from_the_top_folders(tmp_path):
    touch(tmp_path, "train/a.mp4", "val/deep/b.MKV", "other/c.webm", "readme.txt")
    assert found("folder", tmp_path) == {
        ("train/a.mp4", "train"), ("val/deep/b.MKV", "val"), ("other/c.webm", "train"),
    }  # fmt: skip


def test_howto100m_and_yt8m_are_videos_by_id(tmp_path):
    touch(tmp_path, "videos/0Nz3kTSiC3k.mp4", "videos/sub/-_x.webm", "HowTo100M_v1.csv")
    for name in ("howto100m", "yt8m"):
        assert {path for path, _ in found(name, tmp_path)} == {"videos/0Nz3kTSiC3k.mp4", "videos/sub/-_x.webm"}


def test_kinetics_splits_are_folders_with_or_without_classes(tmp_path):
    touch(tmp_path, "train/abseiling/x_000010_000020.mp4", "k700/train/y_000001_000011.mp4", "validate/z_0_10.mp4",
          "test/t_0_10.mp4")  # fmt: skip
    assert found("kinetics700", tmp_path) == {
        ("train/abseiling/x_000010_000020.mp4", "train"),
        ("k700/train/y_000001_000011.mp4", "train"),
        ("validate/z_0_10.mp4", "val"),
    }


def test_ssv2_splits_come_from_the_label_files(tmp_path):
    touch(tmp_path, "20bn-something-something-v2/1.webm", "20bn-something-something-v2/2.webm", "vids/3.webm")
    (tmp_path / "something-something-v2-train.json").write_text(json.dumps([{"id": "1"}, {"id": "9999"}]))
    (tmp_path / "something-something-v2-validation.json").write_text(json.dumps([{"id": "2", "label": "x"}]))
    assert found("ssv2", tmp_path) == {
        ("20bn-something-something-v2/1.webm", "train"),
        ("20bn-something-something-v2/2.webm", "val"),
    }


def test_ssv2_without_labels_is_told(tmp_path):
    touch(tmp_path, "1.webm")
    with pytest.raises(FileNotFoundError, match=r"no file that ends in train\.json"):
        read_layout("ssv2", tmp_path)
    (tmp_path / "labels_train.json").write_text('{"1": "x"}')
    with pytest.raises(ValueError, match="expected a JSON list of objects with an id"):
        read_layout("ssv2", tmp_path)


def test_ytbb_takes_the_annotated_stretches_once_each(tmp_path):
    touch(tmp_path, "AbC.mp4", "v/DeF.mp4")
    box = "present,0.1,0.2,0.3,0.4"
    rows = [f"AbC,{ms},0,person,{obj},{box}" for obj in (0, 1) for ms in (4000, 5000, 9000)]
    rows += [f"AbC,{ms},23,zebra,0,{box}" for ms in (60000, 62000)] + [f"gone,1000,0,person,0,{box}"]
    (tmp_path / "yt_bb_detection_train.csv").write_text("\n".join(rows))
    (tmp_path / "yt_bb_detection_validation.csv").write_text(f"DeF,1000,0,person,0,{box}\nDeF,3000,0,person,0,{box}\n")
    items = read_layout("ytbb", tmp_path)
    assert [(item.path.stem, item.split, item.seconds) for item in items] == [
        ("AbC", "train", (4.0, 9.0)), ("AbC", "train", (60.0, 62.0)), ("DeF", "val", (1.0, 3.0)),
    ]  # fmt: skip


def test_ytbb_with_a_malformed_table_is_told(tmp_path):
    touch(tmp_path, "AbC.mp4")
    (tmp_path / "yt_bb_detection_train.csv").write_text("AbC,soon,0,person,0\n")
    with pytest.raises(ValueError, match=r"got the row \['AbC', 'soon'"):
        read_layout("ytbb", tmp_path)


@pytest.mark.parametrize("name", ["folder", "howto100m", "kinetics700", "yt8m"])
def test_an_empty_folder_is_told_with_what_is_expected(tmp_path, name):
    with pytest.raises(ValueError, match=f"no videos of the layout '{name}', which expects"):
        read_layout(name, tmp_path)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_missing_folder_is_told(tmp_path, name):
    with pytest.raises(FileNotFoundError, match="no folder at"):
        read_layout(name, tmp_path / "nothing")


def test_hashed_splits_keep_their_share_and_never_change():
    many, few = (hashed_splits([f"clip{i}" for i in range(count)], 0.2) for count in (2000, 100))
    assert abs(list(many.values()).count("val") / 2000 - 0.2) < 0.03
    assert few == {key: many[key] for key in few}


@pytest.mark.parametrize("count", range(1, 20))
def test_a_few_videos_have_one_for_validation_too(count):
    splits = list(hashed_splits([f"clip{i}" for i in range(count)], 0.001).values())
    assert splits.count("val") == (1 if count > 1 else 0)
    assert "val" not in hashed_splits([f"clip{i}" for i in range(count)], 0.0).values()


def test_linked_folders_are_followed(tmp_path):
    touch(tmp_path, "part/a.mp4", "data/b.mp4")
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "part")
    assert {path for path, _ in found("folder", tmp_path / "data")} == {"b.mp4", "linked/a.mp4"}


def test_rows_hold_length_and_rate_and_bad_files_are_listed(tmp_path, video):
    video("data/train/good.mp4", frames=60, fps=20)
    touch(tmp_path, "data/train/bad.mp4")
    clips, problems = probe_clips(read_layout("folder", tmp_path / "data"), source="mine", folder=tmp_path)
    assert [(clip.path, clip.start, clip.frames, clip.fps, clip.source) for clip in clips] == [
        ("data/train/good.mp4", 0, 60, 20.0, "mine")
    ]
    assert len(problems) == 1
    assert "bad.mp4: cannot be opened" in problems[0]


def test_a_stretch_becomes_frames_of_the_video_and_one_beyond_it_a_problem(tmp_path, video):
    video("AbC.mp4", frames=100, fps=10)
    rows = ["AbC,2000,0,p,0,x", "AbC,4000,0,p,0,x", "AbC,9000,1,p,0,x", "AbC,19000,1,p,0,x", "AbC,50000,2,p,0,x"]
    (tmp_path / "yt_bb_detection_train.csv").write_text("\n".join([*rows, "AbC,51000,2,p,0,x"]))
    clips, problems = probe_clips(read_layout("ytbb", tmp_path), source="ytbb", folder=tmp_path)
    assert [(clip.start, clip.frames) for clip in clips] == [(20, 20), (90, 10)]
    assert len(problems) == 1
    assert "has no frames; the video has 10.0 s" in problems[0]
