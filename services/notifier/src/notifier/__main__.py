"""`python -m notifier [view | migrate [--wait]]`."""

from notifier.app import main

if __name__ == "__main__":
    main()
