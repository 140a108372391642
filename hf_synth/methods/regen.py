"""ReGen: a retriever in place of a generator, in rounds (https://huggingface.co/papers/2305.10703)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from ..config import strict
from ..filters.retrieved import Nearest, OneLabel, QueryRoundTrip, SelfConsistent, dealt, judge, round_facts, smoothing
from ..filters.surface import Unique
from ..generators.corpus import retriever_of
from ..queries import check_retrieval, expanded_queries, passage, retrieval_prompts
from ..records import Example
from ..retrieval.settings import ENCODER, RetrievalConfig
from ..run import Run
from ..task import Task
from . import Method, Paper


@strict
class ReGenConfig(RetrievalConfig):
    """Settings of ReGen.

    Attributes:
        rounds: Rounds of retrieval; after the first, what was kept in the round before is what is looked for.
        first_hits: Passages of each query in the first round.
        later_hits: Passages of each query in later ones.
        query_words: Words of a query that holds a text, at most.
        round_trip: In later rounds, keep passages whose `neighbours` nearest queries all have the label.
        neighbours: See `round_trip`.
        margin: How much nearer a passage must be to a query of its label than to any other label's.
        first_round: Self-consistency in the first round: `cross_fit` (each third of the passages is judged by a
            classifier trained on the others) or `none`.
        later_rounds: In later ones: `previous` (a classifier trained on the round before), `cross_fit` or `none`.
        classifier: Settings of that classifier, named as the student's are.
        per_label: Passages of a label that a round keeps, at most.
    """

    read_by: ClassVar = {"neighbours": ("round_trip", (True,))}
    rounds: int = Field(3, ge=1)
    first_hits: int = Field(100, ge=1)
    later_hits: int = Field(20, ge=1)
    query_words: int = Field(70, ge=1)
    round_trip: bool = True
    neighbours: int = Field(5, ge=1)
    margin: float = Field(0.01, ge=0)
    first_round: Literal["cross_fit", "none"] = "cross_fit"
    later_rounds: Literal["previous", "cross_fit", "none"] = "previous"
    classifier: Mapping[str, Any] = Field(default_factory=dict)
    per_label: int = Field(3000, ge=1)


def regen(run: Run, config: ReGenConfig) -> Iterator[Example]:
    """Look for passages of each label, keep those that a classifier agrees with, and look for more like them.

    Algorithm 1 of the paper. Round 1 asks the task's queries; later rounds ask one query for each passage kept, made
    of the label's query and the passage. The last round's passages are the rows, in random order, the labels in turn.
    """
    task, how, retriever = run.task, config.how(run.seed), retriever_of(run.generator)
    judged = [config.first_round] + [config.later_rounds] * (config.rounds - 1)
    settings = judge(task, config.classifier, trained={*judged} != {"none"})
    run.note("corpus", run.once("corpus", [run.generator.digest, how], lambda: retriever.prepare(**how)))
    kept, rounds = list[Example](), list[dict[str, Any]]()
    for number, by in enumerate(judged, start=1):
        first, stage = number == 1, "rows" if number == config.rounds else f"round {number}"
        queries = expanded_queries(task, kept, config.query_words)
        prompts = retrieval_prompts(run, queries, config.first_hits if first else config.later_hits, number, how)
        candidates = list(run.complete(prompts, passage(task), stage=stage, **how))
        trip = [] if first or not config.round_trip else [QueryRoundTrip(run, queries, config.neighbours, how)]
        agreed = list(run.keep(candidates, *trip, whole=True, stage=stage))
        passages = list(run.keep(agreed, OneLabel(config.margin), Unique(), whole=True, stage=stage))
        filters = SelfConsistent(run, settings, by, kept), Nearest(config.per_label)
        kept = [*map(filters[0].marked, run.keep(passages, *filters, whole=True, stage=stage))]
        rounds.append(round_facts(number, queries, candidates, agreed, passages, kept))
    run.note("rounds", rounds)
    yield from dealt(run, kept)


def check(task: Task, config: ReGenConfig) -> None:
    """Refuse tasks of several texts a row, a corpus of test data, and settings that do not go together."""
    task.needs_kind("single", what="regen")
    check_retrieval(task, config, max(config.first_hits, config.later_hits))
    judge(task, config.classifier)


METHOD = Method(
    name="regen",
    paper=Paper(
        title="ReGen: Zero-Shot Text Classification via Training Data Generation with Progressive Dense Retrieval",
        arxiv="2305.10703",
        bibtex="""@inproceedings{yu2023regen,
  title = {{ReGen}: Zero-Shot Text Classification via Training Data Generation with Progressive Dense Retrieval},
  author = {Yu, Yue and Zhuang, Yuchen and Zhang, Rongzhi and Meng, Yu and Shen, Jiaming and Zhang, Chao},
  booktitle = {Findings of ACL},
  year = {2023}
}""",
    ),
    config=ReGenConfig,
    generate=regen,
    check=check,
    texts="retrieved",
    template=False,
    needs="unlabelled texts (`corpus`)",
    cost="encoding the corpus once, then a query for each passage kept and a small classifier for each round",
    sources=lambda task, config: [task.corpus] if task.corpus else [],
    defaults=lambda task, given: {"backend": "corpus", "model": ENCODER, "label_smoothing": smoothing(task)},
    differs=(
        "The encoder is all-MiniLM-L6-v2 as it is, mean-pooled and normalised; the paper pretrains Condenser on the "
        "corpus and takes raw CLS vectors. `contrastive_pretraining`, `pooling: cls`, `normalize: false` and `model` "
        "bring that back, without Condenser's extra head and whole-word masks.",
        "The first round's filter is not given; here a passage is judged by a classifier of the other two thirds.",
        "A passage is kept once, under its nearest label, and dropped where another is as near; the code keeps all.",
        "Queries and passages alike are cut to 200 tokens; the paper cuts queries to 64 and 100.",
        "Where a round kept nothing of a label, the next asks its first queries again and is judged by `cross_fit`.",
        "The round trip asks for no more neighbours of a label than the label has queries.",
        "The filter's classifier and the student are MiniLM-L6; the paper trains RoBERTa-base.",
    ),
)
