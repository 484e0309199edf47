"""What the environment serves: `python benchmarks/environment.py [--pages 100000] [--snapshot DIR] [--clients 256]`.

    in process   searches and visits per second of one process, beside bare loops over the same index
    over HTTP    requests per second and latencies with all clients at once, through `datagen serve` with its workers

The bare loops are tantivy's own: query text parsed and searched, eight addresses of documents back, nothing read of the
pages; once with the words as they were typed, once with the words that `TextIndex` searches (without those that stand on
every page), and once over an index that stores the pages, with tantivy's snippets. The load generator runs on the same
cores as the server; every client has its own connection and episode and sends its next call when the reply is there, so
at R requests per second the mean latency of C clients is C/R. Counting by episode is on. The last line is for docs/log.md.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import orjson
import tantivy
import uvloop

from datagen.environment.core import SearchCore, to_bytes
from datagen.web.index import query_words, searched_fields
from datagen.web.snapshot import BuildOptions, Snapshot, build_snapshot
from datagen.web.snapshot_web import SnapshotWeb
from datagen.web.sources import open_source

SEED = 7
QUERIES = 4_000
TOP_K = 8
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Load:
    """What one kind of request did under load."""

    name: str
    per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    failed: int
    server_cpu_ms: float | None
    client_cpu_ms: float
    """Processor time per request, of all workers and of the generator."""


def per_second(work: Callable[[str], object], items: Sequence[str]) -> float:
    """Items per second of processor time, best of `ROUNDS`."""
    best = 0.0
    for _ in range(ROUNDS):
        start = time.process_time()
        for item in items:
            work(item)
        best = max(best, len(items) / (time.process_time() - start))
    return best


def sampled(snapshot: Snapshot, words: int) -> tuple[list[str], list[str]]:
    """Queries of random words of random pages, and addresses."""
    draw = random.Random(SEED)
    rows = draw.sample(range(len(snapshot)), min(QUERIES, len(snapshot)))
    texts = [[w for w in snapshot.store.text(row).split() if w.isalnum()] for row in rows]
    queries = [" ".join(draw.sample(text, min(words, len(text)))) or "town" for text in texts]
    return queries, [snapshot.store.meta(row).url for row in rows]


def stored_index(snapshot: Snapshot, folder: Path) -> tantivy.Index:
    """tantivy as its tutorial uses it: title and text stored, stems."""
    builder = tantivy.SchemaBuilder()
    for name in ("title", "text"):
        builder.add_text_field(name, stored=True, tokenizer_name="en_stem")
    schema = builder.build()
    index = tantivy.Index(schema, path=str(folder))
    writer = index.writer(heap_size=256_000_000, num_threads=1)
    for page in snapshot.pages():
        writer.add_document(tantivy.Document.from_dict({"title": page.title, "text": page.text}, schema))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    return index


def bench_in_process(snapshot: Snapshot, scratch: Path) -> dict[str, float]:
    queries, urls = sampled(snapshot, 3)
    core = SearchCore(SnapshotWeb(snapshot))
    bare = snapshot.index._index  # noqa: SLF001  the loop beside us runs on the same index
    bare_searcher = bare.searcher()
    stored = stored_index(snapshot, scratch)
    stored_searcher, schema = stored.searcher(), stored.schema

    def as_typed(query: str) -> object:
        return bare_searcher.search(bare.parse_query(query, searched_fields(query)), TOP_K).hits

    def same_words(query: str) -> object:
        parsed = bare.parse_query(" ".join(query_words(query)), searched_fields(query))
        return bare_searcher.search(parsed, TOP_K, count=False).hits

    def with_snippets(query: str) -> object:
        parsed = stored.parse_query(query, ["title", "text"])
        made = tantivy.SnippetGenerator.create(stored_searcher, parsed, schema, "text")
        hits = stored_searcher.search(parsed, TOP_K, count=False).hits
        return [made.snippet_from_doc(stored_searcher.doc(hit)).fragment() for _, hit in hits]

    figures = {
        "tantivy, words as typed": per_second(as_typed, queries),
        "tantivy, the words that we search": per_second(same_words, queries),
        "tantivy with its snippets": per_second(with_snippets, queries),
        "search": per_second(lambda query: to_bytes(core.search(query, TOP_K)), queries),
        "visit": per_second(lambda url: to_bytes(core.visit(url)), urls),
    }
    print(f"in process, {len(snapshot):,} pages, one core, JSON included, 3 words")
    for name, rate in figures.items():
        print(f"  {name:34} {rate:8,.0f}/s")
    return figures


class Client(asyncio.Protocol):
    """One connection: sends a request, reads the reply by its content-length, sends the next."""

    def __init__(self, requests: Iterator[bytes], times: list[float], failures: list[bytes]) -> None:
        self._requests, self._times, self._failures = requests, times, failures
        self._buffer = b""
        self._sent = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own has other ancestors
        self._next()

    def _next(self) -> None:
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self._buffer.find(b"content-length: ") + 16
        if len(self._buffer) < head + 4 + int(self._buffer[at : self._buffer.find(b"\r", at)]):
            return
        self._times.append(time.perf_counter() - self._sent)
        if not self._buffer.startswith(b"HTTP/1.1 200") or self._buffer.startswith(b'{"error', head + 4):
            self._failures.append(self._buffer[head + 4 : head + 104])
        self._buffer = b""
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self._failures.append(repr(exc).encode())
        if not self.done.done():
            self.done.set_result(None)


def request(path: str, body: dict[str, object]) -> bytes:
    data = orjson.dumps(body)
    head = (
        f"POST {path} HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


async def until(seconds: float, clients: int, address: tuple[str, int], made: list[list[bytes]]) -> Load:
    """Every client sends its requests round and round until the time is over."""
    times: list[float] = []
    failures: list[bytes] = []
    loop = asyncio.get_running_loop()
    end = time.perf_counter() + seconds

    def endless(own: list[bytes]) -> Iterator[bytes]:
        while True:
            for item in own:
                if time.perf_counter() >= end:
                    return
                yield item

    cpu, start = time.process_time(), time.perf_counter()
    protocols = [
        (await loop.create_connection(lambda own=own: Client(endless(own), times, failures), *address))[1]
        for own in made[:clients]
    ]
    await asyncio.gather(*(protocol.done for protocol in protocols))
    took, spent = time.perf_counter() - start, time.process_time() - cpu
    if failures:
        print(f"  {len(failures)} failed, such as {failures[0]!r}")
    times.sort()
    p50, p95, p99 = (1000 * times[int(len(times) * share)] for share in (0.50, 0.95, 0.99))
    return Load("", len(times) / took, p50, p95, p99, len(failures), None, 1000 * spent / len(times))


@contextmanager
def served(snapshot: Path, workers: int) -> Iterator[tuple[tuple[str, int], int]]:
    """`datagen serve` as a process of its own: its address and its process id."""
    command = [sys.executable, "-m", "datagen.cli", "serve", str(snapshot), "--port", "0", "--workers", str(workers)]
    limits = ["--searches", "1000000000", "--visits", "1000000000"]
    process = subprocess.Popen([*command, *limits], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        url = urlsplit(process.stdout.readline().strip())
        yield (str(url.hostname), int(url.port or 0)), process.pid
    finally:
        process.terminate()
        process.wait()


def cpu_seconds(pid: int) -> float | None:
    """Processor time of a process and its children, where the system tells."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        fields = [Path(f"/proc/{p}/stat").read_text().rpartition(")")[2].split() for p in (pid, *children)]
    except OSError:
        return None
    return sum(int(f[11]) + int(f[12]) for f in fields) / os.sysconf("SC_CLK_TCK")


def episode(address: tuple[str, int]) -> str:
    import urllib.request

    asked = urllib.request.Request(f"http://{address[0]}:{address[1]}/reset", data=b"{}")
    with urllib.request.urlopen(asked) as reply:
        return str(orjson.loads(reply.read())["episode"])


def bench_http(snapshot: Snapshot, options: argparse.Namespace) -> list[Load]:
    found: list[Load] = []
    with served(snapshot.folder, options.workers) as (address, pid):
        handles = [episode(address) for _ in range(options.clients)]
        for name, words in (("search, 3 words", 3), ("search, 8 words", 8), ("search, 25 words", 25), ("visit", 0)):
            queries, urls = sampled(snapshot, words or 3)
            made: list[list[bytes]] = []
            for i, handle in enumerate(handles):
                if words:
                    bodies = [{"query": q, "top_k": TOP_K, "episode": handle} for q in queries[i:] + queries[:i]]
                else:
                    bodies = [{"url": u, "episode": handle} for u in urls[i:] + urls[:i]]
                made.append([request("/search" if words else "/visit", body) for body in bodies[:200]])
            uvloop.run(until(1.0, options.clients, address, made))
            before = cpu_seconds(pid)
            load = uvloop.run(until(options.seconds, options.clients, address, made))
            after = cpu_seconds(pid)
            spent = None
            if before is not None and after is not None:
                spent = 1000 * (after - before) / (load.per_second * options.seconds)
            found.append(
                Load(
                    name,
                    load.per_second,
                    load.p50_ms,
                    load.p95_ms,
                    load.p99_ms,
                    load.failed,
                    spent,
                    load.client_cpu_ms,
                )
            )
    print(f"over HTTP, {options.clients} clients, {options.workers} workers, generator on the same cores")
    print("  what               requests/s   p50 ms   p95 ms   p99 ms  failed  server CPU ms  generator CPU ms")
    for f in found:
        cpu = "-" if f.server_cpu_ms is None else f"{f.server_cpu_ms:.3f}"
        print(
            f"  {f.name:18} {f.per_second:10,.0f} {f.p50_ms:8.1f} {f.p95_ms:8.1f} {f.p99_ms:8.1f} {f.failed:7}"
            f"  {cpu:>13}  {f.client_cpu_ms:16.3f}"
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=100_000)
    parser.add_argument("--snapshot", type=Path, help="one that exists, instead of a new one")
    parser.add_argument("--clients", type=int, default=256)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=8.0)
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="bench-environment-"))
    try:
        folder = options.snapshot or scratch / "snapshot"
        if options.snapshot is None:
            source = open_source(f"synthetic:seed={SEED},pages={options.pages}")
            build_snapshot([source], folder, BuildOptions("fast", os.cpu_count() or 1))
        snapshot = Snapshot.open(folder)
        (scratch / "stored").mkdir()
        figures = bench_in_process(snapshot, scratch / "stored")
        loads = bench_http(snapshot, options)
    finally:
        shutil.rmtree(scratch)
    cells = [f"{name} {rate:,.0f}/s" for name, rate in figures.items()]
    cells += [f"HTTP {f.name} {f.per_second:,.0f}/s p99 {f.p99_ms:.0f} ms" for f in loads]
    print(f"| {date.today().isoformat()} | environment | {'; '.join(cells)} | {os.cpu_count()} cores, shared |")


if __name__ == "__main__":
    main()
