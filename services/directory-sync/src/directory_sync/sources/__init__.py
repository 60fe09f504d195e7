"""Where people and departments come from, behind one typed question."""

from typing import Protocol

from directory_sync.domain.snapshot import Reading


class Source(Protocol):
    """A system that names people and departments."""

    @property
    def name(self) -> str:
        """How runs of this source are recorded."""
        ...

    async def read(self) -> Reading:
        """Read everything, outside any transaction; never raises for what the source holds."""
        ...
