"""The explorer's file.

What a reader gets out of it is what was put in, it keeps to its size, and it runs nothing that a
model wrote.
"""

import base64
import hashlib
import json
import re
import zlib
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from explorer_study import HOSTILE, LENGTH, REFINE, STEPS, large_study, study
from tracedlm.report.pages.explorer import LEVELS, LIMIT, explorer_html, quantise, write_explorer
from tracedlm.theory.certificate import BOUNDS

EMBEDDED = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)


def data(page):
    return json.loads(EMBEDDED.search(page)[1])


def unpacked(one, steps, length, levels):
    """Statistics, certificates and similarities of an embedded readout, number by number."""
    raw = zlib.decompress(base64.b64decode(one["data"]))
    statistics = np.frombuffer(raw[: 12 * steps], "<f4").reshape(3, steps)
    bits, change = raw[12 * steps : 13 * steps], raw[13 * steps :]
    similarity = np.full((steps, length), np.nan)
    for p in range(length):
        level = 0
        for t in range(steps):
            level = (level + change[t * length + p]) % 256
            if level:
                similarity[t, p] = one["low"] + (level - 1) / (levels - 1) * (
                    one["high"] - one["low"]
                )
    return (
        statistics,
        [[bits[t] >> n & 1 for t in range(steps)] for n in range(len(BOUNDS))],
        similarity,
    )


@pytest.mark.parametrize("levels", LEVELS)
def test_a_reader_gets_back_what_was_put_in(levels):
    made = study()
    found = data(explorer_html(made, "code", levels))
    for one, read in zip(made.sets[0].samples, found["sets"][0]["samples"], strict=True):
        assert set(read["readouts"]) == set(one.readouts)
        for name, exact in one.readouts.items():
            statistics, certified, similarity = unpacked(
                read["readouts"][name], STEPS + REFINE, LENGTH, levels
            )
            np.testing.assert_allclose(
                statistics, [exact.kl, exact.margin, exact.concentration], rtol=1e-7
            )
            assert certified == [exact.certified[bound].astype(int).tolist() for bound in BOUNDS]
            assert (np.isnan(similarity) == np.isnan(exact.similarity)).all()
            width = np.nanmax(exact.similarity) - np.nanmin(exact.similarity)
            assert (
                np.nanmax(np.abs(similarity - exact.similarity)) <= width / (levels - 1) / 2 + 1e-12
            )


@pytest.mark.parametrize("value", [np.nan, 0.25])
def test_similarities_without_a_range(value):
    level, low, high = quantise(np.full((2, 3), value), 255)
    assert (level == (0 if np.isnan(value) else 1)).all()
    assert (low, high) == ((None, None) if np.isnan(value) else (0.25, 0.25))


def test_64_samples_fit_into_5_megabytes(tmp_path):
    write_explorer(
        large_study(samples=64, steps=64, length=256, readouts=3),
        "code",
        tmp_path / "explorer.html",
    )
    page = (tmp_path / "explorer.html").read_text()
    found = data(page)
    assert (tmp_path / "explorer.html").stat().st_size <= 5_000_000 == LIMIT
    assert found["levels"] == 255 and len(found["sets"][0]["samples"]) == 64


def test_what_does_not_fit_is_rounded_before_it_is_left_out(tmp_path):
    made, out = large_study(samples=8, steps=32, length=64, readouts=2), tmp_path / "explorer.html"
    sizes = {levels: len(explorer_html(made, "code", levels).encode()) for levels in LEVELS}

    def kept(limit):
        write_explorer(made, "code", out, limit)
        found = data(out.read_text())
        assert out.stat().st_size <= limit
        return found["levels"], len(found["sets"][0]["samples"]), found["sets"][0]["total"]

    assert kept(sizes[255]) == (255, 8, 8)
    assert kept(sizes[255] - 1) == (63, 8, 8)
    assert kept(sizes[63] - 1) == (15, 8, 8)
    levels, shown, total = kept(sizes[15] - 1)
    assert levels == 15 and 1 <= shown < 8 == total
    with pytest.raises(
        ValueError,
        match=r"one sample of each set takes \d+ bytes, more than 1000; list fewer readouts",
    ):
        kept(1000)


class Elements(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.policy = [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        found = dict(attributes)
        if found.get("http-equiv") == "Content-Security-Policy":
            self.policy = found["content"]


def test_nothing_that_a_model_wrote_becomes_markup():
    page = explorer_html(replace(study(), study="<b>"), HOSTILE, 255)
    parser = Elements()
    parser.feed(page)
    assert parser.tags.count("script") == 2 and not {"img", "b", "link", "iframe"} & set(
        parser.tags
    )
    assert not re.search(r"https?://|@import|url\(", page)
    assert data(page)["tokens"][2][0] == HOSTILE


def test_the_policy_lets_only_the_pages_own_script_and_style_run():
    page = explorer_html(study(), "code", 255)
    parser = Elements()
    parser.feed(page)
    for kind, text in (
        ("script", page.rsplit("<script>", 1)[1].split("</script>")[0]),
        ("style", re.search("<style>(.*?)</style>", page, re.S)[1]),
    ):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}';" in parser.policy
    assert parser.policy.startswith("default-src 'none';") and "unsafe" not in parser.policy


def test_what_is_missing_stays_missing():
    lacking = data(explorer_html(study(), "code", 255))["sets"][0]["samples"][1]
    assert list(lacking["readouts"]) == ["q"]
    assert (lacking["answer"], lacking["correct"]) == (None, False)
    assert sum(len(written[0]) for written in lacking["commits"]) == 5
    assert lacking["confidence"][-1] is None
