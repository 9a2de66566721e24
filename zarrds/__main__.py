"""``python -m zarrds``: the command line."""

import sys

from zarrds.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
