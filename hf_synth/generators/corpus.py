"""`CorpusGenerator`: a retriever behind the generator's seam; what it writes are passages of a corpus."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from filelock import FileLock

from ..config import checked
from ..errors import InputError
from ..journal import console, digest, fill
from ..models import Source, cache_folder
from ..records import Completion, Prompt
from ..retrieval.settings import IndexConfig, Pooling, PretrainConfig

if TYPE_CHECKING:
    from ..retrieval.encode import Encoder
    from ..retrieval.index import Index
    from ..retrieval.passages import Passages

MAX_LENGTH = 200  # tokens of a query or a passage (https://huggingface.co/papers/2305.10703)
Hits = list[list[tuple[int, float]]]


@runtime_checkable
class Retriever(Protocol):
    """A generator whose answers are passages of a corpus: it can also tell which, and how near they are."""

    def prepare(self, **how: Any) -> dict[str, Any]:
        """Encode and index the corpus and return what is known of it."""
        ...

    def search(self, queries: Sequence[str], count: int, **how: Any) -> Hits:
        """Return, for each query, number and score of its `count` nearest passages, best first."""
        ...

    def nearest_queries(
        self, passages: Sequence[int], queries: Sequence[str], count: int, **how: Any
    ) -> list[list[int]]:
        """Return, for each passage's number, the places of its `count` nearest queries, best first."""
        ...


def retriever_of(generator: Any) -> Retriever:
    """Return a generator as the retriever that it must be.

    Raises:
        InputError: If it is none.
    """
    if not isinstance(generator, Retriever):
        raise InputError(f"texts are looked up in a corpus, and {generator.name} writes them: set `backend: corpus`")
    return generator


@dataclasses.dataclass
class Opened:
    """A corpus ready to be searched in one way, and what its queries found so far."""

    encoder: Encoder
    index: Index
    facts: dict[str, Any]
    found: dict[str, Any] = dataclasses.field(default_factory=dict)
    vectors: dict[str, Any] = dataclasses.field(default_factory=dict)

    def vector(self, query: str) -> Any:
        """Return a query's vector, [D], and keep it; encoded alone, so that it does not depend on others."""
        if query not in self.vectors:
            text = query.replace("\n", f" {self.encoder.separator} ")
            self.vectors[query] = self.encoder([text], batch_size=1)[0]
        return self.vectors[query]


class CorpusGenerator:
    """Answers `Prompt(text=query, rank=r)` with the passage of rank r: a function of query and rank alone.

    A line break in a query stands for the encoder's separator token. Vectors, index and a pretrained encoder are kept
    in the cache under the digest of what decides them, and made once, whatever the number of runs and processes.

    How the corpus is searched comes with the decoding settings of a call: `pooling` and `normalize` (see
    `retrieval.encode.pooled`), `index` (see `IndexConfig`) and `pretraining` (see `PretrainConfig`, and a `seed`;
    left out or `None`, the encoder is used as it is).

    Args:
        encoder: The checkpoint.
        passages: The corpus.
    """

    def __init__(self, encoder: Source, passages: Passages):
        self.encoder, self.passages = encoder, passages
        self.name = encoder.name
        self.digest = digest(["corpus", encoder.sha256, passages.digest, MAX_LENGTH])
        of = {"passages": len(passages), "sha256": passages.digest}
        self.source: Mapping[str, Any] = {**encoder.facts(), "corpus": of}
        self._opened: dict[str, Opened] = {}

    def complete(self, prompts: Sequence[Prompt], *, seed: int, batch_size: int, **decoding: Any) -> list[Completion]:
        """Return the passage that each prompt asks for; neither seed nor batch size changes anything."""
        opened = self._open(decoding)
        found = self._find(opened, list(dict.fromkeys(prompt.text for prompt in prompts)))
        places = []
        for prompt in prompts:
            hits, _ = found[prompt.text]
            if prompt.rank >= len(hits):
                raise InputError(
                    f"`rank` {prompt.rank} of a query is asked, and the index goes to {len(hits) - 1}: "
                    "raise `index.depth`, or ask for less"
                )
            places.append(int(hits[prompt.rank]))
        return [Completion(text) for text in self.passages[places]]

    def prepare(self, **how: Any) -> dict[str, Any]:
        """See `Retriever`."""
        return self._open(how).facts

    def search(self, queries: Sequence[str], count: int, **how: Any) -> Hits:
        """See `Retriever`; scores are inner products."""
        found = self._find(self._open(how), queries)
        return [
            [(int(place), float(score)) for place, score in zip(*(part[:count] for part in found[query]), strict=True)]
            for query in queries
        ]

    def nearest_queries(
        self, passages: Sequence[int], queries: Sequence[str], count: int, **how: Any
    ) -> list[list[int]]:
        """See `Retriever`."""
        import numpy as np

        from ..retrieval.index import nearest

        opened = self._open(how)
        vectors = np.stack([opened.vector(query) for query in queries])
        return nearest(opened.index.vectors.rows(np.asarray(passages)), vectors, count).tolist()

    def _find(self, opened: Opened, queries: Sequence[str]) -> dict[str, Any]:
        """Return places and scores of each query's hits, which are kept: `complete` asks for what `search` found."""
        import numpy as np

        new = [query for query in dict.fromkeys(queries) if query not in opened.found]
        if new:
            vectors = np.stack([opened.vector(query) for query in new])
            opened.found.update(zip(new, opened.index.search(vectors), strict=True))
        return {query: opened.found[query] for query in queries}

    def _open(self, how: Mapping[str, Any]) -> Opened:
        """Open the corpus for one way of searching it; everything is made that is not in the cache."""
        pooling, normalize = how.get("pooling", "mean"), how.get("normalize", True)
        index = checked(IndexConfig, how.get("index") or {}, "`index`")
        pretraining = how.get("pretraining")
        key = digest([pooling, normalize, dataclasses.asdict(index), pretraining])
        if key not in self._opened:
            self._opened[key] = self._make(pooling, normalize, index, pretraining)
        return self._opened[key]

    def _make(self, pooling: Pooling, normalize: bool, config: IndexConfig, pretraining: Any) -> Opened:
        from ..retrieval.encode import Encoder, Vectors, encode_corpus
        from ..retrieval.index import Index

        home = cache_folder() / "retrieval" / digest([self.digest, pooling, normalize, pretraining])[:32]
        home.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{home}.lock"):
            path, facts = Path(self.encoder.path), None
            if pretraining:
                path = home / "encoder"
                facts = self._pretrained(path, pooling, normalize, pretraining)
            encoder = Encoder(path, pooling, normalize, MAX_LENGTH)
            encode_corpus(encoder, self.passages, home)
            index = Index(Vectors(home), config, home)
        known = {"passages": len(self.passages), "index": index.kind, **({"pretraining": facts} if facts else {})}
        return Opened(encoder, index, known)

    def _pretrained(self, target: Path, pooling: Pooling, normalize: bool, settings: Mapping[str, Any]) -> Any:
        """Train the encoder on the corpus, or read what was noted when that was done."""
        from ..retrieval.pretrain import pretrain

        if not target.exists():
            given = dict(settings)
            seed = given.pop("seed", 0)
            config = checked(PretrainConfig, given, "`pretraining`")
            console.print(f"{self.name}: contrastive pretraining on the corpus, {config.steps} steps")
            how: Any = {"pooling": pooling, "normalize": normalize, "seed": seed}
            fill(target, lambda aside: pretrain(self.encoder.path, self.passages, config, aside, **how))
        return json.loads((target / "pretraining.json").read_text())
