"""`python -m claims`."""

from claims.app import service

if __name__ == "__main__":
    service().main()
