"""Real data: the labelled rows a task is judged on, and the unlabelled texts that may condition generation."""

from __future__ import annotations

import io
import os
import random
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import models
from .errors import InputError, reason_of, unknown
from .files import cells_of, load_file
from .journal import console
from .mapping import check_texts, rows_of, under_names
from .models import cache_folder
from .packages import fetch_package
from .task import Corpus, Reference, Task

if TYPE_CHECKING:
    from datasets import Dataset

VADER = ("vaderSentiment", "3.3.2", "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9")
VADER_FILES = {"vader_movies": "movieReviewSnippets", "vader_products": "amazonReviewSnippets"}
WHOLE = "whole file"  # the split of a file's rows
NEUTRAL = 0.5  # snippets whose mean rating lies nearer to zero are left out: people did not agree on a side


class NotEvaluated(Exception):
    """No real test set can be had; the message says why."""


@dataclass(frozen=True)
class RealRows:
    """Real labelled rows under the task's column and label names.

    Attributes:
        data: Columns: the task's text columns and its label column, labels as names.
        name: The data set, as a report states it.
        split: Its split.
        malformed: Rows of it that were left out, since nothing can be judged on them.
        blank: Likewise, without a text or a label.
    """

    data: Dataset
    name: str
    split: str
    malformed: int = 0
    blank: int = 0


def load_reference(task: Task, path: str | None = None, split: str | None = None) -> RealRows:
    """Load the real rows a task is judged on: `path`, the Hub (its cache first), or a test set of the package index.

    Args:
        task: Names the reference and how its columns and labels map.
        path: A folder, file or Hub id in place of the task's.
        split: In place of the task's split.

    Raises:
        InputError: If what `path` names cannot be loaded or does not fit the task.
        NotEvaluated: If nothing was named and nothing can be had.
    """
    reference = task.reference or Reference()
    if path is not None:
        return _mapped(task, reference, *_folder_or_hub(path, split, reference))
    reason = "the task names no real data set"
    if reference.path is not None:
        try:
            data = load_real(reference.path, reference.config, reference.split, reference.revision)
        except (OSError, ValueError) as error:  # what datasets and the Hub's client raise
            reason = f"{reference.path} cannot be loaded ({reason_of(error)})"
        else:  # it is there: if it does not fit the task, no other test set may take its place
            known = (Path(reference.path).resolve().name, WHOLE) if Path(reference.path).is_file() else None
            return _mapped(task, reference, data, *(known or (reference.path, reference.split)))
    if reference.package is not None:
        try:
            return _vader(task, reference.package)
        except InputError as error:
            reason = f"{reason}; {error}"
    raise NotEvaluated(reason)


def load_labelled(task: Task, path: str, split: str, key: str) -> RealRows:
    """Load the real labelled rows that a setting names, under the task's names.

    Args:
        task: How columns and labels map.
        path: A folder, file or Hub id.
        split: Its split; a file has none.
        key: The setting, for messages.

    Raises:
        InputError: If they cannot be loaded or do not fit the task.
    """
    reference = task.reference or Reference()
    return _mapped(task, reference, *_folder_or_hub(path, split, reference, key))


def _folder_or_hub(
    path: str, split: str | None, reference: Reference, key: str = "reference"
) -> tuple[Dataset, str, str]:
    from datasets import get_dataset_split_names

    local = bool(path) and Path(path).exists()
    try:
        if Path(path).is_file():
            if split and key == "reference":
                raise InputError(f"`reference_split: {split}`: {path!r} is one file, which has no splits")
            return load_real(path, split="train"), Path(path).resolve().name, WHOLE
        if local:
            with readable():
                names = get_dataset_split_names(path)
            split = split or ("test" if "test" in names else reference.split)
            if split not in names:
                setting = "reference_split" if key == "reference" else key
                raise InputError(f"`{setting}`: {unknown('a split of ' + repr(path), split, names)}")
        split = split or reference.split
        config = reference.config if path == reference.path else None
        return load_real(path, config, split), Path(path).resolve().name if local else path, split
    except InputError:
        raise
    except (OSError, ValueError) as error:  # what datasets and the Hub's client raise
        what = f"{path!r} cannot be loaded" if local else f"there is no folder {path!r}, and from the Hub"
        raise InputError(f"`{key}`: {what}: {reason_of(error)}") from None


def load_real(path: str, config: str | None = None, split: str | None = None, revision: str | None = None) -> Any:
    """Load a data set from a folder, a file, the Hub's cache or the Hub; one that cannot be reached is asked once.

    Raises:
        OSError: If it is nowhere, as `datasets` says it.
        ValueError: If it has no such config or split, or cannot be read.
    """
    import datasets
    from huggingface_hub import constants

    if not path:  # as an unset variable of a shell is: to `Path` that is the folder the command runs in
        raise ValueError("the name is empty")
    if Path(path).is_file():
        with readable():
            return load_file(path, split)
    offline = not Path(path).exists() and models.hub_unreachable() is not None
    before = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    if offline:  # otherwise the client looks the host up six times, half a minute, before it reads its cache
        datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        with readable():
            return datasets.load_dataset(path, config, split=split, revision=revision, **cells_of(Path(path)))
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before


@contextmanager
def readable() -> Iterator[None]:
    """Say why files cannot be read as a ValueError: `datasets` hides the reason, and stumbles over empty ones.

    Raises:
        ValueError: If they cannot.
    """
    from datasets.exceptions import DatasetsError

    try:
        yield
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 (byte {error.object[error.start]:#x}); save it as UTF-8") from None
    except (StopIteration, ValueError) as error:
        if isinstance(error, ValueError) and "corresponds to no data" not in str(error):
            raise
        raise ValueError("a file holds no rows") from None
    except RuntimeError as error:  # of a loading script, which datasets no longer runs
        raise ValueError(f"{error}; give its rows as a folder or a file") from None
    except DatasetsError as error:
        if isinstance(error, OSError):
            raise
        reason = error.__cause__ or error
        said = "a whole number has more than 64 bits" if isinstance(reason, OverflowError) else str(reason)
        raise ValueError(said or type(reason).__name__) from error


def _mapped(task: Task, reference: Reference, data: Dataset, name: str, split: str) -> RealRows:
    found, malformed = under_names(task, reference, data, name, split)
    where = f"{name}, split {split}"
    for place, why in list(malformed.items())[:1]:
        some = f"{len(malformed)} of {len(data)} rows {'is' if len(malformed) == 1 else 'are'} malformed"
        console.print(f"{where}: {some}, and left out (row {place}: {why})")
    if left := 0 if reference.only else len(data) - len(found) - len(malformed):
        label = "answer" if task.kind == "qa" else "label"
        console.print(f"{where}: {left} of {len(data)} rows have no text or no {label}, and are left out")
    return RealRows(found, name, split, len(malformed), left)


def _vader(task: Task, package: str) -> RealRows:
    """Read the review snippets with mean human ratings that the sdist of vaderSentiment (MIT) carries.

    Ratings run from -4 to 4 over about twenty people; the side of the mean is the label.
    """
    project, version, sha256 = VADER
    file = cache_folder() / f"{package}-{version}.tsv"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        console.print(f"no Hub here; fetching a real test set from the package index ({project} {version}, MIT)")
        with tempfile.TemporaryDirectory(dir=file.parent) as scratch:
            sdist = fetch_package(project, version, sha256, Path(scratch), source=True)
            part = file.with_suffix(f".{os.getpid()}")
            part.write_bytes(_member(sdist, VADER_FILES[package]))
            part.rename(file)
    sides = {side: _side(task, side) for side in ("negative", "positive")}
    texts, labels = [], []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        _, rating, text = line.split("\t", 2)
        if abs(float(rating)) >= NEUTRAL:
            texts.append(text.strip())
            labels.append(sides["positive" if float(rating) > 0 else "negative"])
    name = f"{package} ({project} {version}, Hutto and Gilbert 2014, mean human rating at least {NEUTRAL} from zero)"
    return RealRows(rows_of(task, {task.columns[-1]: texts}, labels), name, "all")


def _side(task: Task, side: str) -> str:
    """Return the label whose name (`neg`) or words say a side.

    Raises:
        InputError: If the task has no such label.
    """
    for name, words in task.labels.items():
        if side.startswith(name.lower()) or words == side:
            return name
    raise InputError(f"the test set has the side {side!r}; the labels of {task.name} are {list(task.labels)!r}")


def _member(sdist: Path, stem: str) -> bytes:
    with tarfile.open(sdist) as outer:
        inner_name = next(name for name in outer.getnames() if name.endswith("hutto_ICWSM_2014.tar.gz"))
        stream = outer.extractfile(inner_name)
        assert stream is not None
        with tarfile.open(fileobj=io.BytesIO(stream.read())) as inner:
            file = inner.extractfile(f"hutto_ICWSM_2014/{stem}_GroundTruth.txt")
            assert file is not None
            return file.read()


def check_corpus(task: Task) -> None:
    """Refuse a corpus that real test data could come from: test data must not condition generation.

    Raises:
        InputError: If the split is a test split, or the one the task is judged on.
    """
    judged = task.reference
    for corpus in (task.corpus, task.opening.corpus if task.opening else None):
        if corpus is None:
            continue
        if (judged and judged.holds(corpus)) or "test" in corpus.split or corpus.split == "all":
            raise InputError(f"`corpus.split` is {corpus.split!r}: real test data must not condition generation")


def refuse_judged(task: Task, sources: Sequence[Corpus]) -> None:
    """Refuse rows to learn from, or to write behind, that the task is judged on.

    Raises:
        InputError: If there are any.
    """
    for source in sources:
        if task.reference and task.reference.holds(source):
            raise InputError(
                f"{task.name} is judged on the split {task.reference.split!r} of {source.path!r}: name other rows"
            )


def load_corpus(corpus: Corpus) -> Dataset:
    """Load a real corpus; it stays on disk.

    Raises:
        InputError: If it cannot be loaded, or has no such column of texts.
    """
    try:
        data = load_real(corpus.path, corpus.config, corpus.split)
    except (OSError, ValueError) as error:
        raise InputError(f"`corpus`: {corpus.path!r} cannot be loaded: {reason_of(error)}") from None
    if corpus.column not in data.column_names:
        raise InputError(f"`corpus`: {unknown('a column', corpus.column, data.column_names)}")
    check_texts(data, corpus.column, f"`corpus`: {corpus.path!r}")
    return data


def corpus_texts(corpus: Corpus, seed: int) -> Iterator[str]:
    """Yield the texts of a real corpus, each once, in an order that the seed fixes.

    Raises:
        InputError: If it cannot be loaded.
    """
    data = load_corpus(corpus)
    texts = sorted({" ".join(text.split()) for text in data[corpus.column] if text and text.strip()})
    random.Random(f"{seed}:corpus").shuffle(texts)
    yield from texts
