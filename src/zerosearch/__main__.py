"""`python -m zerosearch` is the `zerosearch` command."""

import sys

from zerosearch.cli import main

if __name__ == "__main__":
    sys.exit(main())
