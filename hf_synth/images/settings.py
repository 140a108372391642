"""Settings of `hf-synth illustrate`; light, so that help needs no libraries."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from ..config import strict
from ..errors import InputError
from ..settings import SEEDS, StudentConfig

LONGEST_CHAIN = 8


@strict
class Where:
    """Where rows are found.

    Attributes:
        dataset: A data set's folder or Hub id.
        split: Its split.
        text_column: The texts.
        image_column: The images.
        label_column: The labels.
        max_rows: Take only so many rows, the first.
    """

    dataset: str
    split: str = "train"
    text_column: str = "text"
    image_column: str = "image"
    label_column: str | None = None
    max_rows: int | None = Field(None, ge=1)


@strict
class IllustrateConfig(Where):
    """What is illustrated or captioned, by what, and which of it is kept.

    Attributes:
        dataset: A data set's folder or Hub id with texts, images, or some of each.
        split: The split that is taken; the output holds it alone.
        text_column: The texts; added where there is none, and filled from the images where a text is missing.
        image_column: The images; likewise, from the texts.
        label_column: The label that a row's images and captions inherit; needed to select by it.
        image_model: The pipeline of diffusers that makes images: a Hub id or a local folder.
        captioner: The model that writes captions: a Hub id or a local folder.
        hops: How often a chain goes from a text to an image and on to that image's caption.
        draws: Chains that start at each row.
        image_prompt: What the image model is asked; `{text}` is the row's text or the last caption.
        caption_prompt: What a caption starts with, of captioners that take such.
        steps: Denoising steps of an image; the pipeline's own number where left out.
        guidance: Guidance scale; the pipeline's own where left out.
        size: Height and width of an image; the pipeline's own where left out.
        top_p: Nucleus that captions are drawn from.
        caption_tokens: Longest caption.
        image_batch_size: Images made, or captioned, at once.
        dtype: Of the image model; `auto` is float16 on an accelerator, float32 on the CPU.
        select: Share of the chains' images, of all that were made, that is kept at most, by how much their captions
            tell of the label (see `policy`); those that tell less than nothing and near-duplicates go in any case. All
            are kept, unjudged, where left out.
        policy: What the share is of: the images of one row (`per_source`) or one label (`per_class`); `threshold`
            keeps all above 0.
        duplicate_bits: Of the 64 bits of two images' difference hashes, how many may differ in near-duplicates.
        folds: Teachers: each row's images are judged by one that saw neither them nor the row's text.
        teacher: Encoder of the teachers; `bilstm` needs none.
        teacher_args: Further settings of them, as `StudentConfig` names them.
        seed: Decides every draw.
        license: Licence of the output, as the Hub writes it; nothing is claimed where left out.
        output_dir: Folder for `dataset/` and the journal; `outputs/<dataset>-illustrate` where left out.
        hub_id: Push the output to this Hub repository.
        private: Keep the output on this machine: it is pushed by `hf-synth push --overrule private` alone, and so is
            that of a data set that was made under `private`.
    """

    read_by: ClassVar = {
        **dict.fromkeys(("image_prompt", "steps", "guidance", "size", "dtype"), ("image_model", ())),
        **dict.fromkeys(("caption_prompt", "top_p", "caption_tokens"), ("captioner", ())),
        **dict.fromkeys(("policy", "duplicate_bits", "folds", "teacher", "teacher_args"), ("select", ())),
    }

    image_model: str | None = None
    captioner: str | None = None
    hops: int = Field(1, ge=1, le=LONGEST_CHAIN)
    draws: int = Field(1, ge=1)
    image_prompt: str = "{text}"
    caption_prompt: str = ""
    steps: int | None = Field(None, ge=1)
    guidance: float | None = Field(None, ge=0)
    size: int | None = Field(None, ge=8)
    top_p: float = Field(0.9, gt=0, le=1)
    caption_tokens: int = Field(50, ge=1)
    image_batch_size: int = Field(4, ge=1)
    dtype: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    select: float | None = Field(None, gt=0, le=1)
    policy: Literal["per_source", "per_class", "threshold"] = "per_source"
    duplicate_bits: int = Field(3, ge=0, le=63)
    folds: int = Field(5, ge=2)
    teacher: str = StudentConfig.student
    teacher_args: dict[str, Any] = Field(default_factory=dict)
    seed: int = Field(0, ge=0, lt=SEEDS)
    license: str | None = None
    output_dir: str | None = None
    hub_id: str | None = None
    private: bool = False

    def __post_init__(self) -> None:
        if self.image_model is None and self.captioner is None:
            raise InputError("give an `image_model` (texts to images), a `captioner` (images to texts), or both")
        if self.hops > 1 and (self.image_model is None or self.captioner is None):
            raise InputError(f"a chain of {self.hops} hops needs both an `image_model` and a `captioner`")
        if self.draws > 1 and self.image_model is None:
            raise InputError(f"`draws` is how many images a row gets; {self.draws} need an `image_model`")
        if self.select is not None and (self.image_model is None or self.captioner is None):
            raise InputError("`select` judges images by their captions: it needs an `image_model` and a `captioner`")
        if self.select is not None and self.label_column is None:
            raise InputError("`select` judges what a caption tells of the label; give `label_column`")
        if "{text}" not in self.image_prompt:
            raise InputError(f"`image_prompt` must hold {{text}}; got {self.image_prompt!r}")


@strict
class FuseConfig:
    """A classifier of texts beside images, and the pairs that it is trained and judged on.

    Attributes:
        dataset: What `illustrate` made: a folder or Hub id. Its pairs that were given count as real.
        split: Its split.
        text_column: The texts.
        image_column: The images.
        label_column: The labels.
        real: Further real pairs with the same columns: a folder or Hub id.
        real_split: Their split.
        reference: Real pairs to judge on: a folder or Hub id.
        reference_split: Their split.
        text_model: Text encoder: a Hub id or a local folder.
        vision_model: Image encoder whose states are patches, such as ViT or CLIP: a Hub id or a local folder.
        anneal: Train by CAMEL's rounds: everything, then the cross-attention and the head, then the head; on
            generated, then on real pairs. Otherwise everything on all pairs at once.
        num_train_epochs: Epochs of each visit.
        learning_rate: Peak of its schedule.
        train_batch_size: Pairs a step.
        max_length: Tokens a text is cut to.
        fusion_size: Width in which texts and images meet.
        fusion_heads: Heads of the cross-attention.
        seed: Decides initial weights, order and dropout.
        output_dir: Folder for `model/` and `report.json`; `outputs/<dataset>-fuse` where left out.
        private: Keep the model on this machine: it is pushed by `hf-synth push --overrule private` alone, and so is
            that of a data set that was made under `private`.
    """

    read_by: ClassVar = {"real_split": ("real", ()), "reference_split": ("reference", ())}

    dataset: str
    split: str = "train"
    text_column: str = "text"
    image_column: str = "image"
    label_column: str = "label"
    real: str | None = None
    real_split: str = "train"
    reference: str | None = None
    reference_split: str = "test"
    text_model: str = StudentConfig.student
    vision_model: str = "google/vit-base-patch16-224-in21k"
    anneal: bool = True
    num_train_epochs: float = Field(3.0, gt=0)
    learning_rate: float = Field(5e-5, gt=0)
    train_batch_size: int = Field(32, ge=1)
    max_length: int = Field(128, ge=8)
    fusion_size: int = Field(256, ge=8)
    fusion_heads: int = Field(4, ge=1)
    seed: int = Field(0, ge=0, lt=SEEDS)
    output_dir: str | None = None
    private: bool = False

    def __post_init__(self) -> None:
        if self.fusion_size % self.fusion_heads:
            raise InputError(
                f"`fusion_size` must be a multiple of `fusion_heads`; got {self.fusion_size} and {self.fusion_heads}"
            )
