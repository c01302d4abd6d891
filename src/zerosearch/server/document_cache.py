"""Documents that were shown, by the address they were shown with, so that an agent can open what it found."""

from collections import OrderedDict
from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

from zerosearch.core.types import Document
from zerosearch.net.http import is_url

_TITLE_WORDS = 8
_MORE = " …"


class Hit(NamedTuple):
    """A document as a results page shows it: every API requires a title and an address, and a simulated document may have neither."""

    title: str
    text: str
    url: str
    id: str

    @property
    def contents(self) -> str:
        """The passage as Search-R1 writes it."""
        return f'"{self.title}"\n{self.text}'

    @property
    def whole(self) -> str:
        """The title once, then the text."""
        return self.text if self.text.startswith(self.title.removesuffix(_MORE)) else f"{self.title}\n{self.text}"


class DocumentCache:
    """The last `max_documents` documents shown. One whose id is not an address gets one of this server: BASE/documents/…"""

    def __init__(self, base_url: str = "http://127.0.0.1:8080", max_documents: int = 20_000) -> None:
        self.base_url = base_url
        self._max_documents = max_documents
        self._hits: OrderedDict[Document, Hit] = OrderedDict()
        self._by_url: dict[str, Hit] = {}

    def show(self, documents: Sequence[Document]) -> list[Hit]:
        return [self._shown(document) for document in documents]

    def open(self, url: str) -> Hit | None:
        return self._by_url.get(url)

    def open_here(self, name: str) -> Hit | None:
        """The document at BASE/documents/{name}."""
        return self.open(f"{self.base_url}/documents/{name}")

    def _shown(self, document: Document) -> Hit:
        hit = self._hits.get(document)
        if hit is not None:
            self._hits.move_to_end(document)
            return hit
        content = "\0".join((document.id, document.title, document.text)).encode("utf-8", "surrogatepass")
        url = document.id if is_url(document.id) else f"{self.base_url}/documents/{blake2b(content, digest_size=8).hexdigest()}"
        hit = self._hits[document] = Hit(title_of(document), document.text, url, document.id)
        self._by_url[url] = hit
        if len(self._hits) > self._max_documents:
            _, oldest = self._hits.popitem(last=False)
            if oldest.url != url:
                self._by_url.pop(oldest.url, None)
        return hit


def title_of(document: Document) -> str:
    """Its title, or its first words."""
    if document.title:
        return document.title
    words = document.text.split(maxsplit=_TITLE_WORDS)
    return " ".join(words[:_TITLE_WORDS]) + (_MORE if len(words) > _TITLE_WORDS else "")
