"""The configuration of a pretraining run. The defaults are the paper's recipe, as far as it is known.

The paper says: 4 source frames, 4 targets 4 to 48 frames later, 95% masked, 256x256, AdamW with warm-up and cosine,
batch 2048, a million steps, bfloat16 with float32 loss and softmax. Third-hand and unconfirmed: the optimizer's
numbers, the crop's and the mixture's. Unknown: the frame rates of the datasets.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rvm_model.config import RVMConfig, preset
from rvm_training.data.crop import CropConfig
from rvm_training.data.frames import FrameSampling
from rvm_training.data.video import Backend
from rvm_training.synthetic.generate import SceneConfig


@dataclass(frozen=True)
class ModelConfig:
    """Which network is trained, and from what weights."""

    preset: str | None = "rvm_small16_256"
    """Sizes by a preset's name; null where `sizes` or `init` gives them."""
    sizes: RVMConfig | None = None
    """Sizes one by one. The position code is made for the training size, whatever `base_grid` says."""
    init: str | None = None
    """Start from these weights, with their sizes: a .npz or .safetensors file with a decoder, rvm_nano, or the name of
    a downloaded released model."""
    initialization: Literal["authors", "aligned"] = "authors"
    """Random weights that training starts from, without `init`. `aligned` learns in fewer steps at small sizes: patches
    begin by looking at their own place in other frames (`rvm_training.pretraining.initialization`)."""
    position_code: Literal["resized", "anew"] = "resized"
    """With `init`, at a training size other than the weights': resize their encoder's position code, as the authors do
    where frames have another size, or make it for this size. `anew` keeps the encoder's code equal to the decoder's,
    which is never resized: the decoder then finds a patch's place where it was, and training goes on where it stood."""
    aggregator: Literal["gated", "self_attention"] = "gated"
    """What turns encoded frames into features: the recurrent core, or self-attention over the whole clip (the paper's
    ablation; it cannot stream)."""
    position_range: tuple[int, int] | None = None
    """Patch rows and columns within which the frames of a training step lie, at a place drawn for each: a network with
    a position code of axes then knows of places beyond its training size, and can be run at up to so many. The weights
    remember it, and null is as `init` has it; without, frames begin at the first."""
    decoder_sees: Literal["all", "last"] | None = None
    """Source frames whose features the decoder attends to; null as the preset, the sizes or `init` have it, which is
    `all` for the released networks (`rvm_model.config.DecoderConfig`)."""
    size: tuple[int, int] = (256, 256)
    """Height and width of training frames in pixels."""
    run_size: tuple[int, int] | None = None
    """Height and width in pixels that the trained network is run at where nobody chooses; null for that of `init`, else
    for `size`."""

    def __post_init__(self) -> None:
        """Refuse anything but one origin of the sizes."""
        given = [name for name in ("preset", "sizes", "init") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"model: got {given or 'nothing'}, expected exactly one of preset, sizes, init (others null)"
            )
        if self.init is not None and self.initialization != "authors":
            raise ValueError(f"model.initialization: got {self.initialization} with init, which has weights already")
        if self.init is None:
            if self.position_code != "resized":
                raise ValueError(
                    f"model.position_code: got {self.position_code} without init, expected resized; random weights "
                    "have the code of their training size anyway"
                )
            sizes = self.scratch()
            assert sizes.decoder is not None
            if self.initialization == "aligned" and sizes.decoder.dim != sizes.dim:
                raise ValueError(
                    f"model.initialization: got aligned for a decoder {sizes.decoder.dim} wide and an encoder of "
                    f"{sizes.dim}, expected the same: position codes of other widths do not fit each other"
                )

    def scratch(self) -> RVMConfig:
        """Sizes of a network that starts from random weights.

        Raises:
            ValueError: no such preset, the sizes have no decoder, or the training size does not fit the patch size.
        """
        sizes = self.sizes if self.preset is None else preset(self.preset)
        assert sizes is not None
        if sizes.decoder is None:
            raise ValueError("model: got sizes without a decoder, expected one; pretraining reconstructs pixels")
        untrained = dataclasses.replace(
            sizes, base_grid=sizes.grid(*self.size), trained_grid=None, run_grid=None, position_range=None,
            aggregator=self.aggregator,
        )  # fmt: skip
        return self.with_overrides(untrained)

    def with_overrides(self, sizes: RVMConfig) -> RVMConfig:
        """The sizes with what the fields here say of them where they are not null.

        Raises:
            ValueError: `run_size` does not fit the patch size, or `position_range` the position code.
        """
        if self.position_range is not None:
            try:
                sizes = dataclasses.replace(sizes, position_range=self.position_range)
            except ValueError as error:
                raise ValueError(f"model.{error}; or take position: axes among model.sizes") from error
        if self.run_size is not None:
            try:
                sizes = dataclasses.replace(sizes, run_grid=sizes.grid(*self.run_size))
            except ValueError as error:
                raise ValueError(f"model.run_size: {error}") from error
        if self.decoder_sees is None or sizes.decoder is None:
            return sizes
        return dataclasses.replace(sizes, decoder=dataclasses.replace(sizes.decoder, sees=self.decoder_sees))


@dataclass(frozen=True)
class DataConfig:
    """Where clips come from, and how they are cut."""

    manifest: Path | None = None
    """Videos: a manifest made by `rvm manifest`. Null renders synthetic scenes instead."""
    train_split: str = "train"
    """Rows of the manifest to train on."""
    val_split: str = "val"
    """Rows of the manifest to validate on."""
    mixture: dict[str, float] | None = None
    """Share of each source of the manifest; null draws rows by their own weights."""
    synthetic: SceneConfig = SceneConfig()
    """The scenes, where there is no manifest. Validation draws others, with photographs that training never sees."""
    frames: FrameSampling = FrameSampling()
    """Which frames make a clip."""
    crop: CropConfig = CropConfig()
    """Random resized crop and flip, the same for all frames of a clip. Validation takes the centre."""
    backend: Backend = "pyav"
    """Video decoder; torchcodec is an optional package that needs FFmpeg."""
    resize_on: Literal["auto", "worker", "device"] = "auto"
    """Where crops are resized. `auto` is the GPU where there is one, which is right for videos stored near the
    training size."""
    max_bad_share: float = 0.02
    """Training stops when more than this share of the clips drawn since the start cannot be decoded."""

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        if not 0 <= self.max_bad_share <= 1:
            raise ValueError(f"max_bad_share: got {self.max_bad_share}, expected 0..1")


@dataclass(frozen=True)
class ObjectiveConfig:
    """What is minimised. The paper's loss is the mean squared error over all pixels; the rest is off by default."""

    mask_ratio: float = 0.95
    """Share of a target's patches that the decoder does not see."""
    shared_mask: bool = True
    """One mask for the whole batch and all targets, as the authors draw it; false draws one for each."""
    normalize_patches: bool = False
    """Compare with target patches of zero mean and unit variance, as MAE does."""
    temporal_consistency: float = 0.0
    """Weight of 1 - cosine between the features of consecutive source frames."""
    place: float = 0.0
    """Weight of the share of the features' variance that a token's place explains. Features that mostly say where they
    are match their own place in every frame, whatever is there; a few fast channels suffice to be found by.
    Over the clips of a micro-batch, at least two."""
    crowding: float = 0.0
    """Weight of one over the number of directions that features effectively take. Where one is much louder than the
    others, as a mean that all features share, distances and angles between features tell of nothing else. Over the
    clips of a micro-batch: what the features of one clip share, and others have not, is a direction as any."""
    drift: float = 0.0
    """Weight of how far a frame's mean feature lies from what it is after a younger state, for runs with
    `data.frames.replay`. Where features move together as a state ages, what was marked on a camera's first frame is not
    found on its later ones. Over the clips of a micro-batch; in training losses of older states alone, so not in
    `val/loss`."""
    perceptual: float = 0.0
    """Weight of the squared distance between a frozen encoder's tokens of reconstruction and target."""
    perceptual_model: str | None = None
    """Weights of that encoder, as `rvm weights show` takes them."""

    @property
    def over_a_micro_batch(self) -> bool:
        """Whether the loss depends on which clips go through together."""
        return bool(self.place or self.crowding or self.drift)

    def __post_init__(self) -> None:
        """Refuse what cannot be computed."""
        if not 0 <= self.mask_ratio <= 1:
            raise ValueError(f"mask_ratio: got {self.mask_ratio}, expected 0..1")
        if min(self.temporal_consistency, self.place, self.crowding, self.drift, self.perceptual) < 0:
            raise ValueError("objective: got a negative weight, expected 0 or more")
        if (self.perceptual > 0) != (self.perceptual_model is not None):
            raise ValueError(
                f"perceptual: got weight {self.perceptual} and model {self.perceptual_model!r}, expected both or "
                "neither"
            )


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW, its schedule, and how long."""

    batch: int = 2048
    """Clips per optimizer step over all devices, however many there are."""
    steps: int = 1_000_000
    """Optimizer steps of the whole schedule; the paper's ablations take 250 000."""
    lr: float = 1.5e-4
    """Learning rate after the warm-up. Third-hand."""
    warmup_steps: int = 10_000
    """Steps over which the learning rate rises linearly. Third-hand."""
    final_lr: float = 0.0
    """Learning rate at the end of the cosine."""
    weight_decay: float = 0.05
    """Decay of matrices; biases, norms and learned tokens have none. Third-hand."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay of the running mean and mean square of the gradient. Third-hand."""
    clip_norm: float | None = 1.0
    """Largest norm of the gradient; null does not clip. Third-hand."""
    ema: float | None = None
    """Decay per step of an exponential moving average of the weights, kept beside them; null keeps none. It rises to
    that as (1 + step) / (10 + step), which is 0.99 at step 890 and 0.999 at step 8990."""

    def __post_init__(self) -> None:
        """Refuse an empty schedule."""
        if min(self.batch, self.steps) < 1 or not 0 <= self.warmup_steps <= self.steps:
            raise ValueError(
                f"optimizer: got batch {self.batch}, {self.steps} steps, {self.warmup_steps} of warm-up; expected at "
                "least 1 clip and step, and a warm-up no longer than the whole"
            )
        if not self.lr > 0 or not (self.clip_norm is None or self.clip_norm > 0):
            raise ValueError(
                f"optimizer: got lr {self.lr} and clip_norm {self.clip_norm}, expected both above 0, or no clip_norm"
            )
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"ema: got {self.ema}, expected a decay between 0 and 1, or null")


@dataclass(frozen=True)
class MachineConfig:
    """How the computation is laid out. Nothing here changes what is learned, but for rounding, and for objectives over
    the clips of a micro-batch (`objective.place`, `crowding`, `drift`), whose number must then stay what it was."""

    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    """Device type; `auto` takes the GPUs where there are some."""
    devices: int | None = None
    """Processes per node, one per device; null takes all GPUs, or one process on a CPU."""
    nodes: int = 1
    """Machines. Under SLURM it must equal the job's."""
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    """`ddp` replicates the network, `fsdp` shards parameters, gradients and optimizer state (FSDP2). `auto` is one
    process or `ddp`."""
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """Of matrix products, and of what passes between them in the decoder; parameters, loss, norms, softmax and the
    recurrent state stay float32. `auto` is bfloat16 on a GPU and float32 on a CPU, where bfloat16 is faster only if it
    has instructions for it (avx512_bf16 or amx_bf16 among the flags in /proc/cpuinfo)."""
    micro_batch: int = 64
    """Most clips on a device at once; gradients accumulate until the batch is full."""
    checkpointing: Literal["none", "step", "block"] = "none"
    """What the backward pass computes again instead of keeping: nothing, each call of the encoder and each step of the
    core, or each transformer block."""
    compile: bool = False
    """Compile the transformer blocks (torch.compile)."""
    workers: int = 4
    """Processes per device that decode; 0 decodes in the training process."""
    stop_at_step: int | None = None
    """Stop here with a checkpoint, to go on another time; the schedule is not changed."""

    def __post_init__(self) -> None:
        """Refuse counts below one."""
        for name in ("nodes", "micro_batch", "devices", "stop_at_step"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: got {value}, expected at least 1")
        if self.workers < 0:
            raise ValueError(f"workers: got {self.workers}, expected 0 or more")


@dataclass(frozen=True)
class LogConfig:
    """What is written, and when. All intervals are in optimizer steps."""

    every: int = 50
    """Metrics: metrics.csv, TensorBoard, progress bar."""
    validate_every: int = 1000
    """Loss, PSNR and SSIM on held-out clips, beside those of copying the last frame."""
    pictures: int = 4
    """Clips whose reconstructions are drawn at each validation, as PNG and in TensorBoard; 0 draws none."""
    validation_clips: int = 256
    """Held-out clips, the same each time."""
    checkpoint_every: int = 1000
    """Everything needed to go on exactly."""
    keep_last: int = 3
    """Checkpoints kept; older ones are removed."""
    keep_every: int | None = None
    """Checkpoints at multiples of this stay."""
    tensorboard: bool = True
    """Write TensorBoard events."""
    wandb_project: str | None = None
    """Log to this Weights & Biases project; needs the package wandb."""
    max_state_rms: float = 1000.0
    """Training stops when the root mean square of the recurrent state exceeds this."""

    def __post_init__(self) -> None:
        """Refuse intervals below one."""
        if self.pictures < 0:
            raise ValueError(f"pictures: got {self.pictures}, expected 0 or more")
        names = ("every", "validate_every", "validation_clips", "checkpoint_every", "keep_last", "keep_every")
        for name in names:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name}: got {value}, expected at least 1")


@dataclass(frozen=True)
class TrainConfig:
    """A pretraining run."""

    name: str = "rvm"
    """Name of the run: its folder below `out`."""
    out: Path = Path("runs")
    """Folder of all runs."""
    seed: int = 0
    """Of the weights, the order of clips, the crops and the masks."""
    model: ModelConfig = field(default_factory=ModelConfig)
    """The network."""
    data: DataConfig = field(default_factory=DataConfig)
    """The clips."""
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    """The loss."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """The optimizer and the length of the run."""
    machine: MachineConfig = field(default_factory=MachineConfig)
    """How it is computed."""
    log: LogConfig = field(default_factory=LogConfig)
    """What is written."""

    def __post_init__(self) -> None:
        """Refuse a seed that random generators would."""
        if self.seed < 0:
            raise ValueError(f"seed: got {self.seed}, expected 0 or more")
        replay = self.data.frames.replay
        if replay and self.model.aggregator != "gated":
            raise ValueError(
                f"data.frames.replay: got {replay} with the aggregator {self.model.aggregator}, expected the recurrent "
                "core: nothing else has a state"
            )
        if replay and self.machine.strategy == "fsdp":
            raise ValueError(
                f"data.frames.replay: got {replay} with machine.strategy=fsdp, expected ddp: parameters are gathered "
                "around reconstruction alone"
            )
        if self.objective.drift and not replay:
            raise ValueError(
                f"objective.drift: got {self.objective.drift} without data.frames.replay, expected 1 or more of it: "
                "there are no older states else"
            )
        if self.model.initialization == "aligned" and self.objective.normalize_patches:
            raise ValueError(
                "model.initialization: got aligned with objective.normalize_patches, expected authors; it starts from "
                "grey pictures, and patches without their mean are not grey"
            )

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.out / self.name
