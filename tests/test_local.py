import random
from collections import Counter

import numpy as np
import pytest
import torch
from conftest import word_tokenizer
from tokenizers import Tokenizer, decoders
from tokenizers.models import WordLevel
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    PreTrainedTokenizerFast,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.generation.logits_process import MinPLogitsWarper

from hf_synth.errors import InputError
from hf_synth.generators.local import LocalGenerator
from hf_synth.generators.local.agree import rows_agree
from hf_synth.generators.local.decode import Draw, Stops, _Row
from hf_synth.generators.local.prefixes import shared_length, shared_prefixes
from hf_synth.generators.local.rows import RowForward
from hf_synth.generators.local.sample import BLOCK, TRIES, Repetition, Sampler, contrast, steer_away, streams
from hf_synth.generators.local.score import score_tokens
from hf_synth.parse import until_stop
from hf_synth.records import Prompt


@pytest.fixture(scope="module")
def causal(causal_folder):
    return LocalGenerator(
        str(causal_folder), name="tiny", digest="tiny", dtype=torch.float32, device=torch.device("cpu")
    )


@pytest.fixture(scope="module")
def seq2seq(seq2seq_folder):
    return LocalGenerator(str(seq2seq_folder), name="t5", digest="t5", dtype=torch.float32, device=torch.device("cpu"))


@pytest.mark.parametrize(
    ("settings", "warpers"),
    [
        ({"top_p": 0.9}, [TopPLogitsWarper(0.9)]),
        ({"top_k": 5}, [TopKLogitsWarper(5)]),
        (
            {"temperature": 0.7, "top_k": 40, "top_p": 0.8},
            [TemperatureLogitsWarper(0.7), TopKLogitsWarper(40), TopPLogitsWarper(0.8)],
        ),
        ({"min_p": 0.1}, [MinPLogitsWarper(0.1)]),
        (
            {"temperature": 30.0, "top_p": 0.95},
            [TemperatureLogitsWarper(30.0), TopPLogitsWarper(0.95)],
        ),
        ({"top_p": 0.05}, [TopPLogitsWarper(0.05)]),  # most draws fall outside: the sorted way is taken
        ({"top_p": 0.8, "min_p": 0.2}, [TopPLogitsWarper(0.8), MinPLogitsWarper(0.2)]),
        ({}, []),
    ],
)
def test_the_distribution_is_that_of_transformers(settings, warpers):
    torch.manual_seed(0)
    logits = torch.randn(1, 3 * BLOCK + 7) * 4
    warped = logits.clone()
    for warper in warpers:
        warped = warper(None, warped)
    expected = warped.softmax(-1)[0].double()
    draws = 200_000
    uniforms = torch.from_numpy(np.random.default_rng(1).random((draws, TRIES + 1)))
    sampler = Sampler(**settings)
    distribution = (logits / sampler.temperature).softmax(-1)
    tokens = torch.cat([sampler(distribution.expand(len(part), -1), part) for part in uniforms.split(2000)])
    counts = torch.bincount(tokens, minlength=logits.shape[-1]).double()
    assert counts[expected == 0].sum() == 0
    likely = expected * draws >= 5
    other, wanted = counts[~likely].sum(), (expected[~likely].sum() * draws)
    chi2 = (((counts - expected * draws) ** 2) / (expected * draws))[likely].sum()
    chi2 += (other - wanted) ** 2 / wanted if wanted > 0 else 0
    freedom = int(likely.sum()) - 1 + int(wanted > 0)
    assert chi2 < freedom + 4 * (2 * freedom) ** 0.5 + 4, f"chi-square {chi2:.1f} at {freedom} degrees of freedom"


def test_greedy_takes_the_likeliest():
    logits = torch.randn(5, 100)
    assert torch.equal(Sampler(temperature=0)(logits.softmax(-1), torch.rand(5, TRIES + 1)), logits.argmax(-1))


def test_a_rows_stream_is_its_own():
    many, few = streams(7, 10, 20), streams(7, 3, 20)
    assert torch.equal(many[:3], few)
    assert not torch.equal(streams(8, 3, 20), few)
    assert torch.equal(streams(7, 3, 5), few[:, :5])


def test_self_debiasing_numbers_of_the_paper():
    p, q = torch.tensor([[0.5, 0.3, 0.2]]), torch.tensor([[[0.4, 0.31, 0.29]]])
    steered = steer_away(p.log(), q.log(), 200.0).softmax(-1)
    torch.testing.assert_close(steered, torch.tensor([[0.921, 0.075, 0.004]]), atol=1e-3, rtol=0)
    torch.testing.assert_close(steer_away(p.log(), q.log(), 0.0).softmax(-1), p)


def test_the_largest_counter_probability_counts():
    p = torch.tensor([[0.5, 0.5]])
    one, two = torch.tensor([[[0.9, 0.1]]]), torch.tensor([[[0.9, 0.1], [0.1, 0.9]]])
    assert steer_away(p.log(), one.log(), 10.0).softmax(-1)[0, 1] > 0.9
    torch.testing.assert_close(steer_away(p.log(), two.log(), 10.0).softmax(-1), p)


def test_contrast_prefers_what_the_counter_prompts_find_unlikely():
    p, q = torch.tensor([[0.5, 0.3, 0.16, 0.04]]), torch.tensor([[[0.7, 0.1, 0.1, 0.1], [0.7, 0.1, 0.1, 0.1]]])
    found = contrast(p.log(), q.log(), 1.0).softmax(-1)
    weights = torch.tensor([[0.5**2 / 0.7, 0.3**2 / 0.1, 0.16**2 / 0.1, 0.0]])  # 0.04 is below a tenth of 0.5
    torch.testing.assert_close(found, weights / weights.sum())
    kept = contrast(p.log(), q.log(), 0.0, floor=0.01).softmax(-1)
    torch.testing.assert_close(kept, p)


def prompts(count):
    texts = ['the film is "', 'a very good movie review of the plot is: "', '"']
    return [Prompt(texts[at % 3]) for at in range(count)]


def test_texts_do_not_depend_on_the_batch(causal):
    settings = {"seed": 3, "max_new_tokens": 12, "top_p": 0.9, "stop": ('"',)}
    alone = causal.complete(prompts(30), batch_size=1, **settings)
    together = causal.complete(prompts(30), batch_size=30, **settings)
    assert [c.text for c in alone] == [c.text for c in together]
    assert [c.logprob for c in alone] == pytest.approx([c.logprob for c in together], abs=1e-4)
    assert len({c.text for c in alone}) > 20
    assert [c.text for c in causal.complete(prompts(30), batch_size=30, **{**settings, "seed": 4})] != [
        c.text for c in alone
    ]


def test_stop_strings_end_a_text_where_they_stand(causal):
    done = causal.complete(prompts(200), seed=0, batch_size=64, max_new_tokens=30, stop=('"', "\n"))
    finishes = Counter(c.finish for c in done)
    assert finishes["stop"] > 50
    assert finishes["length"] > 0
    for completion in done:
        assert '"' not in completion.text
        assert "\n" not in completion.text
        assert 1 <= completion.tokens <= 30
        assert completion.finish == "stop" or completion.tokens == 30
    assert any(c.text.endswith(".") and c.finish == "stop" for c in done)  # a token that holds `."`


def test_a_stop_string_of_several_tokens_is_seen(causal):
    done = causal.complete(prompts(200), seed=0, batch_size=64, max_new_tokens=30, stop=("the film", "."))
    assert all("the film" not in c.text and "." not in c.text for c in done)


@pytest.mark.parametrize("strips", [True, False])
def test_a_word_that_follows_first_words_is_no_part_of_them(strips):
    """Decoders like Llama 2's take the space before a text's first word away: `Themovie`, where `The movie` was."""
    words = {"<unk>": 0, "</s>": 1, "▁movie": 2, "▁was": 3, "▁fine": 4, '"': 5, "y": 6}
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    ends = [decoders.Strip(" ", 1, 0)] if strips else []
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), *ends])
    stops = Stops(PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>"), ('"',), [1])
    for tokens, text in (
        ([2, 3, 4, 5], "The movie was fine"),
        ([2, 3, 4, 1], "The movie was fine"),
        ([6, 4, 5], "They fine"),
    ):
        row = _Row(0, tokens)
        stops.check(row, 9)
        assert until_stop(row.completion(), start="The") == text


def test_logprob_is_that_of_the_unmodified_model(causal):
    settings = {"batch_size": 8, "max_new_tokens": 6, "temperature": 0.5, "top_k": 5}
    for prompt, completion in zip(prompts(8), causal.complete(prompts(8), seed=1, **settings), strict=True):
        if completion.finish != "length":
            continue
        head = causal.tokenizer(prompt.text).input_ids
        whole = causal.tokenizer(prompt.text + completion.text).input_ids
        if len(whole) != len(head) + completion.tokens or whole[: len(head)] != head:
            continue  # the text tokenises in another way than it was sampled
        assert score_by_hand(causal, head, whole[len(head) :]) == pytest.approx(completion.logprob, abs=1e-3)
        return
    pytest.fail("no completion could be compared")


def score_by_hand(generator, head, tail):
    with torch.no_grad():
        logits = generator.model(torch.tensor([[*head, *tail]])).logits[0].log_softmax(-1)
    return sum(logits[len(head) + at - 1, token].item() for at, token in enumerate(tail)) / len(tail)


def test_score_is_the_mean_over_the_text(causal):
    heads = ["the film is", "a very good movie review", "the"]
    tails = [" good", " of the plot is very dull and awful", " bad story"]
    found = causal.score(heads, tails, batch_size=3)
    for head, tail, value in zip(heads, tails, found, strict=True):
        ids, more = causal.tokenizer(head).input_ids, causal.tokenizer(head + tail).input_ids
        assert more[: len(ids)] == ids
        assert value == pytest.approx(score_by_hand(causal, ids, more[len(ids) :]), abs=1e-4)
    assert causal.score(heads, tails, batch_size=1) == pytest.approx(found, abs=1e-4)
    with pytest.raises(InputError, match="empty text"):
        causal.score(["the"], [""], batch_size=1)


def test_counter_prompts_change_the_text_and_ride_in_the_batch(causal):
    plain = [Prompt("the good film is", cell="x")] * 12
    steered = [Prompt("the good film is", cell="x", against=("the bad film is", "a dull story"))] * 12
    settings = {"seed": 5, "max_new_tokens": 8}
    first = causal.complete(steered, batch_size=36, debias=200.0, **settings)
    assert [c.text for c in first] != [c.text for c in causal.complete(plain, batch_size=36, **settings)]
    assert [c.text for c in first] == [
        c.text for c in causal.complete(steered, batch_size=3, debias=200.0, **settings)
    ]
    contrasted = causal.complete(steered, batch_size=36, contrast=0.5, **settings)
    assert [c.text for c in contrasted] != [c.text for c in first]
    off = causal.complete(steered, batch_size=36, debias=0.0, **settings)
    assert [c.text for c in off] == [c.text for c in causal.complete(plain, batch_size=36, **settings)]


def test_encoder_decoder_models_write_and_score(seq2seq):
    settings = {"seed": 2, "max_new_tokens": 10, "temperature": 3.0, "stop": ('"',)}
    together = seq2seq.complete(prompts(12), batch_size=12, **settings)
    assert [c.text for c in together] == [c.text for c in seq2seq.complete(prompts(12), batch_size=1, **settings)]
    assert len({c.text for c in together}) > 3
    scores = seq2seq.score(["the film"] * 2, ["good", "a very bad and dull story"], batch_size=2)
    assert scores == pytest.approx(
        seq2seq.score(["the film"] * 2, ["good", "a very bad and dull story"], batch_size=1), abs=1e-4
    )


def test_bad_settings_are_refused(causal):
    with pytest.raises(InputError, match="decoding setting must be one of .*; got 'topp'. Did you mean 'top_p'?"):
        causal.complete(prompts(1), seed=0, batch_size=1, topp=0.5)


def test_the_chat_template_wraps_the_prompt(causal_folder):
    generator = LocalGenerator(
        str(causal_folder), name="tiny", digest="x", dtype=torch.float32, device=torch.device("cpu")
    )
    generator.tokenizer.chat_template = (
        "{% for m in messages %}very {{ m.content }}{% endfor %}{% if add_generation_prompt %} is{% endif %}"
    )
    settings = {"seed": 0, "batch_size": 2, "max_new_tokens": 8}
    by_hand = [c.text for c in generator.complete([Prompt("very good is")] * 2, **settings)]
    assert [c.text for c in generator.complete([Prompt("good")] * 2, chat=True, **settings)] == by_hand
    opened = [c.text for c in generator.complete([Prompt('good\nthe "')] * 2, chat=True, **settings)]
    assert opened == [c.text for c in generator.complete([Prompt('very good isthe "')] * 2, **settings)]
    assert generator.source["chat_template"] is False  # as loaded, before this test gave it one
    generator.tokenizer.chat_template = None
    assert [c.text for c in generator.complete([Prompt("good")] * 2, chat=True, **settings)] == [
        c.text for c in generator.complete([Prompt("good")] * 2, **settings)
    ]


def test_shared_prefix_leaves_a_token_to_each():
    assert shared_length([[1, 2, 3], [1, 2, 4, 5]]) == 2
    assert shared_length([[1, 2], [1, 2]]) == 1
    assert shared_length([[1], [1, 2]]) == 0


def test_groups_that_share_more_get_a_prefix_of_their_own():
    rng = random.Random(0)
    examples = [[rng.randrange(100) for _ in range(40)] for _ in range(2)]
    sequences = [[7, 7, *examples[row % 2], *(rng.randrange(100) for _ in range(3 + row % 4))] for row in range(40)]
    sequences += [[7, 7, 1, 2], [7, 7, 3]]
    prefix_of, prefixes = shared_prefixes(sequences)
    lengths = [prefixes[at][1] for at in prefix_of]
    assert set(lengths[:40]) == {42}
    assert lengths[40:] == [2, 2]
    for sequence, at in zip(sequences, prefix_of, strict=True):
        owner, length = prefixes[at]
        assert sequences[owner][:length] == sequence[:length]
        assert length < len(sequence)


def many_prompts():
    """Prompts of two groups with long shared starts (apart), some with a short one (copied), and one of one token."""
    rng = random.Random(1)
    starts = [" ".join(rng.choice(["good", "bad", "film", "plot", "very"]) for _ in range(40)) for _ in range(2)]
    texts = [f"the {starts[at % 2]} {'story ' * (at % 5)}is" for at in range(40)]
    return [Prompt(text) for text in [*texts, *["the film is", "the dull story of a film"] * 3, "the"]]


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_rows_that_come_and_go_write_what_transformers_own_cache_writes(causal, causal_folder, batch_size):
    plain = LocalGenerator(str(causal_folder), name="tiny", digest="t", dtype=torch.float32, device=causal.device)
    plain._rows_agree = False
    assert causal._rows_agree
    settings = {"seed": 3, "max_new_tokens": 12, "top_p": 0.9, "stop": ("film", "."), "batch_size": batch_size}
    expected, found = plain.complete(many_prompts(), **settings), causal.complete(many_prompts(), **settings)
    assert [c.text for c in found] == [c.text for c in expected]
    assert [c.logprob for c in found] == pytest.approx([c.logprob for c in expected], abs=1e-3)
    assert len({c.tokens for c in found}) > 3


def test_finished_rows_make_room_at_once(causal, monkeypatch):
    live = []
    step = RowForward.step
    monkeypatch.setattr(RowForward, "step", lambda self, tokens: live.append(len(tokens)) or step(self, tokens))
    done = causal.complete(prompts(60), seed=0, batch_size=16, max_new_tokens=30, stop=("film", ".", '"'))
    assert sum(live) == sum(c.tokens for c in done)  # no row is computed after its end, none before its turn
    assert sum(count >= 14 for count in live) > len(live) / 3


def test_unknown_attention_takes_transformers_own_way(causal_folder):
    generator = LocalGenerator(str(causal_folder), name="tiny", digest="t", dtype=torch.float32)
    attention = generator.model.model.layers[0].self_attn
    attention.scaling *= 1.5
    assert rows_agree(generator.model)  # both ways read the model's own scaling
    forward = attention.o_proj.forward
    attention.o_proj.forward = lambda x: forward(x) + x.shape[0] * 0.1  # a layer that looks over the batch
    assert not rows_agree(generator.model)


def test_repetition_penalty_and_reward(causal):
    logits = torch.tensor([[2.0, -2.0, 1.0, -1.0]])
    repetition = Repetition([[0, 1]], [[1, 2]], 4, penalty=2.0, reward=0.5, device=torch.device("cpu"))
    place = torch.tensor([0])
    # Prompt tokens 0 and 1 are penalised (1 although it is given too), the given token 2 rewarded, 3 left alone.
    torch.testing.assert_close(repetition(logits, place), torch.tensor([[1.0, -4.0, 2.0, -1.0]]))
    repetition.saw(place, torch.tensor([3]))
    torch.testing.assert_close(repetition(logits, place), torch.tensor([[1.0, -4.0, 2.0, -2.0]]))


def test_a_rewarded_text_is_copied_from_and_a_penalty_ends_loops(causal):
    def words(**settings):
        asked = [Prompt("the film is very dull and", given={"premise": "very dull"})] * 40
        texts = causal.complete(asked, seed=0, batch_size=40, max_new_tokens=15, **settings)
        return Counter(" ".join(c.text for c in texts).split())

    plain, rewarded = words(temperature=2.0), words(temperature=2.0, repetition_reward=0.3)
    assert rewarded["dull"] + rewarded["very"] > 1.5 * (plain["dull"] + plain["very"])
    # Greedy texts are equal: a count of 40 is a word said once in each. Below 1 the penalty makes loops.
    looping, penalised = (words(temperature=0, repetition_penalty=penalty) for penalty in (0.3, 1e6))
    assert max(penalised.values()) == 40 < max(looping.values())


def test_short_texts_are_scored_alike_by_steps_and_at_once(causal):
    heads = [f"the {word} film is" for word in ("good", "bad", "very good", "dull") for _ in range(3)]
    tails = [" good", " bad and dull", " of no very great story"] * 4
    pairs = [causal.encoding.split(head, tail) for head, tail in zip(heads, tails, strict=True)]
    with torch.inference_mode():
        steps = score_tokens(causal.model, pairs, 5, by_rows=True)
        at_once = score_tokens(causal.model, pairs, 5, by_rows=False)
    assert steps == pytest.approx(at_once, abs=1e-4)


def test_a_model_is_loaded_when_it_is_needed(causal_folder):
    generator = LocalGenerator(str(causal_folder), name="tiny", digest="t")
    assert "model" not in vars(generator)
    generator.complete(prompts(1), seed=0, batch_size=1, max_new_tokens=2)
    assert "model" in vars(generator)


SMALL = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 8}
SMALL |= {"num_key_value_heads": 2, "max_position_embeddings": 256, "initializer_range": 0.4, "bos_token_id": None}
BART = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4, "init_std": 0.4}
BART |= {"decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "decoder_start_token_id": 1}
EXPERTS = {"num_local_experts": 2, "num_experts_per_tok": 1, "layer_types": ["sliding_attention", "full_attention"]}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
SHORT = {"n_positions": 24, "max_position_embeddings": 24}


@pytest.fixture
def random_model(tmp_path):
    def build(kind, **sizes):
        tokenizer = word_tokenizer()
        shared = {**SMALL, "vocab_size": len(tokenizer), "eos_token_id": 1, "pad_token_id": 0}
        config = AutoConfig.for_model(kind, **{**shared, **sizes})
        torch.manual_seed(0)
        auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        model = auto.from_config(config, dtype=torch.float32)
        for name, parameter in model.named_parameters():
            if "sinks" in name:
                torch.nn.init.constant_(parameter, 2.0)
        model.save_pretrained(tmp_path / kind)
        tokenizer.save_pretrained(tmp_path / kind)
        return LocalGenerator(str(tmp_path / kind), name=kind, digest=kind, dtype=torch.float32)

    return build


def test_a_forced_first_token_is_read_and_is_no_text(random_model):
    generator = random_model("bart", **BART)
    generator.model.generation_config.forced_bos_token_id = 7
    [ours] = generator.complete(prompts(1), seed=0, batch_size=1, max_new_tokens=8, top_k=1)
    ids = generator.tokenizer(prompts(1)[0].text, return_tensors="pt")["input_ids"]
    theirs = generator.model.generate(ids, do_sample=False, num_beams=1, max_new_tokens=12)[0, 2:10]
    assert ours.text == generator.tokenizer.decode(theirs, skip_special_tokens=True).strip()
    score = generator.score([prompts(1)[0].text], [ours.text], batch_size=1)
    assert score == pytest.approx([ours.logprob], abs=1e-4)
    head, tail = ids[0].tolist(), [9, 4]  # BART's own tokenizer writes the forced token before a text as well
    found = [score_tokens(generator.model, [(head, one)], 1, False) for one in (tail, [7, *tail])]
    assert found[0] == pytest.approx(found[1], abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "sizes", "by_rows"),
    [
        ("gemma2", {"query_pre_attn_scalar": 8, "sliding_window": 128}, True),  # caps its scores
        ("gpt2", GPT2, True),  # counts positions from the first token
        ("mistral", {"sliding_window": 20}, True),  # sees 20 tokens back
        ("gpt_oss", {**EXPERTS, "sliding_window": 128}, False),  # has attention sinks
        ("bart", BART, None),  # an encoder that counts positions
    ],
)
def test_models_of_every_kind_write_the_same_in_any_company(random_model, kind, sizes, by_rows):
    generator = random_model(kind, **sizes)
    asked = [p for p in many_prompts() if len(p.text) < 900]
    settings = {"seed": 3, "max_new_tokens": 10, "top_p": 0.9, "stop": ("film", ".")}
    if by_rows is not None:
        assert rows_agree(generator.model) == by_rows
    own = generator.model.config._attn_implementation
    found = [generator.complete(asked, batch_size=size, **settings) for size in (1, 7, 64)]
    assert [c.text for c in found[0]] == [c.text for c in found[1]] == [c.text for c in found[2]]
    assert [c.logprob for c in found[0]] == pytest.approx([c.logprob for c in found[2]], abs=1e-4)
    assert generator.model.config._attn_implementation == own
    generator._rows_agree = False
    assert [c.text for c in generator.complete(asked, batch_size=7, **settings)] == [c.text for c in found[0]]


def test_a_model_whose_rows_cannot_leave_is_refused(random_model):
    with pytest.raises(InputError, match="mamba models keep a state that rows cannot be taken out of"):
        random_model("mamba").complete(prompts(4), seed=0, batch_size=4, max_new_tokens=4)


def test_a_text_beyond_a_models_positions_is_refused(random_model):
    generator, settings = random_model("gpt2", **GPT2 | SHORT), {"seed": 0, "batch_size": 4}
    assert generator.complete([Prompt("the film " * 8)], max_new_tokens=4, **settings)
    with pytest.raises(InputError, match=r"take \d+ tokens, and gpt2 reads 24 at most"):
        generator.complete([Prompt("the film " * 8)], max_new_tokens=10, **settings)
    with pytest.raises(InputError, match="gpt2 reads 24 at most"):
        generator.score(["the film " * 20], ["good"], batch_size=4)


def test_a_token_made_likely_has_the_logprob_of_the_model():
    draw = Draw(Sampler(temperature=30.0), streams(0, 1000, 1), strength=0.0)
    logits = torch.tensor([[[0.0, -120.0]]]).expand(1000, 1, 2)
    tokens, logprobs = draw(logits, list(range(1000)), [0] * 1000)
    assert 1 in tokens
    assert {round(value) for token, value in zip(tokens, logprobs, strict=True) if token} == {-120}


def test_tokens_that_tie_with_the_last_of_top_k_are_kept():
    logits = torch.tensor([[3.0, 2.0, 2.0, 2.0, 1.0, 0.0]])
    kept = TopKLogitsWarper(2)(None, logits)[0].isfinite().nonzero()[:, 0].tolist()
    uniforms = torch.from_numpy(np.random.default_rng(0).random((500, TRIES + 1)))
    assert set(Sampler(top_k=2)(logits.softmax(-1).expand(500, -1), uniforms).tolist()) == set(kept) == {0, 1, 2, 3}


def test_streams_of_neighbouring_large_seeds_differ():
    assert not torch.equal(streams(2**63 + 1, 1, 4), streams(2**63 + 2, 1, 4))


def test_counter_prompts_are_read_with_their_likes(causal, monkeypatch):
    reads = []
    read = RowForward._read
    monkeypatch.setattr(
        RowForward, "_read", lambda self, *given, **more: reads.append(len(given[2])) or read(self, *given, **more)
    )
    start = "the good film of a very great story is " * 5
    asked = [Prompt(start + f"{'very ' * (at % 3)}no", against=("bad " + start + "no",)) for at in range(32)]
    causal.complete(asked[:1], seed=0, batch_size=1, max_new_tokens=1)  # the first answer checks the model by reading
    reads.clear()
    causal.complete(asked, seed=0, batch_size=64, max_new_tokens=4)
    assert sorted(reads) == [32, 32]
    assert causal.score([], [], batch_size=4) == []
    with pytest.raises(InputError, match="a stop string must not be empty"):
        causal.complete(asked, seed=0, batch_size=64, stop=("",))
