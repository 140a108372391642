"""Tiny models built in memory and a scripted generator: nothing is downloaded."""

import os
import random
import socket
from contextlib import suppress
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch comes: workers that share cores slow each other tenfold
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    set_seed,
)

from hf_synth.generators.scripted import ScriptedGenerator

LINE = "the a film movie review story plot good bad great awful dull fine of in is was and but with no very"
WORDS = LINE.split()


def free_port() -> int:
    """A port below those that the system hands out itself: nobody else gets it in the seconds until it is bound."""
    for port in random.SystemRandom().sample(range(20_000, 30_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")


def word_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of a few words, the closing quote, and two tokens that hold a quote inside."""
    pieces = ["<pad>", "</s>", "<unk>", '"', '."', '▁"no', ".", "?", "\n", *(f"▁{word}" for word in WORDS)]
    pieces += [chr(code) for code in range(33, 127) if chr(code) not in pieces] + ["▁"]
    tokenizer = Tokenizer(models.BPE(vocab={p: i for i, p in enumerate(pieces)}, merges=[], unk_token="<unk>"))
    tokenizer = Tokenizer(models.Unigram([(p, -float(i % 7) - 1) for i, p in enumerate(pieces)], unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="never", split=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_input_names=["input_ids", "attention_mask"],
    )


def saved(folder: Path, kind: type, config: type, **sizes) -> Path:
    """Save a random model of fixed seed with the word tokenizer."""
    tokenizer = word_tokenizer()
    torch.manual_seed(0)
    kind(config(vocab_size=len(tokenizer), **sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef):
    """What tests share is made of the same random numbers too, whichever test asks for it first."""
    if fixturedef.scope != "function":
        set_seed(0)


@pytest.fixture(autouse=True)
def seeded():
    """The same random numbers in every run, whichever tests ran before in the process."""
    set_seed(0)


@pytest.fixture(scope="module")
def one_thread():
    """One thread: the sums, and so the digits, are the same however many cores there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def causal_folder(tmp_path_factory):
    """A folder with a random two-layer Llama."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "max_position_embeddings": 256}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "initializer_range": 0.4}
    ids = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}
    return saved(tmp_path_factory.mktemp("causal"), LlamaForCausalLM, LlamaConfig, **sizes, **heads, **ids)


@pytest.fixture(scope="session")
def seq2seq_folder(tmp_path_factory):
    """A folder with a random two-layer T5."""
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "initializer_factor": 8.0}
    ids = {"decoder_start_token_id": 0, "eos_token_id": 1, "pad_token_id": 0}
    return saved(tmp_path_factory.mktemp("seq2seq"), T5ForConditionalGeneration, T5Config, **sizes, **ids)


@pytest.fixture(scope="session")
def student_folder(tmp_path_factory):
    """A folder with a random two-layer BERT encoder."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    folder = tmp_path_factory.mktemp("student")
    return saved(folder, BertForSequenceClassification, BertConfig, max_position_embeddings=128, **sizes)


def review(prompt, rng: random.Random) -> str:
    """A text that tells its label's side, with some noise, some duplicates and some that are too short."""
    if prompt.cell is None:
        return f'Title {rng.randrange(400)}" and more'
    if rng.random() < 0.1:
        return 'the same film again"'
    side = {"positive": "good great fine", "negative": "bad awful dull"}.get(prompt.cell, prompt.cell).split()
    words = [rng.choice(WORDS) for _ in range(rng.randrange(1, 12))] + [rng.choice(side) for _ in range(2)]
    return " ".join(words) + '" trailing'


@pytest.fixture
def scripted():
    """A scripted generator of reviews."""
    return ScriptedGenerator(review, name="reviews")
