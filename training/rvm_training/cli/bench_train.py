"""`rvm bench-train`: how fast this machine trains, split into decoding, transfer and step, all in one run.

The step is timed in several layouts in turn, so that a machine that slows down slows all of them; `plain port` is the
authors' step as it would be written down in torch: attention by einsum, nothing compiled.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MethodType

import numpy as np
import torch
from torch import Tensor

from rvm_model.config import PRESETS, RVMConfig
from rvm_model.layers import Attention, as_unit_float
from rvm_model.rvm import RVM
from rvm_training.benchmark.timing import interleaved
from rvm_training.data.crop import CropConfig
from rvm_training.data.dataset import TRAIN_STREAM, Batch, ClipDataset, collate
from rvm_training.data.frames import FrameSampling
from rvm_training.data.manifest import Clip, Manifest
from rvm_training.data.mixture import Mixture
from rvm_training.data.sources import ClipSource, SceneSource, VideoSource
from rvm_training.pretraining.flops import matmul_rate, step_flops
from rvm_training.pretraining.layout import Checkpointing, compile_blocks, recompute
from rvm_training.pretraining.memory import PeakMemory
from rvm_training.pretraining.objectives import pixel_loss
from rvm_training.synthetic.demo_clip import DemoClipConfig, write
from rvm_training.synthetic.generate import SceneConfig

VARIANTS = ("plain port", "fused attention", "compiled", "recompute step", "recompute block", "compiled, block")
"""What the step is timed as."""
MASK_RATIO = 0.95


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status."""
    parser = argparse.ArgumentParser(prog="rvm bench-train", description=__doc__)
    parser.add_argument("--preset", choices=PRESETS, default="rvm_small16_256", help="network (default: %(default)s)")
    parser.add_argument("--size", type=int, nargs=2, default=(256, 256), metavar=("H", "W"), help="default: 256 256")
    parser.add_argument("--batch", type=int, default=2, help="clips of a micro-batch (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="measured steps of each layout (default: %(default)s)")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS, help="layouts (default: all)")
    parser.add_argument("--manifest", type=Path, help="videos to decode (default: one that is rendered first)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args(arguments)
    if min(args.rounds, args.batch) < 1:
        raise ValueError(f"got {args.rounds} rounds of {args.batch} clips, expected at least 1 of each")
    device = torch.device(args.device)
    size = (args.size[0], args.size[1])
    config, sampling = PRESETS[args.preset], FrameSampling()

    report: dict[str, object] = {"preset": args.preset, "size": size, "batch": args.batch, "torch": torch.__version__}
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{args.preset} at {size[0]}x{size[1]}, {args.batch} clips, torch {torch.__version__}, {where}\n")
    with tempfile.TemporaryDirectory() as folder:
        report["data"] = _data(args.manifest or _video(Path(folder)), sampling, size, args.batch, device)
    report["step"] = _steps(config, sampling, size, args.batch, device, args.rounds, args.variants)
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def _video(folder: Path) -> Path:
    """A manifest of one video of the size that training videos are stored at: short side 256, GOP 30."""
    write(folder, DemoClipConfig(frames=120, height=256, width=340))
    manifest = folder / "manifest.csv"
    Manifest.of([Clip("clip.mp4", 0, 120, 10.0)], folder).write(manifest)
    return manifest


def _data(
    manifest_path: Path, sampling: FrameSampling, size: tuple[int, int], batch: int, device: torch.device
) -> dict[str, float]:
    manifest = Manifest.read(manifest_path)
    sources: dict[str, ClipSource] = {
        "decode video": VideoSource(manifest, Mixture(manifest, None, shortest=sampling.shortest), sampling, "pyav"),
        "render scenes": SceneSource(SceneConfig(), sampling, size),
    }
    rates = {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # As in a worker.
    for name, source in sources.items():
        data = ClipDataset(
            source, seed=0, stream=TRAIN_STREAM, sampling=sampling, patches=16, crop=CropConfig(), resize_to=size,
            mask_group=1,
        )  # fmt: skip
        rates[f"{name}, one worker"] = _rate(lambda index, data=data: data[index])  # type: ignore[misc]
    torch.set_num_threads(threads)
    raw = ClipDataset(
        sources["decode video"], seed=0, stream=TRAIN_STREAM, sampling=sampling, patches=16, crop=CropConfig(),
        resize_to=None, mask_group=1,
    )  # fmt: skip
    clips = collate([raw[index] for index in range(batch)], sampling, size)
    if device.type == "cuda":
        clips = clips.pin_memory()
    rates["transfer and resize"] = batch * _rate(lambda _: _transfer(clips, size, device))
    print(f"{'data':<28}{'clips/s':>10}")
    for name, rate in rates.items():
        print(f"{name:<28}{rate:>10.1f}")
    print()
    return rates


def _transfer(batch: Batch, size: tuple[int, int], device: torch.device) -> None:
    batch.to(device, non_blocking=True).resized(size)
    _synchronize(device)


def _rate(action: Callable[[int], object], seconds: float = 3.0) -> float:
    """Calls per second over about that time, the first one not counted."""
    action(0)
    start, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - start) < seconds:
        count += 1
        action(count)
    return count / passed


def _steps(
    config: RVMConfig,
    sampling: FrameSampling,
    size: tuple[int, int],
    batch: int,
    device: torch.device,
    rounds: int,
    variants: Sequence[str],
) -> dict[str, dict[str, float]]:
    half = device.type == "cuda"
    ceiling = matmul_rate(device, torch.bfloat16 if half else torch.float32)
    flops = batch * step_flops(config, size, sampling, MASK_RATIO)
    steps = {name: _Step(name, config, sampling, size, batch, device, half) for name in variants}
    timings = interleaved(steps, rounds, lambda: _synchronize(device))
    base = timings[variants[0]].median_ms
    print(f"matrix products reach {ceiling / 1e12:.2f} TFLOP/s in {'bfloat16' if half else 'float32'} here")
    print(f"{'step':<18}{'ms':>9}{'clips/s':>10}{'of ' + variants[0]:>20}{'utilisation':>13}{'GiB':>8}")
    figures = {}
    for name, timing in timings.items():
        seconds = timing.median_ms / 1e3
        figures[name] = {
            "ms": timing.median_ms,
            "clips_per_s": batch / seconds,
            "flop_utilisation": flops / seconds / ceiling,
        }
        memory = steps[name].memory_bytes()
        if memory is not None:
            figures[name]["memory_gib"] = memory / 2**30
        print(
            f"{name:<18}{timing.median_ms:>9.0f}{batch / seconds:>10.2f}{base / timing.median_ms:>19.2f}x"
            f"{figures[name]['flop_utilisation']:>13.3f}" + ("" if memory is None else f"{memory / 2**30:>8.2f}")
        )
    return figures


class _Step:
    """One optimizer step of a layout, on random clips."""

    def __init__(
        self,
        name: str,
        config: RVMConfig,
        sampling: FrameSampling,
        size: tuple[int, int],
        batch: int,
        device: torch.device,
        half: bool,
    ) -> None:
        checkpointing: Checkpointing = "step" if "step" in name else "block" if "block" in name else "none"
        self._compiled = "compiled" in name
        self._device, self._half, self._peak = device, half, 0
        self._network = RVM(config).to(device)
        if name == "plain port":
            _use_einsum(self._network)
        recompute(self._network, checkpointing)
        if self._compiled:
            compile_blocks(self._network)
        self._optimizer = torch.optim.AdamW(self._network.parameters(), lr=1e-5, fused=device.type == "cuda")
        rng = np.random.default_rng(0)

        def clips(frames: int) -> Tensor:
            return torch.from_numpy(rng.integers(0, 256, (batch, frames, *size, 3), np.uint8)).to(device)

        self._sources, self._targets = clips(sampling.sources), clips(sampling.targets)
        self._deltas = torch.from_numpy(rng.integers(4, 49, (batch, sampling.targets))).to(device)

    def __call__(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            before = torch.cuda.memory_allocated(self._device)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            out = self._network.reconstruct(self._sources, self._targets, self._deltas, mask_ratio=MASK_RATIO)
        pixel_loss(out.frames, as_unit_float(self._targets, torch.float32)).mean().backward()
        self._optimizer.step()
        self._optimizer.zero_grad()
        if self._device.type == "cuda":
            self._peak = torch.cuda.max_memory_allocated(self._device) - before

    def memory_bytes(self) -> int | None:
        """Most memory of a step beyond weights and optimizer state; None for compiled code on a CPU, which hides it."""
        if self._device.type == "cuda":
            return self._peak
        if self._compiled:
            return None
        with PeakMemory() as memory:
            self()
        return memory.peak


def _use_einsum(network: RVM) -> None:
    for module in network.modules():
        if isinstance(module, Attention):
            module.forward = MethodType(_einsum_attention, module)  # type: ignore[method-assign]


def _einsum_attention(self: Attention, x_BND: Tensor, kv_BMD: Tensor) -> Tensor:
    """Attention as the authors' code spells it: scores, softmax in float32, weighted sum."""
    heads = (self.heads, -1)
    q_BNKH, k_BMKH = self.query(x_BND).unflatten(-1, heads), self.key(kv_BMD).unflatten(-1, heads)
    v_BMKH = self.value(kv_BMD).unflatten(-1, heads)
    scores_BKNM = torch.einsum("bnkh,bmkh->bknm", q_BNKH, k_BMKH) / q_BNKH.shape[-1] ** 0.5
    weights_BKNM = scores_BKNM.float().softmax(dim=-1).to(v_BMKH.dtype)
    return self.out(torch.einsum("bknm,bmkh->bnkh", weights_BKNM, v_BMKH).flatten(2))


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
