"""Text with links placed in it, built left to right.

    builder = LinkedTextBuilder()
    builder.write("plays at ")
    builder.open_link("https://a.example/hill-end")
    builder.write(" Hill  End ")
    builder.close_link()
    builder.write(".")
    builder.build()     LinkedText("plays at Hill End.", ((9, 17, "https://a.example/hill-end"),))

White space collapses as a browser collapses it, and a link never begins or ends with a space, so the invariant
`text[start:end] == anchor` holds by construction.
"""

from __future__ import annotations

from dataclasses import dataclass

from datagen.records.page import Link

LinkSpan = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class LinkedText:
    """`links` are (start, end, url) in order; offsets are in characters of `text`."""

    text: str
    links: tuple[LinkSpan, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.text)

    def cut(self, start: int, end: int | None = None) -> LinkedText:
        """The part from `start` to `end`, trimmed of white space; links that cross an edge are dropped."""
        stop = len(self.text) if end is None else end
        while start < stop and self.text[start].isspace():
            start += 1
        while stop > start and self.text[stop - 1].isspace():
            stop -= 1
        kept = tuple((a - start, b - start, url) for a, b, url in self.links if a >= start and b <= stop)
        return LinkedText(self.text[start:stop], kept)


class LinkedTextBuilder:
    """One writer; `separate` puts a separator before whatever comes next, and nothing where nothing comes."""

    __slots__ = ("_length", "_links", "_parts", "_pending", "_start", "_url")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._links: list[LinkSpan] = []
        self._length = 0
        self._pending = ""
        self._url: str | None = None
        self._start: int | None = None

    def __len__(self) -> int:
        return self._length

    def write(self, text: str) -> None:
        words = text.split()
        if not words:
            if text and not self._pending:
                self._pending = " "
            return
        if text[0].isspace() and not self._pending:
            self._pending = " "
        self._put(" ".join(words))
        if text[-1].isspace():
            self._pending = " "

    def write_exactly(self, text: str) -> None:
        """Text that is already clean, without collapsing."""
        if text:
            self._put(text)

    def _put(self, piece: str) -> None:
        if self._pending and self._length:
            self._parts.append(self._pending)
            self._length += len(self._pending)
        self._pending = ""
        if self._url is not None and self._start is None:
            self._start = self._length
        self._parts.append(piece)
        self._length += len(piece)

    def separate(self, separator: str) -> None:
        """A stronger separator replaces a weaker one that is still pending."""
        if self._length and len(separator.strip(" ")) >= len(self._pending.strip(" ")):
            self._pending = separator

    def open_link(self, url: str | None) -> None:
        self.close_link()
        self._url = url

    def close_link(self) -> None:
        if self._url is not None and self._start is not None:
            self._links.append((self._start, self._length, self._url))
        self._url = self._start = None

    def append(self, part: LinkedText) -> None:
        """Add finished text with its links."""
        if not part.text:
            return
        self.close_link()
        self._put(part.text)
        base = self._length - len(part.text)
        self._links += [(start + base, end + base, url) for start, end, url in part.links]

    def build(self) -> LinkedText:
        self.close_link()
        return LinkedText("".join(self._parts), tuple(self._links))


def place_links(text: LinkedText) -> tuple[Link, ...]:
    return tuple(Link(start, end, url, text.text[start:end]) for start, end, url in text.links)
