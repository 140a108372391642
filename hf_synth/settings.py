"""What a user can set, in one place; flat YAML and the command line fill these."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from .backend_args import check_args
from .config import Share, strict

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
SEEDS = 2**32  # numpy, which trainings seed, and scikit-learn take no larger ones
BUILT = ("bilstm", "bidaf")  # students that start from nothing
# Else 5e-5, at which MiniLM has learnt little after a few hundred rows (recipes/benchmarks/rates.py).
RATES = {MINILM: 3e-4, **dict.fromkeys(BUILT, 1e-3)}


@strict
class SynthConfig:
    """What is generated and by what.

    Attributes:
        task: A packaged task's name, the path of a task's YAML file, or in a recipe the task itself.
        method: The method's name.
        model: The generator: a Hub id or a local folder.
        adapter: What `hf-synth tune` trained beside the model: a folder or Hub id. The generator is then asked with
            the task's `tuning_prompt`.
        num_rows: Rows wanted over all splits; a larger number later reuses everything.
        seed: Decides, with the other settings, every text.
        min_words: Shortest text kept, in words; the task's where left out.
        max_new_tokens: Token limit of a text; the task's where left out.
        annotate: Of entities, how a text says where they are (see `Task`); the task's where left out.
        shares: Label name -> how many rows it has beside the others (`{spam: 1, ham: 4}`); the task's where left out,
            which are equal unless it says otherwise.
        chunk_size: Prompts recorded at once, at most; 256 where left out.
        batch_size: Forward rows at once inside a chunk.
        corpus: Real unlabelled text that conditions generation, in place of the task's own: `path` (a folder or Hub
            id), `column`, and where needed `config` and `split`; named on the card.
        expand_words: More words for each label, of which each prompt draws one: listed by the generator (`model`), an
            encoder's `neighbours` of the label's words (KPT), or near to `prototypes` as well that are learnt from
            texts of each label (ProtoVerb). They stand in the prompts' slot `{word}`, else in place of `{label}`.
        words_per_label: How many words, the label's own first one among them.
        words_model: Encoder that finds words: a Hub id or a local folder.
        consistency: Drop texts whose label a judge does not confirm: the generator, by the label under whose prompt
            the text is likeliest (`self`) or asked for it (`round_trip`); a trained `classifier` of the labels; or a
            trained `nli` classifier, by the label whose hypothesis the text entails most.
        consistency_model: The trained `classifier` or `nli` classifier: a Hub id or a local folder.
        min_confidence: Least probability that the judge gives a text's label (of `self`, the softmax over mean
            log-probabilities per token, which stays near one part in as many as there are labels).
        calibrate: Of `self`: subtract how likely a text without content is under each label's prompt.
        hypothesis: Of `nli`: the hypothesis, with the slot `{label}` for the label's words.
        ahead: Chunks decided on at a time, so that as many workers have something to do; how many there are changes
            nothing else.
        deidentify: Mask personal data in the real texts that a method learns from, quotes or builds on and in
            `real_rows`, and drop texts that hold some (presidio's patterns; names of people and dates in words are
            none; URLs and dates in digits are masked in real rows, not dropped); on where `private` is, if left out.
        personal: Of `deidentify`: a text file of more to mask, a name or (behind `re:`) a regular expression a line.
        license: Licence of the data set, as the Hub writes it; nothing is claimed where left out.
    """

    task: str | dict[str, Any]
    method: str = "zerogen"
    model: str = "HuggingFaceTB/SmolLM2-135M-Instruct"
    adapter: str | None = None
    num_rows: int = Field(1000, ge=1)
    seed: int = Field(0, ge=0, lt=SEEDS)
    min_words: int | None = Field(None, ge=1)
    max_new_tokens: int | None = Field(None, ge=1)
    annotate: Literal["mentions", "markup", "json"] | None = None
    shares: dict[str, Share] | None = None
    chunk_size: int | None = Field(None, ge=1)
    batch_size: int = Field(256, ge=1)
    corpus: dict[str, Any] | None = None
    expand_words: Literal["none", "model", "neighbours", "prototypes"] = "none"
    words_per_label: int = Field(16, ge=1)
    words_model: str = MINILM
    consistency: Literal["none", "self", "classifier", "nli", "round_trip"] = "none"
    consistency_model: str | None = None
    min_confidence: float = Field(0.0, ge=0, lt=1)
    calibrate: bool = False
    hypothesis: str = "This text is about {label}."
    ahead: int = Field(4, ge=1)
    deidentify: bool | None = None
    personal: str | None = None
    license: str | None = None


@strict
class ShotsConfig:
    """Real labelled rows to learn from; named on the card.

    Attributes:
        shots: A file, or a folder or Hub id, of which the split `train` is taken.
        shots_per_class: How many rows of each label.
        shots_seed: Decides which.
    """

    shots: str | None = None
    shots_per_class: int = Field(16, ge=1)
    shots_seed: int = Field(0, ge=0)


@strict
class BackendConfig:
    """Where the generator runs; of these only `backend`, the endpoint and some of `backend_args` decide the texts.

    Attributes:
        backend: `local` (transformers, in this process), `vllm`, `chat` (an OpenAI-compatible endpoint or Inference
            Provider; its key is read from the environment variable HF_SYNTH_API_KEY), `ray` (a cluster) or `corpus`
            (texts are not written but found in `corpus`; `model` is the encoder).
        base_url: Of `chat`: the endpoint's address, such as http://localhost:8000/v1.
        provider: Of `chat` without an address: the Inference Provider; the Hub chooses where left out.
        concurrency: Of `chat`: requests at once; fewer while answers take longer than `timeout`.
        max_cost: Of `chat`: US dollars, as the provider reports them, after which nothing more is asked.
        ray_address: Of `ray`: `auto`, or the cluster's host:port.
        ray_backend: Of `ray`: what each worker runs.
        ray_cpus: Of `ray`: CPUs and threads of a worker.
        backend_args: Further arguments: of `local` `dtype` and `device`; of `vllm` `dtype` and `engine` (arguments of
            vLLM itself); of `chat` `extra_body` (fields of every request; `null` leaves one out), `timeout`, `tries`
            and `first_wait`; of `ray` `num_gpus` and `workers`, beside those of `ray_backend`.
    """

    backend: Literal["local", "vllm", "chat", "ray", "corpus"] = "local"
    base_url: str | None = None
    provider: str | None = None
    concurrency: int = Field(32, ge=1)
    max_cost: float | None = Field(None, gt=0)
    ray_address: str = "auto"
    ray_backend: Literal["local", "vllm"] = "local"
    ray_cpus: int = Field(1, ge=1)
    backend_args: dict[str, Any] = Field(default_factory=dict)

    def __post_init__(self) -> None:
        args = check_args(self.backend, self.ray_backend, self.backend_args)
        object.__setattr__(self, "backend_args", args)


@strict
class StudentConfig:
    """How the student is trained.

    Attributes:
        student: A sequence classifier or encoder: a Hub id or a local folder; `bilstm` for the papers' BiLSTM.
        num_train_epochs: Epochs.
        learning_rate: Peak learning rate of the linear schedule; where left out 5e-5, 3e-4 for the default student,
            which is small, and 1e-3 for `bilstm` and `bidaf`, which start from nothing.
        train_batch_size: Rows per optimiser step and process.
        max_length: Tokens a text is cut to.
        label_smoothing: Share of the target spread over all labels.
        loss: What a row's label costs; `gce`, `mae`, `rce` and `sce` are less harmed by wrong labels than `ce`.
        outside: Of entities: what the trained student's odds of `O` are multiplied by, since generated texts name
            things that nobody asked for and that have no tag. Scores of the validation rows are from before.
        early_stopping_patience: Evaluations on the synthetic validation split without a gain before training
            stops; 0 trains to the end. Either way the best epoch by that split is kept, but of `annealing`, whose
            schedule says what comes last, the last model.
        trainer: `weighted` (cross entropy; rows count as the data set's weights say), `ensemble` (temporal
            ensembling), `bilevel` (learns how much each row counts) or `annealing` (from synthetic to real rows).
        trainer_args: Settings of that trainer, as `EnsembleConfig` (with `preset`: laine_aila, supergen, fewgen or,
            where left out, agreement), `BilevelConfig` or `AnnealingConfig` names them.
        select: What the rounds of `bilevel` are for: the student is then trained anew on all rows by their `weights`,
            on those of highest score (`top_k`, or `balanced_top_k` of each class), or on as many drawn with
            probability by weight (`sampling`). Real rows always stay.
        keep: Share of the rows that the last three take.
        denoise: Which generated rows go before training: `none`, those that confident learning finds mislabelled
            (`confident`), `hard` ones, or those that tell little of their label (`information`).
        denoise_args: Settings of that, as `DenoiseConfig` names them.
        real_rows: Real labelled rows to train on beside the generated ones: a file, or the split `train` of a
            folder or Hub id; what was trained on them is no longer zero-shot.
        real_per_class: How many of each label; all where left out.
        real_seed: Decides which these are.
        real_first: Epochs on the real rows alone, by cross entropy in batches of 8, before the training on generated
            rows, in which they then take no part; 0 to train on both together. As in FewGen the generated rows have
            the last word; its paper keeps the epoch that is best on 16 real rows a class held out for that, here it
            is that on the validation split, of generated rows.
        training_args: Any other argument of `transformers.TrainingArguments`.
    """

    student: str = MINILM
    num_train_epochs: float = Field(3.0, gt=0)
    learning_rate: float | None = Field(None, gt=0)
    train_batch_size: int = Field(16, ge=1)
    max_length: int = Field(128, ge=8)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    loss: Literal["ce", "rce", "mae", "gce", "sce"] = "ce"
    outside: float = Field(1.0, gt=0, le=1)
    early_stopping_patience: int = Field(0, ge=0)
    trainer: Literal["weighted", "ensemble", "bilevel", "annealing"] = "weighted"
    trainer_args: dict[str, Any] = Field(default_factory=dict)
    select: Literal["weights", "top_k", "balanced_top_k", "sampling"] = "weights"
    keep: float = Field(0.2, gt=0, le=1)
    denoise: Literal["none", "confident", "hard", "information"] = "none"
    denoise_args: dict[str, Any] = Field(default_factory=dict)
    real_rows: str | None = None
    real_per_class: int | None = Field(None, ge=1)
    real_seed: int = Field(0, ge=0)
    real_first: float = Field(0.0, ge=0)
    training_args: dict[str, Any] = Field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.learning_rate is None:
            object.__setattr__(self, "learning_rate", RATES.get(self.student, 5e-5))


@strict
class OutputConfig:
    """Where results go and what they are judged on.

    Attributes:
        output_dir: Folder for `dataset/`, `model/` and `report.json`; `outputs/<task>-<method>` where left out.
        reference: A real labelled data set to judge on (file, folder or Hub id) in place of the task's own.
        reference_split: Its split; `test` of a folder, the task's split of its Hub set.
        inspect: Let `run` judge the data set too, as `hf-synth inspect` does, and state it on the card.
        baseline_rows: Reference rows that the prompting baseline labels (0 skips it); the student labels all.
        hub_id: Push the result to this Hub repository.
        private: Keep everything on this machine but what is pushed, and make that repository private; what has learnt
            from real rows or quotes them is pushed by `hf-synth push --overrule private` alone.
        create_pr: Push as a pull request, a new one each time, in place of a commit to `main`.
        push_every: Push what there is each time so many more rows are there, as a whole data set whose card says that
            it is unfinished; what is written does not depend on it. 0 pushes at the end alone.
        collection: Link what is pushed in this collection: a title (created under your name when absent) or a slug.
    """

    output_dir: str | None = None
    reference: str | None = None
    reference_split: str | None = None
    inspect: bool = True
    baseline_rows: int = Field(300, ge=0)
    hub_id: str | None = None
    private: bool = False
    create_pr: bool = False
    push_every: int = Field(0, ge=0)
    collection: str | None = None
