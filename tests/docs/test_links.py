"""Every link of a page leads somewhere: to a file, and to a heading in it."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from tests.docs.pages import PAGES, anchors, links
from tests.test_simulate import ROOT

BUILT = "docs/generated/"
"""Pages that are made when all are built."""


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for link in links(page):
        target, _, anchor = link.partition("#")
        path = (ROOT / PurePosixPath(page).parent / target).resolve() if target else ROOT / page
        name = path.relative_to(ROOT).as_posix()
        if name.startswith(BUILT):
            continue
        assert path.exists(), f"{page} links to {link}"
        if anchor and path.suffix == ".md":
            assert anchor in anchors(name), f"{page} links to {link}; there are {sorted(anchors(name))}"


def test_what_is_not_there_is_found() -> None:
    assert "what-is-promised-after-a-kill" in anchors("docs/safety.md")
    assert "one_ruler.png" in set(links("docs/index.md"))
