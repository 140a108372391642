"""The losses are those of their papers."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from hf_synth.errors import InputError
from hf_synth.losses import example_loss

LOGITS = torch.tensor([[2.0, -1.0, 0.5], [0.1, 0.2, 0.3], [-3.0, 4.0, 0.0]])
LABELS = torch.tensor([0, 2, 0])


@pytest.mark.parametrize("scale", [1.0, 10.0])
def test_reverse_cross_entropy_is_sungens(scale):
    log_p, p = LOGITS.log_softmax(-1), LOGITS.softmax(-1)
    log_q = (scale * one_hot(LABELS, 3).float()).log_softmax(-1)
    published = (p * (log_p - log_q) - p * log_p).sum(-1)  # as the released code writes it
    torch.testing.assert_close(example_loss("rce", scale=scale)(LOGITS, LABELS), published)


def test_it_is_symmetric_and_mae_up_to_scale():
    rce, mae = example_loss("rce", scale=10.0), example_loss("mae")
    over_labels = torch.stack([rce(LOGITS, torch.full((3,), label)) for label in range(3)]).sum(0)
    torch.testing.assert_close(over_labels, over_labels[:1].expand(3))  # the same whatever the logits say
    torch.testing.assert_close(
        rce(LOGITS, LABELS) - 5 * mae(LOGITS, LABELS), torch.full((3,), math.log(math.e**10 + 2) - 10)
    )
    torch.testing.assert_close(mae(LOGITS, LABELS), (LOGITS.softmax(-1) - one_hot(LABELS, 3)).abs().sum(-1))


def test_generalised_cross_entropy_lies_between_ce_and_mae():
    torch.testing.assert_close(
        example_loss("gce", q=1e-4)(LOGITS, LABELS), example_loss()(LOGITS, LABELS), rtol=1e-3, atol=1e-3
    )
    torch.testing.assert_close(example_loss("gce", q=1.0)(LOGITS, LABELS), example_loss("mae")(LOGITS, LABELS) / 2)


def test_symmetric_cross_entropy_is_their_sum():
    expected = example_loss("rce", scale=1.0)(LOGITS, LABELS) + 0.1 * cross_entropy(LOGITS, LABELS, reduction="none")
    torch.testing.assert_close(example_loss("sce", scale=1.0)(LOGITS, LABELS), expected)


def test_a_token_examples_loss_is_the_mean_over_its_labelled_tokens():
    logits = torch.randn(2, 4, 3)
    labels = torch.tensor([[0, -100, 2, 1], [-100, -100, 1, -100]])
    expected = torch.stack([cross_entropy(logits[row], labels[row]) for row in range(2)])
    torch.testing.assert_close(example_loss()(logits, labels), expected)


def test_an_unknown_loss_is_named():
    with pytest.raises(InputError, match="a loss must be one of .* got 'mea'. Did you mean 'mae'?"):
        example_loss("mea")
