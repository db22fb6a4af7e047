"""What pytest-xdist sends to a worker at once: a test, or all of a file whose tests share what takes long to make."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

SHARING = ("tests/test_ab.py", "tests/test_vllm.py")
"""Files with a comparison, or a recording, that most of their tests look at."""


class FewAtATime(LoadScopeScheduling):  # type: ignore[misc]
    """Tests take from milliseconds to a minute: none is handed out long before its turn."""

    def _split_scope(self, nodeid: str) -> str:
        """Which tests belong together."""
        file = nodeid.partition("::")[0]
        return file if file in SHARING else nodeid
