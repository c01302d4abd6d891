"""Where the `zerosearch` command begins, and `python -m zerosearch`."""

import signal
import sys


def main() -> None:
    """The command line. While it is being imported Ctrl-C ends the process, as it ends any that has no opinion about it: 130 in a shell."""
    listens = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # a background job of a shell script does not
    if listens:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from zerosearch import cli

    if listens:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    cli.main()


if __name__ == "__main__":
    sys.exit(main())
