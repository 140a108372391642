"""The trainers whose losses must not depend on how a run is cut up; each is made of model, arguments and data."""

from functools import partial

from hf_synth.trainers.annealing import AnnealingConfig, AnnealingTrainer
from hf_synth.trainers.bilevel import BilevelConfig, BilevelTrainer
from hf_synth.trainers.ensemble import EnsembleConfig, EnsembleTrainer
from hf_synth.trainers.weighted import WeightedTrainer

KINDS = {
    "weighted": WeightedTrainer,
    "annealing-rounds": AnnealingTrainer,
    "annealing-share": partial(AnnealingTrainer, config=AnnealingConfig(kind="share", curve="cosine")),
    "annealing-weight": partial(AnnealingTrainer, config=AnnealingConfig(kind="weight", curve="exponential")),
    "ensemble-prediction": partial(
        EnsembleTrainer, config=EnsembleConfig(momentum=0.6, weight=2, ramp=4, every=3, keep_above=0.4, least_kept=4)
    ),
    "ensemble-training": partial(  # 5 steps are more than an epoch, so some rows are seen twice between updates
        EnsembleTrainer,
        config=EnsembleConfig.preset("laine_aila", weight=10, ramp=2, every=5, keep_above=0.35, least_kept=4),
    ),
    "bilevel-sungen": partial(
        BilevelTrainer, config=BilevelConfig(rounds=4, outer_rows=40, redraw=True, weight_lr=0.5)
    ),
    "bilevel-adam": partial(BilevelTrainer, config=BilevelConfig(rounds=4, step="adam")),
    "bilevel-online-reused": partial(BilevelTrainer, config=BilevelConfig(mode="online", outer_loss="gce")),
    "bilevel-online-exact": partial(BilevelTrainer, config=BilevelConfig(mode="online", inner="exact")),
    "bilevel-network": partial(
        BilevelTrainer,
        config=BilevelConfig(
            rounds=4, weigh="network", weight_lr=0.05, features=("loss", "margin", "label", "embedding")
        ),
    ),
    "bilevel-network-online": partial(
        BilevelTrainer, config=BilevelConfig(mode="online", weigh="network", weight_lr=0.03)
    ),
}
