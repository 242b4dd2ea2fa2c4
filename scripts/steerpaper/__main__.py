"""Commands beside the workflow: `python -m steerpaper trace PATH`."""

import argparse
import sys
from pathlib import Path

from steerpaper.errors import UserError


def main() -> None:
    """Run the command that is named."""
    parser = argparse.ArgumentParser(prog="python -m steerpaper")
    commands = parser.add_subparsers(dest="command", required=True)
    trace = commands.add_parser(
        "trace", help="follow a figure or table back to raw lines, model, code, settings and seed"
    )
    trace.add_argument("path", help="a file of results/ or figures/, or a figure's or table's name")
    asked = parser.parse_args()

    from steerpaper.workflow.trace import traced

    try:
        lines, sound = traced(asked.path, Path(__file__).parents[2])
    except UserError as error:
        sys.exit(str(error))
    print("\n".join(lines))
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    main()
