"""Seconds and memory to sample a long video, against decoding all of it, and to sample short ones.

    python benchmarks/video.py [VIDEO ...] [--minutes 10]

Makes a file of 1,280 × 720 pixels, 24 frames a second and a key frame each ten seconds, and samples
it: one frame a second, eight in all, ten seconds of its middle. Each runs in a process of its own;
its memory is the peak above what was taken before it began. The peer is PyAV's plain loop, which
decodes each frame and keeps those asked for at the same size. "In words" samples the long video
once a second and lets VideoChat-Text's toy tools look at it, whose models are there before. Further
files are sampled once a second, and put into words, three times.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import numpy as np
import torch

from vlcourse.chat.perception import perceive
from vlcourse.chat.textualise import textualised
from vlcourse.chat.tools.toy import toy_tools
from vlcourse.data.media import Media
from vlcourse.data.sources.video import Sampling, read_video

FPS = 24
JOBS = {
    "one a second": Sampling(),
    "8 in all": Sampling(frames=8),
    "10 s, one a second": Sampling(start=295, end=305),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.job:
        return measured(args.videos[0], args.job)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.mp4"
        start = time.perf_counter()
        make(path, args.minutes)
        size = path.stat().st_size / 1e6
        took = time.perf_counter() - start
        print(f"made {args.minutes} min of 1280 × 720 in {took:.0f} s: {size:.0f} MB")
        for job in (*JOBS, "peer: one a second", "in words"):
            child = [sys.executable, __file__, str(path), "--job", job]
            print(subprocess.run(child, check=True, capture_output=True, text=True).stdout, end="")
    tools = toy_tools() if args.videos else []
    for path in args.videos:
        seconds, words, busy = [], [], []
        for _ in range(3):
            start, before = time.perf_counter(), time.process_time()
            film = read_video(path)
            seconds.append(time.perf_counter() - start)
            lines = textualised(perceive(film, tools))
            words.append(time.perf_counter() - start)
            busy.append(time.process_time() - before)
        print(
            f"{path.name}: {len(film.times)} frames of {film.duration:.1f} s sampled in "
            f"{listed(seconds)} s; in {len(lines)} lines of words in {listed(words)} s "
            f"({listed(busy)} s of a core)"
        )


def listed(seconds: list[float]) -> str:
    """In order."""
    return ", ".join(f"{second:.2f}" for second in sorted(seconds))


def measured(path: Path, job: str) -> None:
    """Do a job once, and print what it took."""
    tools = toy_tools() if job == "in words" else []
    perceive(Media("black", torch.zeros(1, 3, 64, 64, dtype=torch.uint8), (0.0,)), tools)
    before, start, busy = memory("VmRSS"), time.perf_counter(), time.process_time()
    if job.startswith("peer"):
        frames = whole(path)
    else:
        film = read_video(path, JOBS.get(job, Sampling()))
        frames = film.frames
        textualised(perceive(film, tools))
    took, busy = time.perf_counter() - start, time.process_time() - busy
    held = frames.numel() / 1e6
    print(
        f"{job}: {len(frames)} frames ({held:.0f} MB) in {took:.2f} s ({busy:.2f} s of a "
        f"core), peak "
        f"{memory('VmHWM') - before:.0f} MB above the {before:.0f} MB of before, "
        f"{os.cpu_count()} cores"
    )


def whole(path: Path) -> torch.Tensor:
    """Every frame decoded; one a second kept, 320 pixels wide."""
    kept, due = [], 0.0
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            if frame.time >= due:
                kept.append(
                    torch.from_numpy(frame.to_ndarray(format="rgb24", width=320, height=180))
                )
                due += 1.0
    return torch.stack(kept).permute(0, 3, 1, 2)


def memory(what: str) -> float:
    """A line of Linux's account of this process, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1e3 for line in lines if line.startswith(what))


def make(path: Path, minutes: int) -> None:
    """One minute again and again: waves that move over a little noise, which is work to decode."""
    dice = np.random.default_rng(0)
    y, x = np.mgrid[:720, :2560]
    wave = np.stack([np.sin(x / 40), np.sin(y / 30), np.sin((x + y) / 60)], axis=-1)
    wide = (128 + 100 * wave + dice.normal(0, 6, wave.shape)).clip(0, 255).astype(np.uint8)
    minute = path.with_name(f"minute-{path.name}")
    with av.open(str(minute), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        stream.codec_context.gop_size = 10 * FPS
        stream.codec_context.max_b_frames = 0
        for k in range(60 * FPS):
            at = 4 * k % 1280
            picture = np.ascontiguousarray(wide[:, at : at + 1280])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode(None))
    with av.open(str(path), "w") as container, av.open(str(minute)) as source:
        stream = container.add_stream_from_template(source.streams.video[0])
        length = round(60 / source.streams.video[0].time_base)
        for k in range(minutes):
            source.seek(0)
            for packet in source.demux(video=0):
                if packet.size:
                    packet.pts, packet.dts = packet.pts + k * length, packet.dts + k * length
                    packet.stream = stream
                    container.mux(packet)
    minute.unlink()


if __name__ == "__main__":
    main()
