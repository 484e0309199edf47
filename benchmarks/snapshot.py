"""What a snapshot costs: `python benchmarks/snapshot.py [--pages 20000] [--html FOLDER_OR_WARC]`.

    extraction   pages per second of one process, beside plain trafilatura on the same files
    index        pages per second into the text index, beside raw tantivy with the same rows
    tools        searches and visits per second of one process, beside raw tantivy's search with its own snippets
    memory       highest resident memory of a build and of its workers, against corpus size

The synthetic web is the corpus; `--html` adds files of your own to the first table. The last line is a row for
docs/log.md. Rates of one process are per second of processor time, best of three, so that what else the machine does
counts little; builds are measured by the clock.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path

import tantivy
import trafilatura

from datagen.records.rows import page_to_row
from datagen.web.extraction import extract
from datagen.web.index import write_index
from datagen.web.snapshot import BuildOptions, Snapshot, build_snapshot
from datagen.web.snapshot_web import SnapshotWeb
from datagen.web.sources import RawPage, open_source

SAMPLE = 400
QUERIES = 600
SEED = 7


def per_second(work: Callable[[object], object], items: Sequence[object], rounds: int = 3) -> float:
    """Items per second, best of `rounds`."""
    best = 0.0
    for _ in range(rounds):
        start = time.process_time()
        for item in items:
            work(item)
        best = max(best, len(items) / (time.process_time() - start))
    return best


def sample_of(spec: str, count: int = SAMPLE) -> list[RawPage]:
    pages = [record for record in open_source(spec) if isinstance(record, RawPage)]
    return random.Random(SEED).sample(pages, min(count, len(pages)))


def bench_extraction(specs: Iterable[str]) -> dict[str, float]:
    """Plain trafilatura is `trafilatura.extract` as its documentation shows it: text only, no links, no metadata."""
    figures: dict[str, float] = {}
    for spec in specs:
        raws = sample_of(spec)
        size = sum(len(raw.payload) for raw in raws) / len(raws) / 1000
        plain = per_second(lambda raw: trafilatura.extract(raw.payload.decode("utf-8", "replace")), raws)
        linked = per_second(
            lambda raw: trafilatura.extract(
                raw.payload.decode("utf-8", "replace"), include_links=True, with_metadata=True
            ),
            raws,
            rounds=1,
        )
        ours = per_second(extract, raws)
        fast = per_second(lambda raw: extract(raw, "fast"), raws)
        print(f"{spec}: {len(raws)} pages of {size:.0f} kB")
        print(f"  trafilatura text only        {plain:8.0f} pages/s")
        print(f"  trafilatura links, metadata  {linked:8.0f} pages/s")
        print(f"  extract, default             {ours:8.0f} pages/s   {100 * (plain / ours - 1):+.0f} % time")
        print(f"  extract, fast                {fast:8.0f} pages/s")
        figures[f"{Path(spec).name} pages/s (trafilatura)"] = plain
        figures[f"{Path(spec).name} pages/s"] = ours
    return figures


def raw_index(folder: Path, rows: list[dict[str, object]]) -> tantivy.Index:
    """tantivy as its tutorial uses it: stored title and text, default tokenizer with stems."""
    builder = tantivy.SchemaBuilder()
    for name in ("title", "text"):
        builder.add_text_field(name, stored=True, tokenizer_name="en_stem")
    schema = builder.build()
    index = tantivy.Index(schema, path=str(folder))
    writer = index.writer(heap_size=256_000_000, num_threads=1)
    for row in rows:
        writer.add_document(tantivy.Document.from_dict({"title": row["title"], "text": row["text"]}, schema))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    return index


def bench_index(snapshot: Snapshot, scratch: Path) -> dict[str, float]:
    rows = [page_to_row(page) for page in snapshot.pages()]
    raw_folder, our_folder = scratch / "raw", scratch / "ours"
    raw_folder.mkdir()
    start = time.process_time()
    index = raw_index(raw_folder, rows)
    raw_rate = len(rows) / (time.process_time() - start)
    start = time.process_time()
    write_index(our_folder, enumerate(rows), append=False)
    our_rate = len(rows) / (time.process_time() - start)
    searcher, schema = index.searcher(), index.schema
    texts = [str(row["text"]).split() for row in random.Random(SEED).sample(rows, min(QUERIES, len(rows)))]
    draw = random.Random(SEED)
    queries = [" ".join(w for w in draw.sample(words, min(3, len(words))) if w.isalnum()) or "town" for words in texts]
    web = SnapshotWeb(snapshot)

    def raw_search(query: object) -> object:
        parsed = index.parse_query(str(query), ["title", "text"])
        snippets = tantivy.SnippetGenerator.create(searcher, parsed, schema, "text")
        return [snippets.snippet_from_doc(searcher.doc(hit)).fragment() for _, hit in searcher.search(parsed, 5).hits]

    raw_queries = per_second(raw_search, queries)
    our_queries = per_second(lambda query: web.search(str(query)), queries)
    visits = per_second(lambda url: web.visit(str(url)), [str(row["url"]) for row in rows[:20_000]])
    print(f"index of {len(rows)} pages, one thread")
    print(f"  raw tantivy                  {raw_rate:8.0f} pages/s")
    print(f"  write_index                  {our_rate:8.0f} pages/s")
    print(f"  raw tantivy with snippets    {raw_queries:8.0f} searches/s")
    print(f"  SnapshotWeb.search           {our_queries:8.0f} searches/s")
    print(f"  SnapshotWeb.visit            {visits:8.0f} visits/s")
    return {"index pages/s": our_rate, "searches/s": our_queries, "visits/s": visits}


def build_and_measure(pages: int, folder: str, channel: multiprocessing.connection.Connection) -> None:
    """Runs in its own process, so that its highest memory is that of this build."""
    start = time.perf_counter()
    options = BuildOptions(workers=os.cpu_count() or 1)
    build_snapshot([open_source(f"synthetic:seed={SEED},pages={pages}")], folder, options)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    channel.send((time.perf_counter() - start, own, worker))


def bench_memory(sizes: Iterable[int], scratch: Path) -> dict[str, float]:
    figures: dict[str, float] = {}
    print("building, all cores: pages, seconds, pages/s, MB of the parent, MB of a worker, MB of pages on disk")
    context = multiprocessing.get_context("spawn")
    for size in sizes:
        folder = scratch / f"snapshot-{size}"
        near, far = context.Pipe(duplex=False)
        process = context.Process(target=build_and_measure, args=(size, str(folder), far))
        process.start()
        seconds, own, worker = near.recv()
        process.join()
        disk = sum(path.stat().st_size for path in (folder / "pages").iterdir()) / 1e6
        print(f"  {size:8d} {seconds:8.1f} {size / seconds:8.0f} {own:8.0f} {worker:8.0f} {disk:8.1f}")
        figures |= {f"build {size} pages/s": size / seconds, f"build {size} MB": own}
    return figures


def log_row(figures: dict[str, float]) -> str:
    cells = "; ".join(f"{name} {value:,.0f}" for name, value in figures.items())
    return f"| {date.today().isoformat()} | snapshot | {cells} | {os.cpu_count()} cores, shared |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=20_000)
    parser.add_argument("--html", action="append", default=[], help="a WARC or folder of real pages")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="bench-snapshot-"))
    try:
        figures = bench_extraction([*options.html, f"synthetic:seed={SEED},pages=2000"])
        sizes = sorted({min(1_000, options.pages), min(10_000, options.pages), options.pages})
        figures |= bench_memory(sizes, scratch)
        figures |= bench_index(Snapshot.open(scratch / f"snapshot-{options.pages}"), scratch)
    finally:
        shutil.rmtree(scratch)
    print(log_row(figures))


if __name__ == "__main__":
    main()
