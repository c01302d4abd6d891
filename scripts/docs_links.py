"""Check that every link, image and anchor of the built site leads somewhere. `make docs` calls it after the build.

The generator's own strict mode checks links between pages, and their anchors. It does not notice a missing image, another missing file,
a link in raw HTML, or a page that the navigation names and nobody wrote. Addresses outside the site are not checked.

    python scripts/docs_links.py build/site
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """What a page links to, and the ids that can be linked to."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids.update(value for name, value in attrs if name in ("id", "name") and value)
        self.links += [value for name, value in attrs if name in ("href", "src") and value]


def dead_links(site: Path) -> list[str]:
    """One line for each link of the site that leads nowhere. Raises FileNotFoundError when there is no site."""
    pages = {file.resolve(): Page(file) for file in sorted(site.rglob("*.html")) if file.name != "404.html"}
    if not pages:
        raise FileNotFoundError(f"no page in {site}; run `make docs`.")
    dead: list[str] = []
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].ids | {"__search"}):
                dead.append(f"{file.relative_to(site.resolve())}: '{link}' leads nowhere")
    return sorted(set(dead))


if __name__ == "__main__":
    found = dead_links(Path(sys.argv[1]))
    print("\n".join(found) or "every link leads somewhere")
    sys.exit(bool(found))
