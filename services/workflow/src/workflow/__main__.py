"""`python -m workflow`."""

from workflow.app import service

if __name__ == "__main__":
    service().main()
