"""`python -m directory_sync [migrate [--wait]]`."""

from directory_sync.app import service

if __name__ == "__main__":
    service().main()
