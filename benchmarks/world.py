"""Pages of the synthetic web per second on one core, against the size of the web.

    python benchmarks/world.py --pages 1000 10000 100000 1000000 --sample 5000

Pages are asked for in random order, which is the worst case for the caches; `alone` is the time to make the first page
of a fresh web, world and plan included. Memory is the peak of the process so far, so sizes are best given in rising
order.
"""

from __future__ import annotations

import argparse
import random
import resource
import time

from datagen.web.synthetic.pages import SyntheticWeb

SEED = 7


def measure(pages: int, sample: int) -> str:
    started = time.perf_counter()
    web = SyntheticWeb(SEED, pages)
    web.render_page(pages // 2)
    alone_ms = 1000 * (time.perf_counter() - started)
    numbers = random.Random(SEED).sample(range(pages), min(sample, pages))
    started = time.perf_counter()
    size = sum(len(web.render_page(number)[1]) for number in numbers)
    rate = len(numbers) / (time.perf_counter() - started)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"| {pages:>9,} | {rate:>7,.0f} | {size / len(numbers):>6,.0f} | {alone_ms:>6.0f} | {peak_mb:>5.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    parser.add_argument("--sample", type=int, default=5_000, help="pages made per size")
    options = parser.parse_args()
    print("| pages | pages/s | bytes | alone, ms | peak MB |\n|---|---|---|---|---|")
    for pages in options.pages:
        print(measure(pages, options.sample), flush=True)


if __name__ == "__main__":
    main()
