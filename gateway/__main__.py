"""The command line: serve, check, keys, providers, rerank."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from gateway.cli import check, keys, providers, rerank, serve
from gateway.config.loader import CONFIG_VARIABLE
from gateway.errors import ConfigError
from providers.errors import RerankError

EXIT_PROBLEM = 1
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0 done, 1 a problem the message explains, 2 wrong usage."""
    chosen = parser().parse_args(arguments)
    try:
        status = int(chosen.run(chosen))
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough. Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ConfigError, RerankError, OSError) as error:
        print(_sentence(error), file=sys.stderr)
        return EXIT_PROBLEM
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return status


def parser() -> argparse.ArgumentParser:
    """The grammar of the command line."""
    top = argparse.ArgumentParser(
        prog="rerank-gateway",
        description="One HTTP endpoint in front of every reranker.",
        epilog=f"The configuration file may also be named by the environment variable {CONFIG_VARIABLE}. "
        "Without one, the embedded model is served, and each vendor whose usual key variable is set.",
    )
    top.add_argument("--version", action="version", version=f"rerank-gateway {version('rerank-gateway')}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (serve, check, keys, providers, rerank):
        command.add_to(commands, os.environ.get(CONFIG_VARIABLE))
    return top


def _sentence(error: Exception) -> str:
    if isinstance(error, ConfigError):
        count = len(error.problems)
        title = "the configuration has a problem" if count == 1 else f"the configuration has {count} problems"
        return "\n".join([f"error: {title}:", *(f"  {problem}" for problem in error.problems)])
    return f"error: {error.message if isinstance(error, RerankError) else error}"


if __name__ == "__main__":
    sys.exit(main())
