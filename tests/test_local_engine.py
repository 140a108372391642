"""The local engine's promises: nothing read twice, nothing sampled past a stop, the kept tokens, memory, dtypes."""

import random

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import MinPLogitsWarper, TopPLogitsWarper

from hf_synth.errors import InputError
from hf_synth.generators.base import OutOfMemory
from hf_synth.generators.local import LocalGenerator, decode, sample
from hf_synth.generators.local.agree import rows_agree
from hf_synth.generators.local.decode import Draw, Stops
from hf_synth.generators.local.packed import _able, pack
from hf_synth.generators.local.processor import best_dtype, device_of, dtype_of
from hf_synth.generators.local.rows import RowForward
from hf_synth.generators.local.sample import Sampler, streams
from hf_synth.generators.local.score import score_tokens
from hf_synth.records import Prompt

SHARED = "the good film of a very great story is " * 6
WORDS = ["the", "a", "film", "movie", "story", "plot", "good", "bad", "great", "awful", "dull", "fine", "no", "very"]
ON_CPU = (
    "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
)


@pytest.fixture(scope="module")
def causal(causal_folder):
    return LocalGenerator(str(causal_folder), name="tiny", digest="tiny", dtype="float32", device="cpu")


@pytest.fixture
def texts():
    draw = random.Random(0)
    return [" " + " ".join(draw.choices(WORDS, k=12)) for _ in range(40)]


def some_prompts(rows, times=1):
    return [Prompt(f"a {WORDS[at // times % len(WORDS)]} film is", "x") for at in range(rows)]


def test_a_prompt_that_many_texts_share_is_read_once_to_score_them(causal, texts, monkeypatch):
    heads = [SHARED + ("good" if at < 18 else "bad and dull") for at in range(36)] + [f"no {w}" for w in WORDS[:4]]
    pairs = [causal.encoding.split(head, text) for head, text in zip(heads, texts, strict=True)]
    read = []
    run = RowForward._run
    monkeypatch.setattr(
        RowForward,
        "_run",
        lambda self, model, ids, *a, **k: read.append(ids.numel()) or run(self, model, ids, *a, **k),
    )
    with torch.inference_mode():
        apart = score_tokens(causal.model, pairs, 7, by_rows=False)
        assert not read
        together = score_tokens(causal.model, pairs, 7, by_rows=True)
    assert together == pytest.approx(apart, abs=1e-4)
    whole = sum(len(head) + len(tail) for head, tail in pairs)
    assert sum(read) < 0.4 * whole


def test_texts_that_begin_alike_are_scored_to_their_first_token(causal):
    pairs = [
        causal.encoding.split(SHARED, " good good good good good good good good good" + " bad" * (at % 3))
        for at in range(20)
    ]
    with torch.inference_mode():
        found = [score_tokens(causal.model, pairs, 64, by_rows) for by_rows in (True, False)]
    assert found[0] == pytest.approx(found[1], abs=1e-4)


def test_prompts_that_are_asked_often_are_encoded_once(seq2seq_folder):
    model = LocalGenerator(str(seq2seq_folder), name="t5", digest="t5", dtype="float32", device="cpu")
    model.load()
    rows = []
    model.model.get_encoder().register_forward_hook(
        lambda module, given, named, output: rows.append(len(output.last_hidden_state)), with_kwargs=True
    )
    asked = some_prompts(12, times=4)
    together = model.complete(asked, seed=3, batch_size=12, max_new_tokens=6)
    assert rows == [3]
    assert len({c.text for c in together}) > 3  # each row draws its own
    alone = model.complete(asked, seed=3, batch_size=1, max_new_tokens=6)
    assert [c.text for c in alone] == [c.text for c in together]


def test_no_token_is_sampled_past_a_stop(causal, monkeypatch):
    check = Stops.check

    def watched(self, row, limit):
        before = self.tokenizer.decode(row.tokens[:-1], skip_special_tokens=True)
        assert not any(stop in before for stop in self.stop)
        check(self, row, limit)

    monkeypatch.setattr(Stops, "check", watched)
    found = causal.complete(some_prompts(32), seed=0, batch_size=32, max_new_tokens=24, stop=('"', "film", "no very"))
    assert {c.finish for c in found} >= {"stop"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("top_p", "min_p"), [(0.9, 0.0), (0.5, 0.0), (1.0, 0.05), (0.95, 0.1)])
def test_the_kept_tokens_are_those_of_transformers(top_p, min_p, dtype):
    logits = (2 * torch.randn(40, 211, generator=torch.Generator().manual_seed(0))).to(dtype)
    warped = logits.float()
    for warper in (TopPLogitsWarper(top_p) if top_p < 1 else None, MinPLogitsWarper(min_p) if min_p else None):
        warped = warper(None, warped) if warper else warped
    theirs = warped.isfinite()
    shaped = logits.softmax(-1, dtype=torch.float32)
    every = torch.arange(211).repeat(40)
    ours = Sampler(top_p=top_p, min_p=min_p)._keeps(shaped.repeat_interleave(211, 0), every).view(40, 211)
    # Of tokens as likely as the last one kept, which bfloat16 makes many, we keep all.
    least = torch.where(theirs, shaped, 1.0).amin(-1, keepdim=True)
    assert torch.equal(ours, theirs | (shaped == least))
    if dtype == torch.float32:
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError(ON_CPU), RuntimeError("MPS backend out of memory")],
)
def test_a_batch_that_does_not_fit_says_so_on_every_device(causal, monkeypatch, error, texts):
    def full(real, count):
        def call(self, given, *more):
            if count(given) > 2:
                raise error
            return real(self, given, *more)

        return call

    expected = causal.score([SHARED] * 40, texts, batch_size=8)
    monkeypatch.setattr(RowForward, "step", full(RowForward.step, len))
    monkeypatch.setattr(RowForward, "logits", full(RowForward.logits, len))
    with pytest.raises(OutOfMemory):
        causal.complete(some_prompts(4), seed=0, batch_size=4, max_new_tokens=2)
    assert len(causal.complete(some_prompts(4), seed=0, batch_size=2, max_new_tokens=2)) == 4
    assert causal.score([SHARED] * 40, texts, batch_size=8) == pytest.approx(expected, abs=1e-5)


def test_other_errors_pass_as_they_are(causal, monkeypatch):
    monkeypatch.setattr(RowForward, "step", lambda *_: (_ for _ in ()).throw(RuntimeError("shapes do not match")))
    with pytest.raises(RuntimeError, match="shapes do not match") as caught:
        causal.complete(some_prompts(2), seed=0, batch_size=2, max_new_tokens=2)
    assert not isinstance(caught.value, OutOfMemory)


class Narrow(TorchDispatchMode):
    """A device without float64."""

    def __torch_dispatch__(self, operation, types, given=(), named=None):
        found = operation(*given, **(named or {}))
        assert getattr(found, "dtype", None) != torch.float64, operation
        return found


@pytest.mark.parametrize("settings", [{}, {"top_p": 0.9}, {"top_k": 5, "min_p": 0.1}, {"top_p": 1e-6}])
def test_a_device_without_float64_can_sample(monkeypatch, settings):
    for module in (sample, decode):
        monkeypatch.setattr(module, "wide", lambda values: torch.float32)
    drawn = Sampler.__call__

    def narrow(self, shaped, uniforms):
        assert uniforms.dtype == torch.float32
        with Narrow():
            return drawn(self, shaped, uniforms)

    monkeypatch.setattr(Sampler, "__call__", narrow)
    draw = Draw(Sampler(**settings), streams(0, 6, 2), 200.0)
    tokens, logprobs = draw(torch.randn(6, 1, 300), list(range(6)), [1] * 6)
    assert len(tokens) == 6
    assert all(value < 0 for value in logprobs)


def test_logits_that_are_no_numbers_are_said():
    draw = Draw(Sampler(top_p=0.9), streams(0, 2, 1), 200.0)
    logits = torch.randn(2, 1, 300, dtype=torch.float16)
    logits[1] = torch.nan
    with pytest.raises(InputError, match=r"not numbers in float16: set `backend_args: \{dtype: float32\}`"):
        draw(logits, [0, 1], [0, 0])


def test_cards_that_emulate_bfloat16_get_float16(monkeypatch):
    for capability, expected in (((7, 5), torch.float16), ((8, 0), torch.bfloat16), ((9, 0), torch.bfloat16)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, found=capability: found)
        assert best_dtype(torch.device("cuda")) == expected
    for able, expected in (({"avx512_bf16": True}, torch.bfloat16), ({"avx2": True}, torch.float32)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=able: found)
        assert best_dtype(torch.device("cpu")) == expected


def test_dtypes_and_devices_are_named(causal):
    assert dtype_of("float16") == torch.float16
    assert device_of("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match=r"`dtype` must be one of .*; got 'bf16'"):
        dtype_of("bf16")
    with pytest.raises(InputError, match="`device: tpu` cannot be used"):
        device_of("tpu")
    assert causal.source["dtype"] == "float32"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_packed_weights_give_the_same_products(dtype):
    if dtype not in _able():
        pytest.skip("torch has no such products on this processor")
    torch.manual_seed(0)
    close = 1e-5 if dtype == torch.float32 else 0.01
    for bias in (True, False):
        model = torch.nn.Sequential(torch.nn.Linear(64, 100, bias=bias)).to(dtype)
        given = torch.randn(5, 7, 64).to(dtype)
        with torch.inference_mode():
            expected = [model(given), model(given[:, -3:]), model(given[:1, :1])]
            pack(model)
            found = [model(given), model(given[:, -3:]), model(given[:1, :1])]
        assert "forward" in vars(model[0])
        for ours, theirs in zip(found, expected, strict=True):
            assert torch.allclose(ours.float(), theirs.float(), rtol=close, atol=close)


def test_bfloat16_scores_and_writes_as_float32_does(causal, causal_folder, texts):
    half = LocalGenerator(str(causal_folder), name="tiny", digest="tiny", dtype="bfloat16", device="cpu")
    half.load()
    assert rows_agree(half.model)
    expected = causal.score([SHARED] * 40, texts, batch_size=16)
    assert half.score([SHARED] * 40, texts, batch_size=16) == pytest.approx(expected, abs=0.15)
    settings = {"seed": 0, "max_new_tokens": 1, "batch_size": 256}
    ours, theirs = (generator.complete(some_prompts(200), **settings) for generator in (half, causal))
    assert sum(one.text == other.text for one, other in zip(ours, theirs, strict=True)) > 140  # 159; by chance 3
