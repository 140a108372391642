"""The seam between a run and whatever writes text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from ..records import Completion, Prompt


@runtime_checkable
class Generator(Protocol):
    """Writes texts. Completions come in the order of the prompts, one for each.

    Attributes:
        name: Model id or path, as the user knows it.
        digest: Identifies what decides the text: sha256 of the weights, or the endpoint's model id.
        source: Facts for provenance: where the weights came from, revision or sha256, dtype, device.
    """

    name: str
    digest: str

    @property
    def source(self) -> Mapping[str, Any]:
        """See the class."""
        ...

    def complete(self, prompts: Sequence[Prompt], *, seed: int, batch_size: int, **decoding: Any) -> list[Completion]:
        """Sample one completion per prompt; the same arguments give the same texts."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """A generator that can also tell how likely a given text is."""

    def score(self, prompts: Sequence[str | Prompt], texts: Sequence[str], *, batch_size: int) -> list[float]:
        """Return the mean log-probability (nats per token) of each text after its prompt.

        A prompt that is more than a text has a cell, by which some generators choose what answers it.
        """
        ...


@runtime_checkable
class Structured(Protocol):
    """A generator that may take the decoding setting `schema`, a JSON schema that every text then fits.

    Attributes:
        takes_schema: Whether it does; another generator, without the attribute, does not.
    """

    takes_schema: bool


@runtime_checkable
class Lazy(Protocol):
    """A generator that loads its model when the first text is wanted: what the journal answers needs none."""

    def load(self) -> None:
        """Load it now, so that the time is not counted as that of the first chunk."""


@runtime_checkable
class Tunable(Generator, Protocol):
    """A generator whose model lies in a folder and can have adapters beside it.

    Attributes:
        path: The folder.
        tokenizer: The model's tokenizer.
        device: What it runs on.
        dtype: Of its weights.
    """

    path: str
    tokenizer: Any
    device: Any
    dtype: Any

    def adapted(self, adapter: Any) -> Generator:
        """Return the same model with an adapter beside it."""
        ...


@runtime_checkable
class Concurrent(Protocol):
    """A generator that works on several chunks at once."""

    def start(
        self, prompts: Sequence[Prompt], *, seed: int, batch_size: int, **decoding: Any
    ) -> Callable[[], list[Completion]]:
        """Begin a chunk and return a function that waits for its answers; see `Generator.complete`."""
        ...


@runtime_checkable
class Piecewise(Concurrent, Protocol):
    """A concurrent generator whose answers come, and cost, one by one: `start` takes the further keyword `answered`.

    `start(…, answered=answers)` puts each answer there as it comes, by (prompt ordinal, attempt), and does not ask for
    what is there already; see `Answers`.
    """

    def rest(self) -> None:
        """Send nothing more for the chunks that were begun, and wait until what is under way is recorded."""


def takes_schema(generator: Generator) -> bool:
    """Tell whether a generator can be held to a JSON schema."""
    return isinstance(generator, Structured) and generator.takes_schema


def settled(generator: Generator, decoding: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return decoding settings of which a generator takes either `schema` or `stop`: stop strings would cut JSON."""
    if "schema" not in decoding:
        return decoding
    gone = "stop" if takes_schema(generator) else "schema"
    return {name: value for name, value in decoding.items() if name != gone}


class OutOfMemory(RuntimeError):
    """The batch did not fit; `Run` halves the batch and records that it did."""


def lacks_memory(error: BaseException) -> bool:
    """Return whether an error says that something did not fit; on CPUs and MPS it is a plain `RuntimeError`."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"  # torch's, not imported here
    said = any(words in str(error) for words in ("allocate memory", "out of memory"))
    return named or isinstance(error, OutOfMemory) or (isinstance(error, RuntimeError) and said)
