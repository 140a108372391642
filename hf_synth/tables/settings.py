"""Settings of `hf-synth impute`; light, so that help needs no libraries."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from ..config import strict
from ..errors import InputError
from ..settings import SEEDS, SynthConfig


@strict
class ImputeConfig:
    """What is imputed, and by what.

    Attributes:
        table: A `.csv`, `.jsonl` or `.parquet` file, a data set's folder, or a Hub id.
        schema: YAML file with the columns' types, ranges, categories, and the words that stand for a missing cell, of
            the table and of a column; found in the observed cells where left out.
        split: The split that is learnt from; all splits are completed.
        label_column: A column that is not imputed, and never given when cells are, so that a classifier can be judged
            on completed rows. Labels of the split that is learnt from stand in half of the texts, for rows of a label.
        imputations: Completed tables, each with draws of its own; Rubin's rules pool what is computed on them.
        interval: Share of the draws that lie between a cell's `low` and `high`.
        hidden: Share of the observed cells that nothing is learnt from, on which error and coverage are measured.
        attempts: Draws a cell may take until one is a value of its column; a cell that would take more stays empty.
        bins: Words for a column of numbers: its quantiles.
        synthetic_label: Also write whole rows of this label.
        synthetic_rows: How many.
        holdout: A split, or another table of the same columns, that nothing is learnt from, for the privacy figures
            of synthetic rows; by default the table's split `validation`, else `test`.
        license: Licence of the completed table, as the Hub writes it; nothing is claimed where left out.
        output_dir: Folder for `dataset/` and the journal; `outputs/<table>-impute` where left out.
        hub_id: Push the completed table to this Hub repository.
        private: Keep the output on this machine: it is pushed by `hf-synth push --overrule private` alone, and so is
            that of a data set that was made under `private`.
    """

    read_by: ClassVar = {"holdout": ("synthetic_rows", ())}

    table: str
    schema: str | None = None
    split: str = "train"
    label_column: str | None = None
    imputations: int = Field(5, ge=2)
    interval: float = Field(0.9, gt=0, lt=1)
    hidden: float = Field(0.05, ge=0, lt=0.5)
    attempts: int = Field(20, ge=1)
    bins: int = Field(10, ge=2, le=10)
    synthetic_label: str | None = None
    synthetic_rows: int = Field(0, ge=0)
    holdout: str | None = None
    license: str | None = None
    output_dir: str | None = None
    hub_id: str | None = None
    private: bool = False

    def __post_init__(self) -> None:
        if (self.synthetic_label is None) != (self.synthetic_rows == 0):
            raise InputError("`synthetic_label` and `synthetic_rows` go together: whole rows of a label, and how many")
        if self.synthetic_rows and self.label_column is None:
            raise InputError("`synthetic_label` is a label of `label_column`; give that too")


@strict
class ImputerConfig:
    """The generator and how it is tuned on the observed cells.

    Attributes:
        model: The generator: a Hub id or a local folder.
        seed: Decides initial values, orders and draws.
        layers: How many of the model's first layers are used; all with `null`, or where it has fewer. Ten of
            SmolLM2's thirty impute as well as all, in a third of the time.
        adapter_size: Rank of the LoRA that is trained beside the model.
        tune_epochs: Times over the rows, each time with the columns in other orders.
        tune_learning_rate: Peak of a linear schedule.
        tune_batch_size: Rows a step.
        orders: Orders of a row's observed cells over which a distribution is averaged.
        batch_size: Forward rows at once.
    """

    model: str = SynthConfig.model
    seed: int = Field(0, ge=0, lt=SEEDS)
    layers: int | None = Field(10, ge=1)
    adapter_size: int = Field(16, ge=1)
    tune_epochs: int = Field(6, ge=1)
    tune_learning_rate: float = Field(1e-3, gt=0)
    tune_batch_size: int = Field(16, ge=1)
    orders: int = Field(2, ge=1)
    batch_size: int = Field(64, ge=1)
