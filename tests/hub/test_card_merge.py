"""`merge_card`, which is a pure function."""

from __future__ import annotations

import pytest
import yaml

from hf_synth.card_merge import BEGIN, END, ON_HUB, decode_card, merge_card
from hf_synth.errors import InputError

OURS = f"---\nlanguage: en\ntags:\n- synthetic\n- hf_synth\n---\n{BEGIN}\n# Ours\n{END}\n"


def header(readme: str) -> dict:
    return yaml.safe_load(readme.split("---\n")[1])


def test_without_a_card_on_the_hub_ours_is_sent_as_it_is():
    assert merge_card(OURS, None) == OURS


def test_a_card_without_markers_becomes_the_block():
    merged = merge_card("---\nlicense: mit\n---\n\n# Student\n", None)
    assert merged == f"---\nlicense: mit\n---\n{BEGIN}\n# Student\n{END}\n"
    assert merge_card("# Student\n", None) == f"{BEGIN}\n# Student\n{END}\n"


@pytest.mark.parametrize("body", ["", "# Mine", "# Mine\n", "# Mine\n\n", "\n\n# Mine  \r\n", "---\nno header"])
def test_our_block_is_appended_after_a_text_without_markers(body):
    merged = merge_card(OURS, body)
    after_header = merged.split("---\n", 2)[2]
    assert after_header.startswith(body)
    assert after_header.removeprefix(body).strip() == f"{BEGIN}\n# Ours\n{END}"
    assert merge_card(OURS, merged) == merged


def test_merging_again_changes_nothing():
    theirs = f"---\n# mine\nlicense: mit\ntags: [a]\n---\nabove\n{BEGIN}\nold\n{END}\nbelow"
    once = merge_card(OURS, theirs)
    assert once.startswith("---\n# mine\nlicense: mit\n")
    assert once.endswith(f"---\nabove\n{BEGIN}\n# Ours\n{END}\nbelow")
    assert merge_card(OURS, once) == once


@pytest.mark.parametrize(
    "theirs",
    [
        'license: mit # chosen\ncountry: no\nversion: 1.10\nquote: "a: b"\nlong: |\n  two\n  lines\n',
        "base: &b {x: 1}\nother: *b\n",
        "{license: mit, tags: [mine]}\n",
        "",
    ],
)
def test_keys_that_we_do_not_set_are_kept_as_written(theirs):
    merged = merge_card(OURS, f"---\n{theirs}---\n")
    assert {**(yaml.safe_load(theirs) or {}), **header(merged)} == header(merged)
    assert header(merged)["language"] == "en"
    if not theirs.startswith("{"):
        assert theirs in merged


def test_an_anchor_of_a_replaced_key_is_resolved():
    merged = header(merge_card(OURS, "---\nlanguage: &l [fr]\nmine: *l\n---\n"))
    assert (merged["language"], merged["mine"]) == ("en", ["fr"])


@pytest.mark.parametrize(
    ("theirs", "united"),
    [("[b, synthetic, a]", ["b", "synthetic", "a", "hf_synth"]), ("solo", ["solo", "synthetic", "hf_synth"])],
)
def test_tags_are_united_in_the_order_of_the_person(theirs, united):
    assert header(merge_card(OURS, f"---\ntags: {theirs}\n---\n"))["tags"] == united


def test_a_config_of_theirs_stays_only_if_its_files_do():
    ours = yaml.safe_dump(
        {
            "configs": [{"config_name": "default", "data_files": "data/train-*", "default": True}],
            "dataset_info": {"config_name": "default", "features": [1]},
        }
    )
    theirs = yaml.safe_dump(
        {
            "configs": [
                {"config_name": "default", "data_files": "data/old-*"},
                {"config_name": "rejects", "data_files": [{"split": "train", "path": ["data/rejects-*"]}]},
                {"config_name": "folder", "data_dir": "data"},
                {"config_name": "dotted", "data_files": ["./hf_synth/chunks.parquet"]},
                {"config_name": "human", "data_files": [{"split": "test", "path": "human/*.csv"}], "default": True},
            ],
            "dataset_info": [
                {"config_name": "rejects", "features": [2]},
                {"config_name": "human", "features": [3]},
            ],
        }
    )
    merged = header(merge_card(f"---\n{ours}---\n", f"---\n{theirs}---\n"))
    assert merged["configs"] == [
        {"config_name": "default", "data_files": "data/train-*", "default": True},
        {"config_name": "human", "data_files": [{"split": "test", "path": "human/*.csv"}]},
    ]
    assert merged["dataset_info"] == [
        {"config_name": "default", "features": [1]},
        {"config_name": "human", "features": [3]},
    ]


def test_a_marker_inside_a_generated_text_does_not_cut_the_block():
    ours = f"---\na: 1\n---\n{BEGIN}\nsample:\n{END}\nmore\n{BEGIN}\nlast\n{END}\n"
    once = merge_card(ours, "above\n")
    again = merge_card(ours, once)
    assert again == once
    assert again.count(BEGIN) == again.count(END) == 1
    assert again.startswith("---\na: 1\n---\nabove\n")
    assert again.index("more") < again.index("last") < again.index(END)


def test_a_marker_quoted_in_a_sentence_is_text():
    theirs = f"Do not touch `{BEGIN}`.\n\n{BEGIN}\nold\n{END}\n"
    assert f"Do not touch `{BEGIN}`.\n\n{BEGIN}\n# Ours\n{END}\n" in merge_card(OURS, theirs)


@pytest.mark.parametrize("body", [f"{BEGIN}\n", f"{END}\n", f"{END}\n{BEGIN}\n", f"{BEGIN}\n{END}\n{BEGIN}\n{END}\n"])
def test_markers_that_are_no_pair_are_refused(body):
    with pytest.raises(InputError, match="once each and in that order"):
        merge_card(OURS, body)


@pytest.mark.parametrize("yaml_", ["a: [1", "- a\n- b", "just words", "a: 2024-13-45", "a: !!python/name:os.system x"])
def test_a_header_that_cannot_be_read_is_refused_in_one_line(yaml_):
    with pytest.raises(InputError, match="YAML header of the README.md on the Hub") as caught:
        merge_card(OURS, f"---\n{yaml_}\n---\n")
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="YAML header of the local README.md"):
        merge_card(f"---\n{yaml_}\n---\n", OURS)


def test_a_byte_order_mark_does_not_hide_the_header():
    merged = merge_card(OURS, "\ufeff---\nlicense: mit\n---\n# Mine\n")
    assert header(merged)["license"] == "mit"
    assert merged.count("---\n") == 2


def test_a_card_that_is_no_text_is_refused():
    with pytest.raises(InputError, match="README.md on the Hub must be UTF-8 text"):
        decode_card("é".encode("latin-1"), ON_HUB)
