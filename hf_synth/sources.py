"""Texts that a task takes from outside: a corpus, openings, and the real data it is judged on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from .config import strict
from .errors import InputError


@strict
class Corpus:
    """Real unlabelled text that conditions generation; named on the card.

    Attributes:
        path: Hub id or local folder.
        column: The text column.
        config: Configuration of the data set.
        split: Split; never a test split.
    """

    path: str
    column: str
    config: str | None = None
    split: str = "train"


@strict
class Opening:
    """The first stage: short texts that the main prompt is built around (`{opening}`).

    Attributes:
        prompt: Prompt that generates openings, such as a movie title or a premise.
        values: A fixed list in place of generated ones.
        corpus: Real texts in place of generated ones, where a method asks for them.
        max_new_tokens: Token limit of a generated opening.
        min_words: Shortest opening kept, in words.
    """

    prompt: str | None = None
    values: tuple[str, ...] = ()
    corpus: Corpus | None = None
    max_new_tokens: int = Field(10, ge=1)
    min_words: int = Field(1, ge=1)

    def __post_init__(self) -> None:
        if not (self.prompt or self.values or self.corpus):
            raise InputError("`opening` needs one of `prompt`, `values`, `corpus`")


@strict
class Reference:
    """The real data set a task is judged on.

    Attributes:
        path: Hub id.
        config: Its configuration.
        split: The labelled split to judge on.
        revision: Branch or commit; `refs/convert/parquet` where the main branch holds a loading script.
        columns: Our column name -> theirs, where they differ.
        label: Their label column.
        labels: Our label name -> theirs, where they differ.
        only: Their column -> the values, by name, of the rows that belong to the task; all where left out.
        package: A real test set served by the package index, used when the Hub cannot be reached.
    """

    path: str | None = None
    config: str | None = None
    split: str = "test"
    revision: str | None = None
    columns: Mapping[str, str] = Field(default_factory=dict)
    label: str = "label"
    labels: Mapping[str, str] = Field(default_factory=dict)
    only: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    package: Literal["vader_movies", "vader_products"] | None = None

    def holds(self, corpus: Corpus) -> bool:
        """Tell whether rows are of the data set and split that the task is judged on."""
        if self.path is None or not _same(self.path, corpus.path):
            return False
        if self.config and corpus.config and self.config != corpus.config:
            return False
        return Path(self.path).is_file() or corpus.split in self.split or self.split in corpus.split


def _same(one: str, other: str) -> bool:
    """Tell whether two ids or paths are of one data set."""
    paths = Path(one), Path(other)
    return one == other or (all(path.exists() for path in paths) and paths[0].resolve() == paths[1].resolve())
