"""Where a check turns from good to look to bad, and why there; all limits stand here.

Figures in the reasons are those of 2,000 real rows each of sst2, ag_news, subj, trec, banking77, rotten_tomatoes and
imdb: what real data sets do must pass.
"""

from __future__ import annotations

MOST_ROWS = 1_000  # rows that a verdict names
LEAST = 20  # rows below which a share says nothing

# Leakage. One verbatim test row is one too many: the student is judged on what it has seen.
REFERENCE_CHARACTERS = 60_000_000  # of a reference split or corpus that are searched: about 10 million words, 1.2 GB
VERBATIM_WORDS = 4  # shorter texts ("a great movie") are the same by chance
SPANS = 0.05  # real train splits share 8 words in a row with their test splits in up to 4 % of the rows (templates)
SPANS_TIMES = 2.0  # times what the reference's own train split shares with its test split

# Duplicates: (look, bad) shares of rows that would go. Real sets that were crawled hold up to 1 %.
EXACT = (0.01, 0.05)
NEAR = (0.02, 0.10)
MEANING = (0.05, 0.20)  # cosine 0.95 also finds rows that differ in one name: 3 % of banking77
DUPLICATES_TIMES = 2.0  # times the reference's own rate at as many rows
TWO_LABELS = (0.002, 0.01)  # of all rows: a text with two labels is wrong at least once

# Labels. Where a classifier is surest, real labels differ from it in 0 to 6 % of the rows, and with 10 % of all labels
# flipped in 10 to 17 %: the limit is on the lower end of the interval.
SUREST = 0.2
SURE_WRONG = (0.06, 0.15)
TELLS = 0.3  # share of the way from the largest class to all right below which the classifier cannot judge (CoLA: 0)
SWAPPED = 0.2  # how much more of a class's rows must look like another class than like their own
SWAPPED_ROWS = 10

# Balance: the smallest class beside its share of the reference, or of an even split; 95/5 gives 0.1.
SHARE = (0.5, 0.2)

# Texts: (look, bad) shares of rows, of a class where one is judged.
EMPTY = (0.0, 0.01)
SHORT_WORDS = 3  # texts of fewer words say little
SHORT = (0.10, 0.50)
LENGTH_TELLS = (0.2, 0.5)  # share of the way from the largest class to all right; real sets: up to 0.13
LANGUAGE = (0.02, 0.08)  # lower end of the interval; rotten_tomatoes holds 0.7 % of Spanish rows
LANGUAGE_SURE = 0.05  # probability of the main language below which a text is in another
REFUSALS = (0.0, 0.01)
OPENING_WORDS = 4
OPENING = (0.10, 0.25)  # lower end of the interval, of one class; the commonest of trec is 6 %
PHRASE_WORDS = 5
PHRASE = (0.10, 0.25)
BOILERPLATE_TIMES = 2.0  # times the same words' share in the reference

# Personal data: one is worth a look; from one row in a hundred on it is a habit of the generator or the source.
PERSONAL = (0.0, 0.01)

# Diversity beside as many rows of the reference, where the intervals part: a quarter of a real set's span or less gone
# is what a change of topic does (two halves of real sets differ by up to 7 %).
LESS_DIVERSE = 0.75
SELF_BLEU = 0.10  # more than the reference's
TOLD_APART = 0.70  # accuracy of the two-sample test, lower end of the interval; real splits: up to 0.57
LENGTH_RATIO = 1.5  # of median words, either way
