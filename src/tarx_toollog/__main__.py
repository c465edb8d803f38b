"""``python -m tarx_toollog`` and the ``toollog`` command."""

from tarx_toollog.cli.main import cli


def main() -> None:
    """Run the command line and exit with its code."""
    cli.main(prog_name="toollog")


if __name__ == "__main__":
    main()
