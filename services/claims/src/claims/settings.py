"""What claims is told by its environment."""

from pathlib import Path

from chassis import ServiceSettings
from pydantic import Field

PACKAGED_LIMITS = Path(__file__).parent / "policy" / "limits.yaml"


class Settings(ServiceSettings):
    """Settings of the chassis, and where the company's limits stand."""

    limits_path: Path = Field(PACKAGED_LIMITS, description="the YAML file of limit rules")
