"""Where a check turns from good to look to bad, and why there; all limits stand here.

Figures in the reasons are those of 2,000 train rows each of sst2, ag_news, subj, trec, banking77, cola and
rotten_tomatoes and 1,000 of imdb, beside their test splits: what real data sets do must pass. A share is judged by the
lower end of its interval where that is said.
"""

from __future__ import annotations

MOST_ROWS = 1_000  # rows that a verdict names
LENGTH_ROWS = 20_000  # rows by whose length labels are told
SLOW_ROWS = 500  # rows that a language model or a classifier of the user reads
LEAST = 20  # rows below which a share says nothing
FEW = 10  # rows of a class below which it is hardly learnt, and the reference says nothing of it

# Checks that hold back a push of the data set where they say bad. Memorisation is none: it judges the generator, whose
# adapter is held back by `private`; what of it stands in the rows, "corpus rows" and "canaries" say.
LEAKAGE = ("test rows", "test images", "canaries", "personal data")

# Leakage. One verbatim test row is one too many: the student is judged on what it has seen.
REFERENCE_CHARACTERS = 60_000_000  # of a reference split or corpus that are searched: about 10 million words, 1.2 GB
VERBATIM_WORDS = 4  # shorter texts ("a great movie") are the same by chance
SPANS = 0.05  # real train splits share 8 words in a row with their test splits in 0 to 2.2 % of the rows (templates)
SPANS_TIMES = 2.0  # times what the reference's own train split shares with its test split

# Duplicates: (look, bad) shares of rows that would go, lower end; or times the reference's own rate at as many rows
# (that of a smaller reference grows in proportion), since what is normal differs: real sets have 0 to 0.2 % exact
# ones, and 0 to 7.2 % (cola's minimal pairs) near ones.
EXACT = (0.01, 0.05)
NEAR = (0.02, 0.10)
MEANING = (0.05, 0.20)  # a cosine of 0.95 also finds rows that differ in one name
DUPLICATES_TIMES = 2.0
TWO_LABELS = (0.002, 0.01)  # of all rows, each wrong at least once in two; real sets: 0 to 0.1 %

# Labels. Where a classifier is surest, real labels differ from it in 0 to 6.5 % of the rows, and with 10 % of all
# labels flipped in 10 to 18 %: the limit is on the lower end, 4.5 % at most without flips, 7.5 % at least with them.
SUREST = 0.2
SURE_WRONG = (0.06, 0.15)
TELLS = 0.3  # share of the way from the largest class to all right below which the classifier cannot judge (cola: 0)
SWAPPED = 0.2  # how much more of a class's rows must look like another class than like their own; real sets: 0
SWAPPED_ROWS = 10

# Tags: how much less often than in the reference a known name may be tagged where it stands.
UNTAGGED = 0.05

# Questions: (look, bad) shares that hold their answer, 0 to 0.4 % of SQuAD's; and how much less often than in the
# reference a question's words lead to its answer's sentence, as 0.76 to 0.83 of SQuAD's do (chance 0.23).
GIVEN_AWAY = (0.02, 0.10)
LED_ASTRAY = 0.10

# Sets, marks and parses. Total variation, beyond chance, of how many labels, slots and levels there are, and of which
# mark is first: splits of NLU++, TOPv2 and GAD are up to 0.02 beyond it, EU-ADR's, of 36 and 88 rows, 0.05.
COUNTS = 0.10
TOGETHER = 0.10  # less of pairs of labels that the reference knows; splits of NLU++: up to 0.08
MARKED = (0.0, 0.01)  # (look, bad) shares without each mark once; GAD and EU-ADR: none
PARSES = (0.01, 0.05)  # likewise of parses that are none of their text; TOPv2: 0 to 0.6 %

# Balance: the smallest class beside its share of the reference, or of an even split. 95/5 gives 0.1, real splits 0.94
# or more (banking77, whose train split is less even than its test split: 0.27, and that is worth a look).
SHARE = (0.5, 0.2)

# The long tail: the share of the classes that have fewer than FEW rows (real train splits have none, and 2,000 rows of
# banking77 and clinc_oos 5 to 7 % of their 77 and 151 classes); and how many times the rows of the rarest third of the
# reference's classes its most frequent third must have for what is learnt of the rarest to be judged, as in USEFUL (of
# trec, cola and mrpc, half of the train split teaches the rarest as well as the other half).
FEW_CLASSES = 0.10
RARE = 2.0

# Texts: (look, bad) shares of rows, of a class where one is judged.
EMPTY = (0.0, 0.01)
SHORT_WORDS = 3  # texts of fewer words say little
SHORT = (0.10, 0.50)  # beyond the reference's share; real sets: 0 to 4.5 % of a class
LENGTH_TELLS = (0.2, 0.5)  # share of the way from the largest class to all right, lower end; real sets: up to 0.06
LANGUAGE = (0.02, 0.08)  # lower end; real sets: up to 0.7 % (rotten_tomatoes holds reviews in Spanish)
LANGUAGE_SURE = 0.05  # probability of the main language below which a text is in another
REFUSALS = (0.0, 0.01)  # real sets: none
OPENING_WORDS = 4
OPENING = (0.10, 0.25)  # lower end, of one class; real sets: up to 4.6 %, but 27 % of 22 rows in banking77
PHRASE_WORDS = 5
PHRASE = (0.10, 0.25)
BOILERPLATE_TIMES = 2.0  # times the share of the same words in the reference's class

# Personal data: one is worth a look; from one row in a hundred on it is a habit of the generator or the source.
PERSONAL = (0.0, 0.01)

# Diversity beside as many rows of the reference, where the whole interval is beyond. The train splits have 0.98 to
# 1.12 times the distinct-2 and the Vendi score of the test splits, 0.7 to 1.02 times their Self-BLEU-4, and a
# similarity that is 0.02 lower to 0.01 higher.
LESS_DIVERSE = 0.75  # times distinct-2 and Vendi score
REPETITIVE = 1.5  # times Self-BLEU-4
ALIKE = 0.10  # more of average similarity, which has no zero to multiply
TOLD_APART = 0.70  # accuracy of the two-sample test, lower end; splits that were drawn apart (ag_news) reach 0.66
LENGTH_RATIO = 1.5  # of median words, either way; real sets: 0.8 to 1.1

# Correctness and usefulness. Of real sets, the oracle agrees with train rows as with test rows, and rows of the train
# split teach what others of it do: both limits are accuracy that is missing, (look, bad), at the kind end.
ORACLE = (0.10, 0.25)
USEFUL = (0.10, 0.25)
MISCALIBRATED = 0.10  # of ECE beyond that of real rows, lower end
HARD = 0.5  # confidence below which a row is hard to learn

# Naturalness.
UNNATURAL = 0.5  # times the MAUVE of two halves of the reference
READING = 0.8  # standard deviations of the reference's texts
PERPLEXITY_RATIO = 2.0  # of the medians, either way

# Bias.
GROUPS = 0.10  # of total variation beyond chance and the reference
UNEVEN = 0.5  # of the largest entropy of an attribute
TOXIC = 0.01

# Tables: beyond chance, which is known from the numbers of rows.
CELLS = (0.01, 0.10)  # rows with a cell that no real row could have, lower end; a test split exceeds its train split's
HOLES = 0.05  # of a column's missing cells, either way
SPREAD = 0.10  # of a column's distance, and of a rank correlation
NEARER = 0.60  # share of rows nearer to train than to test rows, lower end

# Images and their texts.
BELONGS = 0.75  # share of pairs in which the own text is nearer, upper end; chance is 0.5
BELONGS_LESS = 0.10  # than of real pairs

# Memorisation. A canary that was never seen has x bits or more in one case of 2^x: a set of them is worth a look where
# they would have as many bits together by chance in fewer cases than this.
EXPOSED = 0.05
MEMORISED = (0.60, 0.75)  # area under the curve, lower end; texts of one source that were not seen have 0.5
NEAR_TEST = 0.01  # of the rows beyond the reference's own train rows, lower end
