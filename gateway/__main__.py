"""The command line, `rerank-gateway`: its commands are those of gateway/cli.

Only what a signal needs is imported here: the rest takes a second, in which no signal must be lost.
"""

from __future__ import annotations

import sys

from gateway import exits

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from types import ModuleType
    from typing import NoReturn

EXIT_ERROR = 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; by default those of the process, which then ends here (gateway.exits).

    Returns:
        The exit status: 0 for success, 1 for an error that was printed, 130 for Ctrl-C, or the command's own.

    Raises:
        SystemExit: with 2 for unknown or invalid arguments, and with 0 for --help and --version.
    """
    if arguments is None:
        _run_program()
    return run_command(arguments)


def _run_program() -> NoReturn:
    # What stops a server is its normal end. A command that did not finish must not look as if it had.
    serving = sys.argv[1:2] == ["serve"]
    exits.catch_signals(status_at_sigterm=0 if serving else exits.EXIT_TERMINATED)
    try:
        status = run_command(sys.argv[1:], serving)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else EXIT_ERROR if end.code else 0
    exits.leave(status)


def run_command(arguments: Sequence[str], logging: bool = False) -> int:
    """Run one command; as `main`, with arguments.

    Args:
        arguments: without the program's name.
        logging: whether errors are for the log, which is JSON where standard error is no terminal.
    """
    import io
    import os

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(
            errors="backslashreplace"
        )  # where the locale is not UTF-8, texts are printed all the same
    options = _parse(arguments)
    from gateway.errors import ConfigError
    from providers.errors import RerankError

    try:
        status = int(options.run(options) or 0)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output, such as `head`, has closed it. Python would report that once more when it flushes
        # standard output at exit, so let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ConfigError, RerankError, OSError) as error:
        _tell_error(error, logging)
        return EXIT_ERROR
    except KeyboardInterrupt:
        return exits.EXIT_INTERRUPTED
    return status


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    top = parser()
    options, unknown = top.parse_known_args(arguments)
    if unknown:
        is_file = hasattr(options, "file") and any(each.startswith("--config") for each in unknown)
        hint = "; this command takes its file by its name alone" if is_file else ""
        top.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    return options


def parser() -> argparse.ArgumentParser:
    """The parser of the command line; each command sets `run`."""
    import argparse
    import os
    from importlib.metadata import version

    from gateway.config.loader import CONFIG_VARIABLE

    top = argparse.ArgumentParser(
        prog="rerank-gateway",
        description="One HTTP endpoint in front of every reranker.",
        epilog=f"The environment variable {CONFIG_VARIABLE} can name the configuration file instead of --config. "
        "Without a file, the gateway serves its own models and each vendor whose API key variable is set.",
    )
    top.add_argument("--version", action="version", version=f"rerank-gateway {version('rerank-gateway')}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND")
    top.set_defaults(run=lambda options: top.print_help(), program=top)
    for command in _commands():
        command.add_to(commands, os.environ.get(CONFIG_VARIABLE))
    return top


def _commands() -> tuple[ModuleType, ...]:
    """The modules of the commands, in the order in which --help lists them."""
    from gateway.cli import (
        capacity,
        check,
        completion,
        evaluate,
        import_config,
        init,
        keys,
        mcp,
        models,
        providers,
        ray,
        rerank,
        serve,
    )
    from gateway.cli import version as version_command

    return (
        serve,
        init,
        import_config,
        check,
        rerank,
        evaluate,
        providers,
        keys,
        models,
        ray,
        capacity,
        version_command,
        mcp,
        completion,
    )


def _tell_error(error: Exception, logging: bool) -> None:
    from gateway.cli.terminal import visible
    from gateway.errors import ConfigError
    from gateway.telemetry import lifecycle
    from providers.errors import RerankError

    if logging:
        lifecycle.ensure_log()
    if isinstance(error, ConfigError):
        count = len(error.problems)
        title = "the configuration has a problem" if count == 1 else f"the configuration has {count} problems"
        lifecycle.tell_error(title, [visible(str(problem)) for problem in error.problems])
    else:
        lifecycle.tell_error(visible(error.message if isinstance(error, RerankError) else _sentence(error)))


def _sentence(error: Exception) -> str:
    """What the system says of a file, without Python's number of it; whoever knows better has said so already."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
