"""A corpus as vectors: encoding, exact and approximate search, the retriever on top, pretraining of its encoder."""

import dataclasses
import math
import random
import sys

import numpy as np
import pytest
import torch
from conftest import WORDS, saved
from datasets import Dataset
from transformers import BertConfig, BertForMaskedLM

from hf_synth.errors import InputError
from hf_synth.generators.corpus import CorpusGenerator
from hf_synth.models import resolve
from hf_synth.records import Prompt
from hf_synth.retrieval import encode
from hf_synth.retrieval.encode import Encoder, Vectors, encode_corpus
from hf_synth.retrieval.index import Index, nearest
from hf_synth.retrieval.passages import Passages
from hf_synth.retrieval.pretrain import contrastive_loss, pairs, pretrain, spans_of
from hf_synth.retrieval.settings import IndexConfig, PretrainConfig

SHAPE = {"pooling": "mean", "normalize": True}


def passages_of(texts):
    return Passages(Dataset.from_dict({"text": texts}), "text")


def sentences(count, seed=0):
    rng = random.Random(seed)
    return [" ".join(rng.choice(WORDS) for _ in range(rng.randrange(3, 12))) for _ in range(count)]


def stored(folder, vectors, shard=400):
    """Vectors on disk, in several shards."""
    for number, start in enumerate(range(0, len(vectors), shard)):
        np.save(folder / f"vectors-{number:05}.npy", vectors[start : start + shard].astype(np.float16))
    return Vectors(folder)


def clustered(count, width=16, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(20, width))
    found = centres[rng.integers(0, 20, count)] + 0.3 * rng.normal(size=(count, width))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_SYNTH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_killed_encoding_goes_on_where_it_was(student_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(encode, "SHARD", 10)
    encoder, passages = Encoder(student_folder, "mean", True, 64), passages_of(sentences(35))
    encode_corpus(encoder, passages, tmp_path)
    shards = sorted(tmp_path.iterdir())
    assert [len(np.load(shard)) for shard in shards] == [10, 10, 10, 5]
    before = {shard: shard.stat().st_mtime_ns for shard in shards}
    content = shards[2].read_bytes()
    shards[2].unlink()
    encode_corpus(encoder, passages, tmp_path)
    assert shards[2].read_bytes() == content
    assert [shard for shard in shards if shard.stat().st_mtime_ns != before[shard]] == [shards[2]]
    vectors = Vectors(tmp_path)
    assert all(isinstance(shard, np.memmap) for shard in vectors.shards)
    direct = encoder(passages[:])
    np.testing.assert_allclose(vectors.rows(np.array([34, 3, 12])), direct[[34, 3, 12]], atol=2e-3)
    assert np.concatenate([block for _, block in vectors.blocks()]).shape == direct.shape


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_padding_changes_no_vector(student_folder, pooling):
    texts = sentences(20)
    for normalize in (True, False):
        encoder = Encoder(student_folder, pooling, normalize, 64)
        together, alone = encoder(texts), np.concatenate([encoder([text]) for text in texts])
        np.testing.assert_allclose(together, alone, atol=1e-5)
        lengths = np.linalg.norm(alone, axis=1)
        assert np.allclose(lengths, 1, atol=1e-5) == normalize


@pytest.mark.parametrize("faiss", [True, False])
def test_exact_search_is_a_sort_of_all_inner_products(tmp_path, monkeypatch, faiss):
    if not faiss:
        monkeypatch.setitem(sys.modules, "faiss", None)
    vectors = stored(tmp_path, clustered(1000))
    index = Index(vectors, IndexConfig(depth=30), tmp_path)
    assert index.kind == "exact"
    queries = clustered(40, seed=1)
    every = np.concatenate([block for _, block in vectors.blocks()]).astype(float) @ queries.T.astype(float)
    for at, (places, scores) in enumerate(index.search(queries)):
        expected = np.argsort(-every[:, at].round(6), kind="stable")[:30]
        assert places.tolist() == expected.tolist()
        np.testing.assert_allclose(scores, every[expected, at], atol=1e-6)


def test_of_equal_passages_the_lower_number_comes_first_and_company_changes_nothing(tmp_path):
    vectors = stored(tmp_path, np.tile(clustered(100), (5, 1)))
    queries = clustered(60, seed=1)
    index = Index(vectors, IndexConfig(depth=20), tmp_path)
    together = index.search(queries)
    deeper = Index(vectors, IndexConfig(depth=100), tmp_path).search(queries)
    for at, (places, scores) in enumerate(together):
        assert places[:5].tolist() == sorted(places[:5])
        ((alone, same),) = index.search(queries[at : at + 1])
        assert (places.tolist(), scores.tolist()) == (alone.tolist(), same.tolist())
        assert places.tolist() == deeper[at][0][:20].tolist()


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_an_approximate_index_finds_nearly_all_and_is_built_once(tmp_path, kind):
    vectors = stored(tmp_path, clustered(3000), shard=700)
    queries = clustered(100, seed=1)
    truth = Index(vectors, IndexConfig(depth=10), tmp_path).search(queries)
    config = IndexConfig(kind=kind, depth=10, lists=40, probes=12)
    found = Index(vectors, config, tmp_path).search(queries)
    (file,) = tmp_path.glob("*.faiss")
    built = file.stat().st_mtime_ns
    shared = [len(set(a.tolist()) & set(b.tolist())) for (a, _), (b, _) in zip(truth, found, strict=True)]
    assert sum(shared) / 1000 > 0.95
    assert [p.tolist() for p, _ in Index(vectors, config, tmp_path).search(queries)] == [p.tolist() for p, _ in found]
    assert file.stat().st_mtime_ns == built


def test_many_passages_get_an_approximate_index_or_a_sentence(tmp_path, monkeypatch):
    vectors = stored(tmp_path, clustered(500))
    assert Index(vectors, IndexConfig(exact_limit=499), tmp_path).kind == "ivf"
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert Index(vectors, IndexConfig(exact_limit=500), tmp_path).kind == "exact"
    with pytest.raises(InputError, match=r"pip install 'hf_synth\[faiss\]'"):
        Index(vectors, IndexConfig(exact_limit=499), tmp_path)


def test_nearest_is_the_top_of_the_inner_products():
    queries, vectors = clustered(300), clustered(9, seed=1)
    expected = np.argsort(-(queries @ vectors.T), axis=1)
    assert nearest(queries, vectors, 5).tolist() == expected[:, :5].tolist()
    assert nearest(queries, vectors, 50).tolist() == expected.tolist()


def test_a_passage_is_a_function_of_query_and_rank(student_folder, cache):
    texts = sentences(80)
    generator = CorpusGenerator(resolve(str(student_folder)), passages_of(texts))
    queries = ["a good film", "bad awful dull", "a good film\nthe story of a plot"]
    prompts = [Prompt(query, rank=rank) for rank in (3, 0, 7) for query in queries]
    together = [c.text for c in generator.complete(prompts, seed=1, batch_size=8, **SHAPE)]
    fresh = CorpusGenerator(resolve(str(student_folder)), passages_of(texts))
    alone = [fresh.complete([prompt], seed=2, batch_size=1, **SHAPE)[0].text for prompt in prompts]
    assert together == alone
    for query, hits in zip(queries, generator.search(queries, 8, **SHAPE), strict=True):
        assert [texts[place] for place, _ in hits] == [
            c.text for c in fresh.complete([Prompt(query, rank=r) for r in range(8)], seed=0, batch_size=1, **SHAPE)
        ]
        scores = [score for _, score in hits]
        assert scores == sorted(scores, reverse=True)
    assert generator.search(queries[2:], 1) != generator.search(queries[:1], 1)


def test_a_query_is_encoded_once(student_folder, cache, monkeypatch):
    texts, queries, encoded, call = sentences(40), ["a good film", "a dull story"], [], Encoder.__call__

    def counted(self, given, batch_size=32):
        encoded.extend(given)
        return call(self, given, batch_size)

    generator, fresh = (CorpusGenerator(resolve(str(student_folder)), passages_of(texts)) for _ in range(2))
    first = fresh.nearest_queries(range(40), queries, 1, **SHAPE)
    generator.prepare(**SHAPE)
    monkeypatch.setattr(Encoder, "__call__", counted)
    generator.search(queries, 5, **SHAPE)
    assert generator.nearest_queries(range(40), queries, 1, **SHAPE) == first
    assert encoded == queries


def test_encoding_happens_once_for_one_content(student_folder, cache):
    def made():
        return {path: path.stat().st_mtime_ns for path in cache.rglob("*.npy")}

    source, texts = resolve(str(student_folder)), sentences(30)
    first = CorpusGenerator(source, passages_of(texts))
    first.prepare(**SHAPE)
    before = made()
    again = CorpusGenerator(source, passages_of(texts))
    again.prepare(**SHAPE)
    assert (made(), again.digest) == (before, first.digest)
    changed = CorpusGenerator(source, passages_of([*texts[:-1], "another film"]))
    changed.prepare(**SHAPE)
    assert changed.digest != first.digest
    assert len(made()) == 2
    assert CorpusGenerator(dataclasses.replace(source, sha256="0"), passages_of(texts)).digest != first.digest


def test_the_digest_of_a_corpus_knows_where_texts_end_and_their_order():
    found = [passages_of(texts).digest for texts in (["ab", "c"], ["a", "bc"], ["c", "ab"], ["ab", "c", ""])]
    assert len(set(found)) == 4
    assert passages_of(["a  b\n", "c"]).digest == passages_of(["a b", "c"]).digest


def test_what_the_index_does_not_reach_is_said(student_folder, cache):
    generator = CorpusGenerator(resolve(str(student_folder)), passages_of(sentences(30)))
    with pytest.raises(InputError, match=r"`rank` 4 of a query is asked, and the index goes to 3"):
        generator.complete([Prompt("a film", rank=4)], seed=0, batch_size=1, index={"depth": 4})
    with pytest.raises(InputError, match="`corpus` holds no text"):
        passages_of([])


def test_spans_hold_the_sentences_in_order_and_no_more_than_fits():
    sentences = [[1] * 10, [2] * 10, [3] * 15, [4] * 50]
    spans = spans_of(sentences, 30, 0.0, random.Random(0))
    assert spans == [[1] * 10 + [2] * 10, [3] * 15, [4] * 30]
    assert len(spans_of(sentences[:2], 30, 0.999999, random.Random(0))) == 2


def test_the_contrastive_loss_against_its_formula():
    torch.manual_seed(0)
    vectors, expected = torch.randn(6, 4), 0.0
    for at in range(6):
        others = [other for other in range(6) if other != at]
        partner = at + 1 if at % 2 == 0 else at - 1
        scores = {other: float(vectors[at] @ vectors[other]) / 0.5 for other in others}
        expected -= (scores[partner] - math.log(sum(math.exp(s) for s in scores.values()))) / 6
    assert contrastive_loss(vectors, 0.5).item() == pytest.approx(expected, rel=1e-5)


def topical(count):
    """Passages of two sentences that share their words with each other and with few other passages."""
    rng, found = random.Random(0), []
    for _ in range(count):
        own = rng.sample(WORDS, 3)
        found.append(". ".join(" ".join(rng.choice(own) for _ in range(6)) for _ in range(2)) + ".")
    return found


def test_pretraining_brings_spans_of_a_passage_together(student_folder, tmp_path, one_thread):
    passages, config = passages_of(topical(200)), PretrainConfig(steps=40, batch=16, lr=2e-3)
    facts = pretrain(student_folder, passages, config, tmp_path / "a", seed=0, **SHAPE)
    assert facts["last loss"] < 0.8 * facts["first loss"]
    assert facts["mlm"] is False  # a classifier's checkpoint has no head for it
    pretrain(student_folder, passages, config, tmp_path / "b", seed=0, **SHAPE)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "ab"]
    assert weights[0] == weights[1]


def test_masks_are_filled_where_the_checkpoint_can(tmp_path):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    folder = saved(tmp_path / "mlm", BertForMaskedLM, BertConfig, max_position_embeddings=128, **sizes)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"mask_token": "<unk>"})
    tokenizer.save_pretrained(folder)
    config = PretrainConfig(steps=3, batch=4)
    assert pretrain(folder, passages_of(topical(40)), config, tmp_path / "a", seed=0, **SHAPE)["mlm"] is True
    without = dataclasses.replace(config, mlm=False)
    assert pretrain(folder, passages_of(topical(40)), without, tmp_path / "b", seed=0, **SHAPE)["mlm"] is False
    assert Encoder(tmp_path / "a", "cls", False, 64)(["a film"]).shape == (1, 32)


def test_a_corpus_of_single_sentences_cannot_pretrain(student_folder, tmp_path):
    with pytest.raises(InputError, match="needs passages of several sentences"):
        next(
            pairs(
                passages_of(sentences(9)),
                Encoder(student_folder, "mean", True, 64).tokenizer,
                PretrainConfig(),
                random.Random(0),
            )
        )


def test_a_pretrained_encoder_has_a_place_of_its_own(student_folder, cache):
    generator = CorpusGenerator(resolve(str(student_folder)), passages_of(topical(60)))
    how = {**SHAPE, "pretraining": {"steps": 5, "batch": 8, "lr": 1e-2, "seed": 0}}
    facts = generator.prepare(**how)
    assert facts["pretraining"]["steps"] == 5
    plain = generator.search(["a good film"], 5, **SHAPE)
    assert generator.search(["a good film"], 5, **how) != plain
    fresh = CorpusGenerator(resolve(str(student_folder)), passages_of(topical(60)))
    assert fresh.prepare(**how) == facts
    assert len(list(cache.rglob("pretraining.json"))) == 1
