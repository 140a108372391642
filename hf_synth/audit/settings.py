"""Settings of `hf-synth inspect`; light, so that help needs no libraries."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from ..config import strict
from ..retrieval.settings import ENCODER
from ..settings import SEEDS


@strict
class InspectConfig:
    """What is inspected, and beside what.

    Attributes:
        dataset: A labelled data set of texts or images, or a table: a folder, a file (.parquet, .jsonl, .csv) or a Hub
            id (`id:config`).
        reference: Real labelled rows to compare with, likewise; its test split must not stand in the data set.
        task: A task whose names the reference is brought under, a packaged one or a YAML file; none is needed.
        split: Split of the data set; `train` where there is one, else the first.
        reference_split: The reference's split that judges; `test` where there is one, else `validation`, or the first.
        text_columns: The data set's text columns (`text`, or `[premise, hypothesis]`), `none` of a table; found where
            left out.
        label_column: Its label column; found where left out.
        corpus: Texts that conditioned the generation (few shots, a corpus): a folder, a file (.txt too) or a Hub id.
        canaries: A text file with one secret a line, planted in what the generator was tuned on.
        scorer: A language model, a folder or Hub id, for perplexity; the tuned generator, also for memorisation.
        adapter: What `hf-synth tune` trained beside that model.
        judge: A classifier of the same class names, or an NLI model, whose labels stand beside those of the data set.
        toxicity: A classifier with a class called toxic, hateful or offensive.
        clip: A model of images and texts (CLIP's kind), for data sets with images: whether each goes with its text.
        output_dir: Where `inspect.json` and `report.html` go. Where left out: into a data set that `generate` wrote,
            whose card then states them, else `inspect/<its name>`.
        encoder: Encodes texts: a folder or Hub id; `none` for words alone.
        max_rows: Rows that are read, drawn by the seed where there are more; of texts, the reference's split that
            judges is read whole.
        embedded: Rows, of those, that are encoded and whose labels are judged.
        seed: Decides every draw.
    """

    dataset: str
    reference: str | None = None
    task: str | None = None
    split: str | None = None
    reference_split: str | None = None
    text_columns: str | Sequence[str] | None = None
    label_column: str | None = None
    corpus: str | None = None
    canaries: str | None = None
    scorer: str | None = None
    adapter: str | None = None
    judge: str | None = None
    toxicity: str | None = None
    clip: str | None = None
    output_dir: str | None = None
    encoder: str = ENCODER
    max_rows: int = Field(1_000_000, ge=20)
    embedded: int = Field(2_000, ge=20)
    seed: int = Field(0, ge=0, lt=SEEDS)
