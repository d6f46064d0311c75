"""``python -m cempstream``, and the installed ``cempstream``."""

from cempstream.streams import interrupts


def main() -> None:
    """Run the command line; Ctrl-C ends it in a line, also while it is still being imported."""
    interrupts.end_at_once()
    from cempstream.streams.cli import main as run

    try:
        run()
    finally:
        interrupts.end_at_once()


if __name__ == "__main__":
    main()
