"""`python -m oa_connector [migrate | check FILE]`."""

import sys
from pathlib import Path

from oa_connector.app import checked, service
from oa_connector.vendors.profile import ProfileError


def main() -> None:
    """The service; or a check of one profile, which needs neither settings nor the OA."""
    try:
        match sys.argv[1:]:
            case ["check", file]:
                sys.stdout.write(f"{checked(Path(file))}\n")
            case ["check", *_]:
                sys.exit("usage: python -m oa_connector check FILE")
            case _:
                service().main()
    except ProfileError as error:
        sys.exit(str(error))  # what is wrong in a file is no failure of ours: without a trace


if __name__ == "__main__":
    main()
