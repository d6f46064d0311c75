"""``python -m cempstream``, and the installed ``cempstream``."""

from cempstream.streams import began, interrupts  # noqa: F401 # `began` notes when


def main() -> None:
    """Run the command line; Ctrl-C ends it with one line, even during its imports."""
    interrupts.end_at_once()
    from cempstream.streams.cli import main as run

    try:
        run()
    finally:
        interrupts.end_at_once()


if __name__ == "__main__":
    main()
