"""The report as a page: in a real browser it shows what was found, runs no text of the data set, asks for nothing."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from hf_synth.audit.data import Loaded, Real
from hf_synth.audit.figures import histograms
from hf_synth.audit.inspect import inspect
from hf_synth.audit.instruments import Instruments
from hf_synth.audit.page import page
from hf_synth.audit.pictures import draw
from hf_synth.audit.records import Rows

CHROMIUM = next((found for name in ("chromium", "google-chrome") if (found := shutil.which(name))), None)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--virtual-time-budget=2000"]
EVIL = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title=1\">{{ 7*7 }}"


def rows_of(count, seed):
    draw_from = np.random.default_rng(seed)
    words = np.array([["oven", "soup", "bread", "salt"], ["song", "band", "drum", "opera"]])
    labels = draw_from.integers(2, size=count)
    texts = [" ".join(draw_from.choice(words[label], 8)) + f" number {at}" for at, label in enumerate(labels)]
    return Rows(texts, labels, ["cooking", "music"], np.arange(count))


@pytest.fixture(scope="module")
def report():
    own, real = rows_of(120, 0), rows_of(80, 1)
    own.texts[7] = EVIL
    own.texts[9] = own.texts[8] + "!"
    own.texts[11] = real.texts[3]
    facts = {"name": "made", "split": "train", "rows": 120, "read": 120}
    beside = Loaded(real, {**facts, "name": "real", "split": "test"})

    def encode(texts):
        return np.stack([np.random.default_rng(len(text) * 31 + ord(text[0])).normal(size=8) for text in texts])

    found = inspect(Loaded(own, facts), Real(beside, beside), instruments=Instruments(encode=encode))
    stages = {"rows": {"asked": 150, "kept": 120, "dropped": {"short": 20, "duplicate": 10}}}
    return json.loads(json.dumps({**found, "dropped": stages, "pictures": []}))


def test_histograms_count_every_text_once():
    rows = rows_of(50, 0)
    lengths = np.array([3] * 25 + [9] * 24 + [500])
    found = histograms(rows, lengths, None)
    assert all(sum(shares) == pytest.approx(1, abs=1e-3) for shares in found["own"].values())
    widths = np.diff(found["edges"])
    assert (widths == widths[0]).all()


def test_the_page_asks_for_nothing_and_escapes_all(report):
    text = page(report)
    assert "<script>document.title" not in text
    assert "onerror=&#34;" in text
    assert "{{ 7*7 }}" in text
    # Only the page's own namespaces and policy name anything outside: no link, no image, no style is fetched.
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", text)
    assert "default-src 'none'" in text


def test_pictures_are_drawn(report, tmp_path):
    assert draw(report, tmp_path) == ["map.png", "lengths.png"]
    assert all((tmp_path / name).read_bytes().startswith(b"\x89PNG") for name in ("map.png", "lengths.png"))


@pytest.mark.browser
def test_a_browser_shows_it(report, tmp_path):
    if CHROMIUM is None:
        pytest.skip("no Chromium here")
    file, shot = tmp_path / "report.html", tmp_path / "shot.png"
    text = page(report)
    file.write_text(text)

    def browse(path, *more):
        command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *more, path.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=480).stdout

    shown = browse(file, "--dump-dom")
    assert "<title>made: can it be trusted?</title>" in shown  # nothing in a text has run
    assert shown.count('<circle class="point"') == 120
    for found in ("test rows", "short 20, duplicate 10", "rows are rows of the test split"):
        assert found in shown
    browse(file, "--window-size=1200,1600", f"--screenshot={shot}")
    assert len(shot.read_bytes()) > 20_000
    # A click on a class hides its dots; the click comes from the test, so the page's policy is lifted for it.
    click = "<script>document.querySelector('.legend button').click()</script></body>"
    clicked = re.sub(r"<meta http-equiv[^>]*>", "", text).replace("</body>", click)
    (tmp_path / "clicked.html").write_text(clicked)
    hidden = browse(tmp_path / "clicked.html", "--dump-dom").count('style="display: none;"')
    label = next(iter(report["figures"]["lengths"]["own"]))
    assert hidden == sum(point["label"] == label for point in report["figures"]["map"]["own"])
    # Even a script that stood in the page unescaped would be refused.
    foreign = "<script>document.title = 'owned'</script></body>"
    (tmp_path / "foreign.html").write_text(text.replace("</body>", foreign))
    assert "<title>made" in browse(tmp_path / "foreign.html", "--dump-dom")
