"""`rvm clips`: cut training clips from bags and videos, with a manifest that `rvm train` reads."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from rvm_training.cli.arguments import add_recordings_of, add_share, add_video


def main(arguments: Sequence[str]) -> int:
    """Run the subcommand; returns the exit status: 1 where an input could not be cut."""
    from rvm_training.data.manifest import Manifest
    from rvm_training.offline.clips import ClipSettings, clips_of, cut_clips
    from rvm_training.offline.encoding import VideoSettings
    from rvm_training.offline.recordings import recordings
    from rvm_training.offline.share import share, share_of

    defaults = ClipSettings()
    parser = argparse.ArgumentParser(prog="rvm clips", description=__doc__)
    add_recordings_of(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder; each input gets one of its own in it")
    parser.add_argument("--shortest", type=float, default=defaults.shortest_s, help="seconds (default: %(default)s)")
    parser.add_argument("--longest", type=float, default=defaults.longest_s, help="seconds (default: %(default)s)")
    parser.add_argument(
        "--max-gap",
        type=float,
        default=defaults.max_gap_s,
        help="seconds of a pause that ends a clip",
    )
    add_video(parser)
    parser.add_argument("--source", default="bags", help="name for the mixture (default: %(default)s)")
    parser.add_argument("--val-share", type=float, default=0.01, help="of recordings (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="inputs at once (default: all cores)")
    parser.add_argument("--resume", action="store_true", help="leave out inputs whose clips are there")
    add_share(parser)
    args = parser.parse_args(arguments)
    settings = ClipSettings(
        VideoSettings(args.short_side, args.gop, args.crf), args.max_gap, args.shortest, args.longest
    )
    index, count = share_of(args.shard)
    inputs = share(recordings(args.inputs, cameras=dict(args.camera), rate_hz=args.rate), index, count)
    with tqdm(total=len(inputs), unit=" inputs") as bar:
        cuts, skipped = cut_clips(
            inputs, args.out, settings, resume=args.resume, workers=args.workers, on_done=lambda: bar.update()
        )
    failed = [cut.outcome for cut in cuts if cut.outcome.error]
    for cut in cuts:
        if not cut.outcome.error:
            notes = [f"{cut.dropped} too short"] * bool(cut.dropped)
            notes += [f"{cut.outcome.refused.total()} images refused"] * bool(cut.outcome.refused)
            print(f"{cut.outcome.recording.name}: {', '.join([f'{len(cut.stretches)} clips', *notes])}")
    if skipped:
        print(f"left out, their clips are there: {len(skipped)}")
    clips = clips_of(args.out, args.out, args.source, args.val_share)
    if count > 1:
        own = {recording.name for recording in inputs}
        clips = [clip for clip in clips if Path(clip.path).parts[0] in own]
    if clips:
        path = args.out / ("manifest.parquet" if count == 1 else f"manifest_{index}_of_{count}.parquet")
        Manifest.of(clips, args.out).write(path)
        seconds = sum(clip.frames / clip.fps for clip in clips)
        print(f"{path}: {len(clips)} clips, {seconds / 3600:.2f} hours")
    if failed:
        print(f"{len(failed)} inputs could not be cut:")
        print("\n".join(f"  {outcome.recording.path}: {outcome.error}" for outcome in failed))
    return 1 if failed else 0
