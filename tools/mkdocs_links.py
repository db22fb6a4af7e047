"""Links of docs/ to files of the repository outside it, for the built site (a hook of ``mkdocs.yml``).

In a checkout ``../examples/vllm/README.md`` works as it is.  The site holds only docs/, so that there it leads to
the repository.  A target that does not exist is left alone, and ``mkdocs build --strict`` fails.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(\]\()((?:\.\./)+[^)#\s]*)(#[^)\s]*)?(\))")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:
    """The page with links outside docs/ led to the repository."""
    repository = f"{config['extra']['repository']}/blob/main"

    def led(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page.file.src_uri), match[2]))
        if path.startswith(("..", "docs/")) or not (ROOT / path).exists():
            return match[0]
        return f"{match[1]}{repository}/{path}{match[3] or ''}{match[4]}"

    return LINK.sub(led, markdown)
