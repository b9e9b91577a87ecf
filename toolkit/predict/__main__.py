"""python -m toolkit.predict."""

import sys

from toolkit.predict.command import main

if __name__ == "__main__":
    sys.exit(main())
