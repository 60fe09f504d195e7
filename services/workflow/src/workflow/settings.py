"""What workflow is told by its environment."""

from pathlib import Path

from chassis import ServiceSettings
from pydantic import Field

PACKAGED_DEFINITIONS = Path(__file__).parent / "definitions"


class Settings(ServiceSettings):
    """Settings of the chassis, and where the company's definitions stand."""

    definitions_dir: Path = Field(
        PACKAGED_DEFINITIONS, description="the folder of approval definitions, one YAML file each"
    )
