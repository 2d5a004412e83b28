"""Lists that code adds to while somebody collects what it notes, one for each thread."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

__all__ = ["Notes"]


class Notes(threading.local):
    """Notes of one kind.

    Attributes:
        found: the list of this thread; None while nobody collects.
    """

    found: list | None = None

    @contextlib.contextmanager
    def collected(self) -> Iterator[list]:
        """Yields the list of what this thread notes inside."""
        outer, self.found = self.found, []
        try:
            yield self.found
        finally:
            self.found = outer
