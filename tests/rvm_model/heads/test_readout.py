"""Readouts: heads that name classes, and the files they live in."""

import dataclasses
import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from rvm_model.engines import EngineInfo
from rvm_model.heads.clusters import labels_at
from rvm_model.heads.palette import palette
from rvm_model.heads.readout import (
    FORMAT,
    Readout,
    ReadoutConfig,
    ReadoutError,
    ReadoutLabels,
    SegmentationReadout,
    confidence,
    load_readout,
    save_readout,
)

D, K = 12, 3
WEIGHTS = "sha256:" + "0123456789abcdef" * 4
OTHER = "sha256:" + "f" * 64
LABELS = ReadoutLabels(("floor", "chair", "cup"), ids=(7, 11, 24), ignore=255)
INFO = EngineInfo(
    kind="torch",
    weights=WEIGHTS,
    trained=True,
    device="cpu",
    precision="fp32",
    height=64,
    width=80,
    patch_size=16,
    dim=D,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def new_head(hidden: int = 0) -> SegmentationReadout:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return SegmentationReadout(ReadoutConfig(D, K, hidden))


def scene(seed: int, h: int = 8, w: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens [h, w, D] around one prototype for each class, at any scale, and their classes [h, w]."""
    prototypes = torch.linalg.qr(torch.randn(D, D, generator=seeded(0))).Q[:K]
    classes = torch.randint(0, K, (h, w), generator=seeded(seed))
    scale = torch.rand(h, w, 1, generator=seeded(seed + 1)) * 50 + 1
    return scale * (prototypes[classes] + 0.1 * torch.randn(h, w, D, generator=seeded(seed + 2))), classes


def fit(head: SegmentationReadout, tokens: torch.Tensor, classes: torch.Tensor, steps: int = 60) -> None:
    optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(tokens).flatten(0, 1), classes.flatten()).backward()
        optimizer.step()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "indoor.safetensors"


@pytest.fixture
def saved(path):
    save_readout(path, new_head(), LABELS, weights=WEIGHTS, image_size=(64, 80), trained_on="our office")
    return path


def rewrite(path, change_tensors=None, change_description=None, **metadata):
    """Write the file anew with something else in it."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (not a dict)
        entries = dict(file.metadata())
    description = json.loads(entries["readout"])
    if change_tensors:
        change_tensors(tensors)
    if change_description:
        change_description(description)
    save_file(tensors, path, metadata=entries | {"readout": json.dumps(description)} | metadata)


@pytest.mark.parametrize("hidden", [0, 5])
def test_what_is_saved_is_loaded(path, hidden):
    head = new_head(hidden)
    save_readout(path, head, LABELS, weights=WEIGHTS, image_size=(64, 80), trained_on="our office")
    readout = load_readout(path)
    tokens, _ = scene(1)
    assert torch.equal(readout(tokens), head(tokens))
    assert readout.head.config == ReadoutConfig(D, K, hidden)
    assert readout.labels == LABELS
    assert (readout.weights, readout.image_size, readout.trained_on) == (WEIGHTS, (64, 80), "our office")
    assert list(path.parent.iterdir()) == [path], "nothing is left beside it"
    assert not any(parameter.requires_grad for parameter in readout.head.parameters())


@pytest.mark.parametrize("hidden", [0, 16])
def test_a_trained_head_labels_tokens_that_it_has_not_seen(path, hidden):
    head = new_head(hidden)
    fit(head, *scene(10))
    save_readout(path, head, LABELS, weights=WEIGHTS, image_size=(64, 80))
    tokens, classes = scene(20)
    logits = load_readout(path)(tokens)
    assert logits.dtype == torch.float32
    assert (logits.argmax(-1) == classes).float().mean() > 0.97
    image = labels_at(logits, 64, 80).view(8, 8, 10, 8)[:, 4, :, 4]  # One pixel near the middle of each token.
    assert (image.long() == classes).float().mean() > 0.97


def test_the_scale_of_a_token_changes_nothing():
    readout = Readout(new_head(), LABELS, WEIGHTS, (64, 80))
    tokens, _ = scene(1)
    torch.testing.assert_close(readout(100 * tokens), readout(tokens), rtol=1e-4, atol=1e-4)


def test_it_is_norm_hidden_layer_with_gelu_and_linear_layer():
    head = SegmentationReadout(ReadoutConfig(dim=2, classes=2, hidden=2))
    head.load_state_dict(
        {
            "norm.weight": torch.tensor([1.0, 2.0]),
            "norm.bias": torch.tensor([0.0, 1.0]),
            "hidden.weight": torch.eye(2),
            "hidden.bias": torch.zeros(2),
            "out.weight": torch.tensor([[0.0, 1.0], [1.0, 0.0]]),
            "out.bias": torch.tensor([0.0, 10.0]),
        }
    )
    # Normalised to 1 and -1, weighted to 1 and -1, and GELU is x times the normal distribution up to x.
    expected = torch.tensor([-0.1586553, 10 + 0.8413447])
    torch.testing.assert_close(head(torch.tensor([7.0, 3.0])), expected, rtol=0, atol=1e-5)


def test_confidence_is_the_winners_share_of_the_softmax():
    logits = torch.tensor([[[0.0, 0.0, 0.0], [1000.0, 0.0, 0.0]], [[0.0, 0.0, -1000.0], [3.0, 1.0, 2.0]]])
    expected = torch.tensor([[1 / 3, 1.0], [0.5, 1 / (1 + torch.e**-2 + torch.e**-1)]])
    torch.testing.assert_close(confidence(logits), expected)


def test_a_bad_token_is_read_as_the_mean_of_the_others():
    readout = Readout(new_head(), LABELS, WEIGHTS, (64, 80))
    tokens, _ = scene(1)
    expected = readout(tokens)
    bad = tokens.clone()
    bad[2, 3] = float("nan")
    logits = readout(bad).clone()
    assert logits.isfinite().all()
    logits[2, 3] = expected[2, 3]
    assert torch.equal(logits, expected)


def test_half_precision_features_are_read_alike():
    readout = Readout(new_head(), LABELS, WEIGHTS, (64, 80))
    tokens, _ = scene(1)
    logits = readout(tokens.half())
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, readout(tokens), rtol=0, atol=1e-2)


def test_colours_and_ids_have_defaults():
    labels = ReadoutLabels(("a", "b", "c"))
    assert [list(colour) for colour in labels.colours] == palette(3).tolist()
    assert labels.ids == (0, 1, 2)
    assert labels.ignore is None


def test_tokens_of_another_width_are_refused():
    readout = Readout(new_head(), LABELS, WEIGHTS, (64, 80))
    with pytest.raises(ValueError, match="got width 8, expected 12"):
        readout(torch.zeros(4, 4, 8))
    with pytest.raises(ValueError, match="expected floating point"):
        readout(torch.zeros(16, D))


def test_the_engine_must_run_the_model_that_it_was_trained_on(saved):
    readout = load_readout(saved)
    readout.check_engine(INFO)
    readout.check_engine(dataclasses.replace(INFO, kind="onnx", precision="int8", height=32))
    with pytest.raises(ReadoutError, match=r"indoor.safetensors: got an engine with .* width 384, expected 12"):
        readout.check_engine(dataclasses.replace(INFO, dim=384))
    with pytest.raises(ReadoutError, match=f"got an engine with weights {OTHER}, expected {WEIGHTS}"):
        readout.check_engine(dataclasses.replace(INFO, weights=OTHER))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ()}, "names: got 0"),
        ({"names": ("a", "b", "a")}, "names: got 'a' twice"),
        ({"names": ("a", " ", "c")}, "names: got ' '"),
        ({"names": ("a", "b\n", "c")}, "names: got 'b"),
        ({"colours": ((0, 0, 0),)}, "colours: got 1 for 3"),
        ({"colours": ((0, 0, 0), (1, 2, 256), (3, 3, 3))}, r"got \(1, 2, 256\)"),
        ({"colours": ((0, 0, 0), (1, 2), (3, 3, 3))}, r"got \(1, 2\)"),
        ({"ids": (1, 2, 1)}, "ids: got 1 twice"),
        ({"ids": (1, 2, 65536)}, "got 65536"),
        ({"ignore": 11, "ids": (7, 11, 24)}, "ignore: got 11"),
        ({"ignore": -1}, "got -1"),
    ],
)
def test_labels_that_nobody_could_tell_apart_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ReadoutLabels(**{"names": ("a", "b", "c")} | change)


@pytest.mark.parametrize("change", [{"dim": 0}, {"classes": 0}, {"classes": 65535}, {"hidden": -1}, {"dim": 12.0}])
def test_sizes_out_of_range_are_refused(change):
    with pytest.raises(ValueError, match="got"):
        ReadoutConfig(**{"dim": D, "classes": K} | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": "rvm_small16_256"}, "weights: got 'rvm_small16_256'"),
        ({"weights": WEIGHTS[:-1]}, "64 hexadecimal digits"),
        ({"labels": ReadoutLabels(("a", "b"))}, "got 2 names, expected 3"),
        ({"image_size": (0, 64)}, "image_size: got"),
        ({"path": "readout.pt"}, "got readout.pt, expected a file name ending in .safetensors"),
    ],
)
def test_what_does_not_fit_together_is_not_saved(tmp_path, change, message):
    values = {"path": "readout.safetensors", "labels": LABELS, "weights": WEIGHTS, "image_size": (64, 80)} | change
    name, labels = values.pop("path"), values.pop("labels")
    with pytest.raises(ValueError, match=message):
        save_readout(tmp_path / name, new_head(), labels, **values)
    assert not list(tmp_path.iterdir())


def test_a_diverged_head_is_not_saved_and_leaves_the_file_that_was_there(saved):
    before = saved.read_bytes()
    head = new_head()
    head.out.bias.data[1] = float("nan")
    with pytest.raises(ValueError, match="out.bias has values that are not finite"):
        save_readout(saved, head, LABELS, weights=WEIGHTS, image_size=(64, 80))
    assert saved.read_bytes() == before


def test_a_write_that_fails_leaves_the_file_that_was_there(saved, monkeypatch):
    before = saved.read_bytes()

    def full(self, data):
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError("No space left on device")

    monkeypatch.setattr(type(saved), "write_bytes", full)
    with pytest.raises(OSError, match="indoor.safetensors cannot be written: No space left"):
        save_readout(saved, new_head(), LABELS, weights=OTHER, image_size=(64, 80))
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file at .*gone.safetensors; train one"):
        load_readout(tmp_path / "gone.safetensors")


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_truncated_file_is_refused_by_name(saved, kept):
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(ReadoutError, match="indoor.safetensors: cannot be read as safetensors.*copy the file again"):
        load_readout(saved)


def test_garbage_is_refused_by_name(path):
    path.write_bytes(torch.randint(0, 256, (4000,), generator=seeded(), dtype=torch.uint8).numpy().tobytes())
    with pytest.raises(ReadoutError, match="indoor.safetensors: cannot be read as safetensors"):
        load_readout(path)


def test_another_version_is_refused(saved):
    rewrite(saved, format="rvm-readout-2")
    with pytest.raises(ReadoutError, match=f"got format 'rvm-readout-2' in the metadata, expected '{FORMAT}'"):
        load_readout(saved)


def test_unknown_metadata_and_a_description_that_is_no_json_are_refused(saved):
    before = saved.read_bytes()
    rewrite(saved, more="of it")
    with pytest.raises(ReadoutError, match=r"got entries \['format', 'more', 'readout'\], expected"):
        load_readout(saved)
    saved.write_bytes(before)
    rewrite(saved, readout="{")
    with pytest.raises(ReadoutError, match="is no JSON"):
        load_readout(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(more=1), "got entries .*'more'.*expected"),
        (lambda d: d.pop("weights"), "got entries .*expected .*'weights'"),
        (lambda d: d["config"].update(dropout=0.1), "'dropout'"),
        (lambda d: d["labels"].update(icons=[]), "'icons'"),
        (lambda d: d.update(config=None), "got 'None', expected a mapping"),
        (lambda d: d["config"].update(dim=8), "got weights .*expected .*8"),
        (lambda d: d["config"].update(hidden=4), "got weights"),
        (lambda d: d["config"].update(dim=2**62), "dim: got"),
        (lambda d: d["labels"]["names"].pop(), "colours: got 3 for 2 names"),
        (lambda d: d["labels"].update(names=["a", "b", ["c"]]), "names: got"),
        (lambda d: d["labels"].update(names="abc"), "names: got 'abc', expected a list"),
        (lambda d: d["labels"].update(names=["a", "b", "a"]), "got 'a' twice"),
        (lambda d: d["labels"]["colours"].__setitem__(0, [0, 0, 300]), "colours: got"),
        (lambda d: d["labels"]["colours"].__setitem__(0, 7), "colours: got 7, expected a list"),
        (lambda d: d["labels"].update(colours=[]), "got 3 ids and 0 colours"),
        (lambda d: d["labels"].update(ids=[0, 2, True]), "got True"),
        (lambda d: d.update(weights="mine"), "weights: got 'mine'"),
        (lambda d: d.update(weights=None), "weights and trained_on: got None"),
        (lambda d: d.update(image_size=[64]), "image_size: got"),
    ],
)
def test_a_description_of_no_readout_is_refused(saved, change, message):
    rewrite(saved, change_description=change)
    with pytest.raises(ReadoutError, match=rf"indoor.safetensors: .*{message}"):
        load_readout(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("norm.bias"), "got weights .*expected .*norm.bias"),
        (lambda t: t.update(more=torch.zeros(2)), "got weights .*more"),
        (lambda t: t.update({"out.weight": torch.zeros(K, D + 1)}), r"\(3, 13\)"),
        (lambda t: t.update({"out.bias": torch.zeros(K).half()}), "got out.bias as torch.float16, expected"),
        (lambda t: t["out.bias"].fill_(float("inf")), "got out.bias with values that are not finite"),
    ],
)
def test_weights_of_another_head_are_refused(saved, change, message):
    rewrite(saved, change_tensors=change)
    with pytest.raises(ReadoutError, match=message):
        load_readout(saved)


def test_a_readout_of_many_classes_comes_back(path):
    count = 300
    labels = ReadoutLabels(tuple(f"class {index}" for index in range(count)))
    head = SegmentationReadout(ReadoutConfig(D, count))
    save_readout(path, head, labels, weights="untrained:rvm_small16_256:0", image_size=(64, 80))
    logits = load_readout(path)(scene(1)[0])
    assert logits.shape == (8, 10, count)
    assert labels_at(logits, 20, 30).dtype == torch.int32


@pytest.mark.gpu
def test_it_reads_on_the_device(saved):
    tokens, _ = scene(1)
    logits = load_readout(saved, device="cuda")(tokens.cuda())
    torch.testing.assert_close(logits.cpu(), load_readout(saved)(tokens), rtol=1e-4, atol=1e-4)
