"""``python -m cempstream`` is ``cempstream``."""

from cempstream.streams.cli import main

if __name__ == "__main__":
    main()
