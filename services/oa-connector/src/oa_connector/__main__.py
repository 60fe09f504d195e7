"""`python -m oa_connector [migrate]`."""

from oa_connector.app import service

if __name__ == "__main__":
    service().main()
