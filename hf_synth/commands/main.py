"""`hf-synth`: one command, its verbs, and what errors look like."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from ..errors import InputError
from ..generators.base import lacks_memory

VERBS = {
    "run": "generate, train and judge on real data, in one go",
    "tune": "train an adapter beside a generator on a few real rows",
    "generate": "write a labelled data set (--preview N shows N rows first)",
    "train": "train a student on a generated data set",
    "evaluate": "judge a trained student on real data",
    "impute": "complete a table with missing cells",
    "illustrate": "make images beside texts, and captions beside images",
    "fuse": "train a classifier of texts beside images, on generated and real pairs",
    "inspect": "say whether a labelled data set can be trusted",
    "export": "write a trained student as ONNX, checked for equal logits",
    "reproduce": "redo random chunks of a data set and compare",
    "push": "push a data set or model folder to the Hub",
    "tasks": "list the packaged tasks, or show one",
    "methods": "list the methods, or show one",
}

KEPT = " What was written so far is kept: the same command goes on from there."
SMALLER = (
    "out of memory: where a student trains, lower `train_batch_size` or `max_length`; where texts are written or "
    "scored, use a smaller `model`, or a lower `batch_size` in another `output_dir`"
)
RESUMED = ("run", "generate", "train", "impute", "illustrate", "fuse")  # go on where they were stopped


def main(argv: list[str] | None = None) -> int:
    """Run a verb.

    Returns:
        The exit code: 0, 1 where `reproduce` finds a difference, 2 for bad input, 130 after Ctrl-C, 143 after SIGTERM.
    """
    argv = sys.argv[1:] if argv is None else argv
    return guarded(argv[0] if argv else "help", argv[1:])


def guarded(verb: str, argv: list[str]) -> int:
    """Run a verb with errors turned into one sentence each."""
    _hush()
    kept = KEPT if verb in RESUMED else ""
    try:
        with _terminable():
            try:
                code = _called(verb, argv)
            except SystemExit as told:  # argparse, after its help
                code = int(told.code or 0)
            sys.stdout.flush()  # here, where a reader that has gone is no error
            return code
    except InputError as error:
        return _say(str(error), 2)
    except KeyboardInterrupt as stop:
        return _say(f"stopped.{kept}", 143 if isinstance(stop, Terminated) else 130)
    except BrokenPipeError:  # `hf-synth tasks | head`: the reader has what it wanted
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains as it flushes
        return 141
    except OSError as error:
        if error.errno is None:  # how transformers and the Hub's client say that files are missing
            return _say(" ".join(str(error).split()), 2)
        where = f" ({error.filename})" if error.filename else ""
        begun = not isinstance(error, (FileExistsError, NotADirectoryError))  # else the output folder is a file
        return _say(f"{os.strerror(error.errno)}{where}.{kept if begun else ''}", 2)
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        words = str(error) if type(error) is MemoryError else ""  # ours know more
        return _say(f"{words or SMALLER}.{kept}", 2)


def _called(verb: str, argv: list[str]) -> int:
    if verb in ("-h", "--help", "help"):
        print("usage: hf-synth VERB [--config recipe.yaml] [--key value ...]\n")
        print("\n".join(f"  {name:<11}{text}" for name, text in VERBS.items()))
        print("\n`hf-synth VERB --help` lists a verb's keys; they are the same in YAML and on the command line.")
        return 0
    if verb == "--version":
        from ..version import __version__

        print(__version__)
        return 0
    if verb not in VERBS:
        from ..errors import unknown

        raise unknown("the verb", verb, VERBS)
    return import_module(f".{verb}", __package__).main(argv) or 0


class Terminated(KeyboardInterrupt):
    """SIGTERM, by which SLURM and Docker stop what they started."""


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does; in a forked worker it does what it always did."""
    mine = os.getpid()

    def stop(number: int, frame: Any) -> None:
        if os.getpid() != mine:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        signal.signal(number, signal.SIG_IGN)  # launchers send another, which must not break off the way out
        raise Terminated

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread: somebody else's program
        yield
        return
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is stop:
            signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _hush() -> None:
    """Keep the libraries' own chatter down, unless the user has asked for it; must come before they are imported."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def _say(sentence: str, code: int) -> int:
    print(f"hf-synth: {sentence}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
