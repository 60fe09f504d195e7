"""What directory-sync is told by its environment."""

from pathlib import Path

from chassis import ServiceSettings
from pydantic import Field


class Settings(ServiceSettings):
    """Settings of directory-sync beside those of every service."""

    directory_folder: Path = Field(description="where people.csv and departments.csv lie")
    require_row_count: bool = Field(
        default=True,
        description="refuse a file without its last line #rows=N, the proof that it is whole",
    )
    max_leaving_percent: int = Field(
        10, ge=0, le=100, description="a run that would remove a larger share is refused"
    )
    max_leaving_people: int = Field(
        50, ge=0, description="a run that would remove more people is refused"
    )
    apply_at_start: bool = Field(
        default=False, description="apply the source once when the service starts"
    )
    auto_apply_seconds: float | None = Field(
        None, gt=0, description="look for a changed source this often and apply it; None: never"
    )
