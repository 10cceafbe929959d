"""The explorer as a reader uses it, in a headless Chromium.

By pointer and by keyboard, on a narrow screen, light and dark.
"""

import re
import shutil
from datetime import datetime

import matplotlib
import numpy as np
import pytest

from explorer_study import HOSTILE, LENGTH, ORDER, REFINE, STEPS, TOKENS, WRITTEN, study
from tracedlm.report.pages.explorer import quantise, write_explorer

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed (extra `dev`)"
)
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ALL_STEPS = STEPS + REFINE
PATIENCE = 300_000
"""Milliseconds: a busy machine is not a wrong result."""


@pytest.fixture(scope="module")
def browser():
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no Chromium is installed; looked for {', '.join(NAMES)}")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, timeout=PATIENCE)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    out = tmp_path_factory.mktemp("explorer") / "explorer.html"
    write_explorer(study(), "code", out)
    return out.as_uri()


@pytest.fixture
def opened(browser, file):
    """Opens the page; afterwards nothing may have been complained about, and nothing but the file
    been asked for.
    """
    complaints, requests, contexts = [], [], []

    def open_page(width=1280, height=900, **how):
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, **how))
        contexts[-1].set_default_timeout(PATIENCE)
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(file)
        page.wait_for_function("document.getElementById('where').textContent")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints
    assert set(requests) <= {file}


def step(page):
    return int(re.match(r"step (\d+) of 10\b", page.inner_text("#where"))[1])


def shown(page):
    return page.eval_on_selector_all("#response span", "all => all.map(one => one.textContent)")


def expected(at):
    """Text of each position after so many steps."""
    tokens = [WRITTEN[p] if ORDER.index(p) < at else None for p in range(LENGTH)]
    texts = [
        "□" if token is None else "◦" if TOKENS[token][1] else TOKENS[token][0].replace("\n", "⏎\n")
        for token in tokens
    ]
    # The last refine step writes position 0 anew.
    return ["1", *texts[1:]] if at == ALL_STEPS else texts


def pressed(page, *keys):
    for key in keys:
        page.keyboard.press(key)
    return step(page)


def test_buttons_and_slider_go_through_the_steps(opened):
    page = opened()
    for name, at in (
        ("First step", 1),
        ("Step forward", 2),
        ("Step forward", 3),
        ("Step back", 2),
        ("Last step", 10),
        ("Step forward", 10),
    ):
        page.get_by_role("button", name=name, exact=True).click()
        assert step(page) == at
    page.get_by_role("slider", name="Step").fill("6")
    assert step(page) == 6


def test_keys_go_through_the_steps(opened):
    page = opened()
    assert pressed(page, "Home") == 1
    assert pressed(page, "ArrowRight", "ArrowRight") == 3
    assert pressed(page, "ArrowLeft") == 2
    assert pressed(page, "End", "ArrowRight") == ALL_STEPS
    page.get_by_role("slider", name="Step").focus()
    assert pressed(page, "Home", "ArrowRight") == 2


def test_space_plays_to_the_end_and_stops(opened):
    page = opened()
    page.clock.install(time=datetime(2026, 1, 1))
    page.clock.pause_at(datetime(2026, 1, 2))  # from here on only the test moves the clock
    pressed(page, "Home", " ")
    assert page.get_by_role("button", name="Pause").is_visible()
    page.clock.run_for(300)
    assert 1 < step(page) < ALL_STEPS
    page.clock.run_for(10_000)
    assert step(page) == ALL_STEPS
    assert page.get_by_role("button", name="Play").get_attribute("aria-pressed") == "false"


def test_everything_is_reached_by_tab_and_choices_keep_their_keys(opened):
    page = opened()
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert {
        "dataset",
        "length",
        "sample",
        "readout",
        "response",
        "step",
        "play",
        "first",
        "last",
    } <= set(reached)
    at = step(page)
    page.focus("#sample")
    assert pressed(page, "ArrowDown") == at and page.input_value("#sample") == "1"


def test_tokens_appear_in_their_order_with_their_confidence(opened):
    page = opened()
    pressed(page, "Home")
    for at in range(1, ALL_STEPS + 1):
        assert shown(page) == expected(at)
        just = page.eval_on_selector_all(
            "#response .just", "all => all.map(one => +one.dataset.position)"
        )
        assert just == ([ORDER[at - 1]] if at <= STEPS else [0] if at == ALL_STEPS else [])
        page.keyboard.press("ArrowRight")
    token = page.locator("#response span").nth(5)
    assert (
        token.get_attribute("title")
        == "Position 5: “1”, written after step 5 with confidence 0.812."
    )
    assert float(token.evaluate("one => one.style.getPropertyValue('--unsure')")) == pytest.approx(
        1 - (0.5 + 5 / 16), abs=1e-3
    )
    token.hover()
    assert "Position 5:" in page.inner_text("#inspector")


def test_arrows_in_the_response_move_over_its_tokens(opened):
    page = opened()
    at = pressed(page, "Home", "ArrowRight")
    page.focus("#response")
    assert pressed(page, "ArrowRight", "ArrowRight") == at
    assert (
        page.inner_text("#inspector")
        == "Position 1: “+”, written after step 1 with confidence 0.562."
    )
    assert pressed(page, "End") == at and "Position 7: masked." in page.inner_text("#inspector")


def test_what_a_model_wrote_stays_text(opened):
    page = opened()
    pressed(page, "End")
    assert page.locator("#response span").nth(4).text_content() == HOSTILE
    assert HOSTILE in page.inner_text("#prompt") and f"rad({HOSTILE})" in page.inner_text("#plots")
    for box in ("#runs", "#table"):
        page.click(f"{box} summary")
    assert HOSTILE in page.inner_text("#runs") and "onerror" in page.inner_text("#table")
    assert page.locator("img").count() == 0 and page.title() == "tracedlm: denoising of made-up"


def test_the_heat_map_has_the_colour_of_each_similarity(opened):
    page = opened()
    pressed(page, "Home")
    levels, low, high = quantise(study().sets[0].samples[0].readouts["q"].similarity, 255)
    places = [(3, 0), (9, 7), (6, 5), (2, 7)]
    colours = page.evaluate(PIXELS, places)
    for (t, p), colour in zip(places[:3], colours, strict=False):
        wanted = matplotlib.colormaps["cividis"](
            int(np.floor((levels[t, p] - 1) / 254 * 255 + 0.5)), bytes=True
        )
        assert colour == [int(value) for value in wanted]
    assert colours[3] == [0xEC, 0xEA, 0xE3, 0xFF]  # not visible
    box = page.locator("#plots .map canvas").bounding_box()
    page.locator("#plots .map canvas").hover(
        position={"x": 6.5 / 10 * box["width"], "y": 5.5 / 8 * box["height"]}
    )
    value = low + (int(levels[6, 5]) - 1) / 254 * (high - low)
    assert page.inner_text("#pointed") == f"Step 7, position 5: similarity {value:.3f}.".replace(
        "-", "\N{MINUS SIGN}"
    )
    page.mouse.down()
    assert step(page) == 7


def test_certificates_and_exits_are_told_at_every_step(opened):
    page = opened()
    tv = page.locator("#plots > div", has_text="tv").locator(".value")
    assert pressed(page, "Home") == 1 and tv.inner_text() == "does not"
    assert pressed(page, "ArrowRight") == 2 and tv.inner_text() == "certifies"
    label = page.locator("#plots canvas[aria-label^='rad']").get_attribute("aria-label")
    assert label.endswith(
        "4 forwards, answer none, wrong, another than full decoding's, which was not in place after"
        " as many forwards"
    )
    label = page.locator("#plots canvas[aria-label^='full']").get_attribute("aria-label")
    assert label.endswith(
        "8 forwards, answer 1+1, right, the same as full decoding's, which was in place after as"
        " many forwards"
    )
    assert "from step 5 of 8" in page.inner_text("#facts")


def test_a_readout_and_an_answer_that_are_missing_are_said_to_be(opened):
    page = opened()
    assert (
        page.inner_text("#shown")
        == "The first 2 of 3 test problems of countdown at 8 tokens are shown: samples 0 to 1."
    )
    page.select_option("#sample", "1")
    page.select_option("#readout", "v")
    page.wait_for_function("document.getElementById('facts').textContent.includes('no readout')")
    assert "No similarities of readout v" in page.locator("#plots .map canvas").get_attribute(
        "aria-label"
    )
    pressed(page, "End")
    assert shown(page).count("□") == 3 and "no answer" in page.inner_text("#facts")
    page.select_option("#dataset", "sudoku")
    assert page.inner_text("#shown") == "All 1 test problems of sudoku at 8 tokens."


def test_320_pixels_need_no_sideways_scrolling(opened):
    page = opened(width=320, height=640)
    page.click("#table summary")
    page.click("#runs summary")
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    for name in ("First step", "Step back", "Play", "Step forward", "Last step"):
        box = page.get_by_role("button", name=name, exact=True).bounding_box()
        assert (
            box["x"] >= 0
            and box["x"] + box["width"] <= 320
            and min(box["width"], box["height"]) >= 24
        )


PIXELS = """places => { const c = document.querySelector('#plots .map canvas');
  const all = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
  return places.map(([t, p]) => {
    const row = Math.floor((p + .5) / 8 * c.height), column = Math.floor((t + .8) / 10 * c.width);
    const at = 4 * (row * c.width + column);
    return [...all.slice(at, at + 4)]; }); }"""

CONTRAST = """() => {
  const parse = text => {
    const n = text.match(/[\\d.]+/g).map(Number);
    return [n[0], n[1], n[2], n[3] ?? 1]; };
  const linear = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = rgb => {
    const l = rgb.slice(0, 3).map(v => linear(v / 255));
    return .2126 * l[0] + .7152 * l[1] + .0722 * l[2]; };
  const behind = one => { if (!one) return [255, 255, 255, 1];
    const own = parse(getComputedStyle(one).backgroundColor);
    const under = own[3] === 1 ? own : behind(one.parentElement);
    return own.slice(0, 3).map((v, i) => v * own[3] + under[i] * (1 - own[3])).concat(1); };
  const poor = [];
  for (const one of document.querySelectorAll('body *')) {
    if (![...one.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    if (!one.getClientRects().length || one.closest('script, .skip')) continue;
    const lights = [light(parse(getComputedStyle(one).color)), light(behind(one))];
    const [a, b] = lights.sort((x, y) => y - x);
    const contrast = (a + .05) / (b + .05);
    const text = one.textContent.slice(0, 20);
    if (contrast < 4.5) poor.push([one.tagName, one.className, text, contrast]);
  }
  return [light(behind(document.body)), poor];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible_light_and_dark(opened, scheme):
    page = opened(color_scheme=scheme)
    page.click("#table summary")
    background, poor = page.evaluate(CONTRAST)
    assert not poor
    assert background > 0.8 if scheme == "light" else background < 0.05
