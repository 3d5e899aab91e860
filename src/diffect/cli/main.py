"""The one entry point, `diffect <command> [overrides]`. A command is imported only when it is called."""

import io
import os
import sys
from collections.abc import Sequence

import diffect

COMMANDS = {
    "train": "train and test a detector, or a whole sweep of them",
    "tune": "choose settings on synthetic defects, never on the test set, and run the choice",
    "add": "add normal images to a finished run, which makes a new one",
    "score": "score images with a finished run",
    "report": "tables and figures from logged runs",
    "data": "check, describe, audit or download a data set",
}

HELP = """diffect: anomaly detection with diffusion models, from photographs of good parts to the paper's tables

usage: diffect <command> [overrides]      overrides in Hydra's grammar: group=choice, key=value, -m for sweeps

{commands}

examples:
  diffect train data=mvtec data.root=/data/mvtec_ad data.category=bottle
  diffect train -m schedule=cosine,linear denoiser=conv,mlp seed=0,1 study=mine
  diffect report experiment=mine
  diffect train experiment=noise_schedules

`diffect <command> --help` lists that command's choices and keys. DIFFECT_TRACEBACK=1 shows tracebacks of errors."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 if it went well, 1 with one sentence on stderr if not, 2 for a wrong call.

    1 without a word where the reader of its output went away, as `head` does.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # what a terminal cannot show is a question mark, not an error
    try:
        status = _run(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_gone():  # it was another pipe, as one to a worker
            raise
        return 1
    return status


def _reader_gone() -> bool:
    """Whether nobody reads the output any more; what was not written is then dropped, or Python would try at exit."""
    import select

    gone = False
    for stream in (sys.stdout, sys.stderr):
        poll = select.poll()
        poll.register(stream.fileno(), 0)  # asks for nothing but errors, and a pipe without a reader is one
        if poll.poll(0):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            gone = True
    return gone


def _run(given: Sequence[str]) -> int:
    if not given or given[0] in ("-h", "--help", "help"):
        print(HELP.format(commands="\n".join(f"  {name:8} {what}" for name, what in COMMANDS.items())))
        return 0
    if given[0] == "--version":
        print(f"diffect {diffect.__version__}")
        return 0
    command, *overrides = given
    if command not in COMMANDS:
        from diffect.errors import suggest

        hint = suggest(command, COMMANDS)
        print(f"diffect: there is no command {command!r}; there are {', '.join(COMMANDS)}{hint}", file=sys.stderr)
        return 2
    # Only now: these import Hydra.
    from diffect.cli import completion
    from diffect.cli.launch import launch
    from diffect.config.files import config_folder
    from diffect.errors import expected, sentence

    if "--help" in overrides or "-h" in overrides:
        from diffect.cli.help import text

        print(text(command, config_folder(command), overrides))
        return 0
    try:
        if "--shell-completion" in overrides and (script := completion.answers(overrides, list(COMMANDS))):
            print(script)
            return 0
        launch(command, overrides)
    except KeyboardInterrupt:
        print(f"\ndiffect {command}: interrupted; start the same command again to continue", file=sys.stderr)
        return 130
    except BrokenPipeError:
        raise
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except Exception as error:
        if not expected(error) or os.environ.get("DIFFECT_TRACEBACK"):
            raise
        print(f"diffect {command}: {sentence(error)}", file=sys.stderr)
        return 1
    return 0
