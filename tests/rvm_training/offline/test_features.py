"""Features of recordings: what is written, that nothing stops the rest, and that a run can be gone on with."""

import json
import shutil
from contextlib import closing

import cv2
import numpy as np
import pytest
from bags import STORE, TYPES, png, raw, stamp, write

from rvm_model.bags import BagError, BagWriter, Topic, open_bag
from rvm_model.bags.feature_coding import IMAGE, definition
from rvm_model.engines import CameraStates
from rvm_model.messages.feature_maps import Basis, msg_to_features, relative_error
from rvm_model.messages.judge import Rules
from rvm_model.messages.stamps import stamp_ns
from rvm_model.perception import Perception
from rvm_model.preprocess import preprocess
from rvm_training.offline import bag_sink
from rvm_training.offline.features import Target, extract
from rvm_training.offline.pipeline import Settings
from rvm_training.offline.recordings import recordings
from rvm_training.offline.shards import FeatureDataset, ShardSink


def run(engine, out, *inputs, settings=None, resume=False, cameras=None, **target):
    found = recordings([str(path) for path in inputs], cameras=cameras)
    return extract(found, engine, Target(out, **target), settings or Settings(batch=4), resume=resume)


def read(path):
    """Messages by topic."""
    found = {}
    with open_bag(path) as bag:
        for topic, time_ns, data in bag.messages(bag.types):
            found.setdefault(topic, []).append((time_ns, bag.deserialize(topic, data)))
    return found


def alone(engine, images, resets=()):
    """Features of one camera, frame by frame."""
    states, made = CameraStates(engine), []
    for index, image in enumerate(images):
        if index in resets:
            states.reset("one")
        features = states.step(["one"], preprocess([image], (engine.info.height, engine.info.width), "cpu"))
        made.append(features[0, 1:].unflatten(0, engine.info.grid).numpy().copy())
    return np.stack(made)


def test_a_bag_of_features_has_the_live_nodes_topics_and_the_images_stamps(engine, bag, frames, tmp_path):
    done = run(engine, tmp_path / "out", bag(), outputs=("features", "cls_token", "segmentation", "pca"))
    assert not done.failed
    assert done.outcomes[0].frames == {"front": 12, "rear": 6}
    found = read(tmp_path / "out" / "run")
    assert found.keys() == {
        f"/perception/{camera}/{name}"
        for camera in ("front", "rear")
        for name in ("features", "cls_token", "segmentation", "pca", "labels", "status")
    }
    front = found["/perception/front/features"]
    assert [stamp_ns(message) for _, message in front] == [stamp(index) for index in range(12)]
    assert [time for time, _ in front] == [stamp(index) for index in range(12)]
    assert {message.header.frame_id for _, message in front} == {"camera"}
    made = np.stack([msg_to_features(message) for _, message in front])
    np.testing.assert_allclose(made, alone(engine, frames), rtol=1e-4, atol=1e-5)
    rear = np.stack([msg_to_features(message) for _, message in found["/perception/rear/features"]])
    np.testing.assert_allclose(rear, alone(engine, frames[::2]), rtol=1e-4, atol=1e-5)
    segmentation = found["/perception/front/segmentation"][-1][1]
    assert (segmentation.encoding, segmentation.height, segmentation.width) == ("mono8", 40, 60)
    status = json.loads(found["/perception/front/status"][0][1].data)
    assert (status["engine"], status["weights"]) == (engine.info.digest, engine.info.weights)


@pytest.mark.parametrize(("coding", "most"), [("float16", 1e-3), ("int8", 1e-2), ("pca", 0.2)])
def test_features_are_stored_smaller_on_demand(engine, bag, frames, tmp_path, coding, most):
    run(engine, tmp_path / "out", bag(rear=False), coding=coding, components=16)
    found = read(tmp_path / "out" / "run")
    bases = found.get("/perception/front/features/basis", [])
    basis = Basis.of_message(bases[0][1]) if bases else None
    made = np.stack([msg_to_features(message, basis) for _, message in found["/perception/front/features"]])
    assert 0 < relative_error(alone(engine, frames), made) < most


def test_gaps_late_frames_and_damage_are_judged_as_by_the_node(engine, frames, tmp_path):
    stamps = [1.0, 1.1, 1.1, 5.0, 5.1, 5.2]
    messages = [raw(frames[i], "rgb8", round(s * 1e9)) for i, s in enumerate(stamps)]
    damaged = png(frames[4], round(5.15 * 1e9))
    damaged.data[60:200] = 0
    nonsense = raw(frames[5], "rgb8", 10**10)
    nonsense.step = 1
    path = write(
        tmp_path / "run", {"/front": messages, "/hurt": [png(frames[0]), damaged], "/odd": [messages[0], nonsense]}
    )
    done = run(engine, tmp_path / "out", path)
    (outcome,) = done.outcomes
    assert outcome.frames == {"front": 5, "hurt": 1, "odd": 1}
    assert outcome.skipped == {"front": 1}
    assert outcome.refused == {"hurt": 1, "odd": 1}
    assert outcome.resets == {"gap": 1}
    assert "hurt: got a damaged PNG" in outcome.first_refusal
    found = read(tmp_path / "out" / "run")
    made = np.stack([msg_to_features(message) for _, message in found["/perception/front/features"]])
    np.testing.assert_allclose(made, alone(engine, frames[[0, 1, 3, 4, 5]], resets=[2]), rtol=1e-4, atol=1e-5)
    status = json.loads(found["/perception/front/status"][-1][1].data)
    assert status["last_reset"] == {"reason": "gap", "stamp_ns": 5 * 10**9}
    assert json.loads((tmp_path / "out" / "run" / "features.json").read_text())["refused"] == {"hurt": 1, "odd": 1}


def test_features_that_are_not_finite_start_the_state_anew(engine, bag, frames, tmp_path, monkeypatch):
    sound, steps = Perception.sound, 0

    def third_is_not(perception, features):
        nonlocal steps
        steps += 1
        return dict.fromkeys(features, steps != 3) if steps == 3 else sound(perception, features)

    monkeypatch.setattr(Perception, "sound", third_is_not)
    (outcome,) = run(engine, tmp_path / "out", bag(rear=False)).outcomes
    assert (outcome.frames, outcome.refused, outcome.resets) == ({"front": 11}, {"front": 1}, {"not finite": 1})
    assert "not finite, or beyond all measure" in outcome.first_refusal
    made = [msg_to_features(m) for _, m in read(tmp_path / "out" / "run")["/perception/front/features"]]
    np.testing.assert_allclose(np.stack(made[2:]), alone(engine, frames[3:]), rtol=1e-4, atol=1e-5)


def test_a_gap_may_let_the_state_go_on(engine, frames, tmp_path):
    messages = [raw(frame, "rgb8", (1 + 10 * index) * 10**9) for index, frame in enumerate(frames[:3])]
    path = write(tmp_path / "run", {"/front": messages})
    run(engine, tmp_path / "out", path, settings=Settings(rules=Rules(on_gap="continue")))
    made = np.stack([msg_to_features(m) for _, m in read(tmp_path / "out" / "run")["/perception/front/features"]])
    np.testing.assert_allclose(made, alone(engine, frames[:3]), rtol=1e-5, atol=1e-6)


def test_many_inputs_are_batched_and_each_is_as_alone(engine, bag, video, frames, tmp_path):
    inputs = [bag(f"run_{index}", first=index) for index in range(3)]
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{index}.png"), frame[..., ::-1])
    done = run(engine, tmp_path / "out", *inputs, video("drive.mp4", 20), folder)
    assert [outcome.frames.total() for outcome in done.outcomes] == [18, 18, 18, 20, 12]
    expected = alone(engine, frames)
    for name in ("run_0", "run_1", "run_2"):
        made = [msg_to_features(m) for _, m in read(tmp_path / "out" / name)["/perception/front/features"]]
        np.testing.assert_allclose(np.stack(made), expected, rtol=1e-4, atol=1e-5)
    pictures = read(tmp_path / "out" / "pictures")["/perception/camera/features"]
    np.testing.assert_allclose(np.stack([msg_to_features(m) for _, m in pictures]), expected, rtol=1e-4, atol=1e-5)
    assert [stamp_ns(message) for _, message in pictures] == [10**9 + round(i / 30 * 1e9) for i in range(12)]


def test_a_bad_input_is_told_and_stops_no_other(engine, bag, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    text = write(tmp_path / "text", {"/text": [TYPES["std_msgs/msg/String"]("x")]})
    cut = bag("cut")
    (part,) = cut.glob("*.mcap")
    part.write_bytes(part.read_bytes()[:-50])
    done = run(engine, tmp_path / "out", tmp_path / "broken.mp4", text, bag("good"), cut)
    told = {outcome.recording.name: outcome.error for outcome in done.outcomes}
    assert told["good"] == ""
    assert "cannot be opened" in told["broken"]
    assert "expected colour or grey images" in told["text"]
    assert "rvm bag repair" in told["cut"]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["good"]


def test_an_input_that_breaks_on_the_way_leaves_nothing(engine, bag, tmp_path, monkeypatch):
    bags = [bag("one"), bag("two")]
    taken, count = BagWriter.write, 0

    def full(writer, *arguments):
        nonlocal count
        count += writer.folder.name == "one"
        if writer.folder.name == "one" and count > 4:
            raise BagError(f"{writer.folder}: writing failed (no space)")
        taken(writer, *arguments)

    monkeypatch.setattr(BagWriter, "write", full)
    done = run(engine, tmp_path / "out", *bags)
    assert [outcome.error.partition(": ")[2] for outcome in done.outcomes] == ["writing failed (no space)", ""]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["two"]


def test_a_run_is_gone_on_with_where_it_was_left(engine, bag, tmp_path, monkeypatch):
    out, bags = tmp_path / "out", [bag("one"), bag("two")]
    finish = bag_sink.BagSink.finish

    def interrupted(sink, outcome):
        if outcome.recording.name == "two":
            raise KeyboardInterrupt
        finish(sink, outcome)

    with monkeypatch.context() as patched:
        patched.setattr(bag_sink.BagSink, "finish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(engine, out, *bags)
    assert not (out / "two").exists()
    before = (out / "one" / "features.json").stat().st_mtime_ns
    with pytest.raises(ValueError, match="one: is there; go on with --resume"):
        run(engine, out, *bags)
    done = run(engine, out, *bags, resume=True)
    assert ([each.name for each in done.skipped], done.outcomes[0].frames.total()) == (["one"], 18)
    assert (out / "one" / "features.json").stat().st_mtime_ns == before
    assert len(read(out / "two")["/perception/front/features"]) == 12
    assert sorted(path.name for path in out.iterdir()) == ["one", "two"]


def test_results_that_were_made_in_another_way_are_not_taken_for_these(engine, bag, tmp_path):
    out, path = tmp_path / "out", bag("one", rear=False)
    run(engine, out, path)
    with pytest.raises(ValueError, match=r"one: was made in another way \(coding\)"):
        run(engine, out, path, coding="int8", resume=True)
    for file in path.iterdir():
        file.unlink()
    path.rmdir()
    bag("one", rear=True)
    done = run(engine, out, path, resume=True)
    assert (done.skipped, done.outcomes[0].frames.total()) == ([], 18), "the input is another one now"
    (out / "one" / "features.json").write_text("{}")
    with pytest.raises(ValueError, match="has no features.json that can be read"):
        run(engine, out, path, resume=True)


@pytest.mark.parametrize("kind", ["safetensors", "npz"])
@pytest.mark.parametrize("coding", ["float32", "float16"])
def test_shards_give_training_heads_every_frame(engine, bag, frames, tmp_path, kind, coding):
    run(engine, tmp_path / "out", bag("one"), bag("two"), kind=kind, coding=coding, shard_bytes=5 * 7 * 24 * 4)
    dataset = FeatureDataset(tmp_path / "out")
    assert len(dataset) == 36
    assert {shard.rows for shard in dataset.shards} <= {1, 2, 5, 6, 10}
    front = [
        dataset[sum(shard.rows for shard in dataset.shards[:place]) + row]
        for place, shard in enumerate(dataset.shards)
        for row in range(shard.rows)
        if shard.camera == "front" and shard.input.endswith("one")
    ]
    assert [item["stamp_ns"].item() for item in front] == [stamp(index) for index in range(12)]
    assert [item["index"].item() for item in front] == list(range(12))
    made, tolerance = np.stack([item["features"].numpy() for item in front]), {"float32": 1e-5, "float16": 1e-2}[coding]
    np.testing.assert_allclose(made, alone(engine, frames), rtol=1e-4, atol=tolerance)
    assert front[0]["cls_token"].shape == (24,)
    with pytest.raises(IndexError, match="got 36, expected 0 to 35"):
        dataset[36]


def test_what_does_not_go_together_is_told_before_anything_is_done(engine, bag, tmp_path):
    path = bag()
    with pytest.raises(ValueError, match="features: got int8 for npz, expected float32 or float16"):
        run(engine, tmp_path / "out", path, kind="npz", coding="int8")
    with pytest.raises(ValueError, match="outputs: got pca for npz"):
        run(engine, tmp_path / "out", path, kind="npz", outputs=("pca",))
    with pytest.raises(ValueError, match="got no shards"):
        FeatureDataset(tmp_path)


def test_results_of_another_input_are_neither_taken_nor_removed(engine, bag, frames, tmp_path):
    image = raw(frames[0], "rgb8")
    monday, tuesday = (
        write(tmp_path / day / "run", {"/front": [image] * count}) for day, count in (("mon", 1), ("tue", 2))
    )
    run(engine, tmp_path / "out", monday)
    for resume in (False, True):
        with pytest.raises(ValueError, match="run: was made of .*mon/run; give another folder with --out"):
            run(engine, tmp_path / "out", tuesday, resume=resume)
    assert (tmp_path / "out" / "run" / "features.json").is_file()


def test_results_of_other_cameras_or_rates_are_not_taken_for_these(engine, bag, tmp_path):
    path, out = bag(), tmp_path / "out"
    run(engine, out, path, cameras={"left": "/front/image_raw"})
    with pytest.raises(ValueError, match=r"was made in another way \(cameras\)"):
        run(engine, out, path, resume=True)


def test_a_changed_input_is_done_anew_only_if_asked_and_replaces_the_old_at_the_end(engine, bag, frames, tmp_path):
    out, path = tmp_path / "out", bag("run", rear=False)
    run(engine, out, path)
    shutil.rmtree(path)
    write(path, {"/front/image_raw": [raw(frames[0], "rgb8")]})
    with pytest.raises(ValueError, match="is there; go on with --resume"):
        run(engine, out, path)
    assert len(read(out / "run")["/perception/front/features"]) == 12
    run(engine, out, path, resume=True)
    assert len(read(out / "run")["/perception/front/features"]) == 1


def test_whatever_one_inputs_results_end_with_is_nothing_to_the_others(engine, bag, tmp_path, monkeypatch):
    write_row = ShardSink.write

    def fail(sink, result):
        if sink._folder.path.name == "two" and result.index == 3:
            raise KeyError("a mistake of ours")
        write_row(sink, result)

    monkeypatch.setattr(ShardSink, "write", fail)
    done = run(engine, tmp_path / "out", bag("one"), bag("two"), bag("three"), kind="npz")
    assert [outcome.error for outcome in done.outcomes] == ["", "KeyError: 'a mistake of ours'", ""]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["one", "three"]


def test_inputs_that_cannot_be_looked_at_are_told_and_stop_no_other(engine, bag, tmp_path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    (tmp_path / "empty").mkdir()
    done = run(engine, tmp_path / "out", tmp_path / "videos", tmp_path / "empty", bag("good"))
    told = {outcome.recording.name: outcome.error for outcome in done.outcomes}
    assert told["good"] == ""
    assert "No such file" in told["gone"]
    assert "a folder without bags, videos and images" in told["empty"]


def test_damaged_images_of_a_sequence_and_messages_that_are_none_are_counted(engine, frames, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, frame in enumerate(frames[:5]):
        cv2.imwrite(str(folder / f"{index}.png"), frame[..., ::-1])
    (folder / "2.png").write_bytes(b"no picture")
    definition_, messages = definition(IMAGE), [raw(frame, "rgb8", stamp(i)) for i, frame in enumerate(frames[:3])]
    with closing(BagWriter(tmp_path / "cut", [Topic("/front", IMAGE, definition_)])) as cut:
        for index, message in enumerate(messages):
            data = bytes(STORE.serialize_cdr(message, IMAGE))
            cut.write("/front", stamp(index), data if index != 1 else data[:40])
    done = run(engine, tmp_path / "out", folder, tmp_path / "cut", kind="npz")
    by_name = {outcome.recording.name: outcome for outcome in done.outcomes}
    assert (by_name["pictures"].frames, by_name["pictures"].refused) == ({"camera": 4}, {"camera": 1})
    assert (by_name["cut"].frames, by_name["cut"].refused) == ({"front": 2}, {"front": 1})
    shown = FeatureDataset(tmp_path / "out" / "pictures")
    assert [shown[row]["index"].item() for row in range(4)] == [0, 1, 3, 4]


def test_no_components_are_refused_before_anything_is_done(engine, bag, tmp_path):
    with pytest.raises(ValueError, match="components: got 0, expected at least 1"):
        run(engine, tmp_path / "out", bag(), coding="pca", components=0)
