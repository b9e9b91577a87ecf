"""python -m toolkit: what ``toolkit`` is where it is not installed."""

from toolkit.commands.front import main

if __name__ == "__main__":
    from toolkit.stopping import leave

    leave(main())
