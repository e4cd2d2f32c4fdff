"""What a full-size encoder costs on this machine, with random weights: seconds to build, per image, and peak memory.

python benchmarks/encoder_cost.py [--encoder uni2-h] [--size 224] [--images 3]
"""

from __future__ import annotations

import argparse
import resource
import time

import torch

from histoproto.model.encoders import build_encoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="uni2-h")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--images", type=int, default=3)
    arguments = parser.parse_args()
    started, processor = time.perf_counter(), time.process_time()
    encoder = build_encoder(arguments.encoder, None).eval()
    millions = sum(p.numel() for p in encoder.parameters()) / 1e6
    seconds = (
        f"{time.perf_counter() - started:.1f} s on the clock, {time.process_time() - processor:.1f} s of processor"
    )
    print(f"{arguments.encoder}: {millions:.1f} M parameters, built in {seconds}", flush=True)
    image = torch.rand(1, 3, arguments.size, arguments.size)
    for _ in range(arguments.images):
        started, processor = time.perf_counter(), time.process_time()
        with torch.inference_mode():
            maps = encoder(image)
        clock, used = time.perf_counter() - started, time.process_time() - processor
        shapes = [tuple(m.shape[1:]) for m in maps]
        print(f"one image: {clock:.2f} s on the clock, {used:.2f} s of processor, maps {shapes}", flush=True)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB")


if __name__ == "__main__":
    main()
