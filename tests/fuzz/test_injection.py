"""What a model or a name says stays text in tables, in the report and in the explorer.

It acts neither in TeX nor in a browser.
"""

import os
import re
import shutil
import subprocess
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer_study import TOKENS, study
from tracedlm.report.layout import lay_out
from tracedlm.report.markup import html
from tracedlm.report.pages.explorer import explorer_html
from tracedlm.report.pages.report import html_number
from tracedlm.report.write import SPECS, tex_escape, write_table

HTML = (
    "</script><img src=x onerror=stolen()>",
    "<script>stolen()</script>",
    '"><svg onload=stolen()>',
    "'-stolen()-'",
    "${stolen()}{{stolen()}}{% stolen %}",
    "<!--<script>",
    "]]><style>*{display:none}</style>",
    "javascript:stolen()",
    "&lt;script&gt;stolen()&lt;/script&gt;",
    "\u2028stolen()\u2029",
    "\u202etxet desrever\u2066",
    "\\u003cscript>",
    "\0\x1b[31m",
    "<iframe srcdoc='<script>parent.stolen()</script>'>",
)
TEX = (
    r"\input{/etc/passwd}",
    r"\write18{touch ran}",
    r"\immediate\write18{touch ran}",
    r"\openout\x=ran \immediate\write\x{}",
    r"\end{tabular}\end{document}",
    r"\catcode`\%=12",
    r"^^5cinput{/etc/passwd}",
    r"$\directlua{os.execute('touch ran')}$",
    "% & # _ { } ~ ^ \\",
    "\u2028\u202e\0",
    r"\csname input\endcsname /etc/passwd",
    "\\\\ \\hline & & & & & & & & & &",
)
STOLEN = "() => window.stolen = () => { document.title = 'stolen'; }"
EFFICIENCY = SPECS["efficiency"]


def hostile_rows(texts):
    """Rows of a table whose names are hostile; numbers are as they should be."""
    numbers = (
        "full_steps",
        "forwards",
        "reduction",
        "accuracy_full",
        "accuracy_rule",
        "accuracy_truncate",
        "difference",
        "difference_low",
    )
    return [
        {
            "dataset": text,
            "seq_len": 64,
            "rule": text,
            "label": text,
            "source": "ours",
            "n": 4,
            "reason": text,
        }
        | dict.fromkeys((*numbers, "difference_high", "difference_p"), 0.5)
        | dict.fromkeys(("published_steps", "published_reduction", "published_difference"))
        for text in texts
    ]


@settings(max_examples=40, derandomize=True, database=None)
@given(st.text(st.sampled_from("\\{}$&#_%~^<>|\"'`aw1-e+. \n\0é\u2028\u202e"), max_size=30))
def test_no_sign_of_escaped_text_acts_in_tex(text):
    """Every backslash begins one of the escapes.

    What remains without them, and without a number's minus and power, is plain.
    """
    escaped = tex_escape(text)
    assert escaped.isascii() and escaped.isprintable()
    plain = re.sub(r"\$-\$|\$(?:[-\d.]+ \\times )?10\^\{[+-]?\d+\}\$", "", escaped)
    plain = re.sub(
        r"\\[{}$&#_%]|\\text(?:backslash|asciitilde|asciicircum|less|greater|bar)\{\}|\{\\char34\}",
        "",
        plain,
    )
    assert not set(plain) & set('\\{}$&#_%~^<>|"')


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_tables_with_hostile_names_compile_and_do_nothing(tmp_path):
    """With the shell and every file allowed, so that nothing but the escapes stands between the
    text and the machine.
    """
    write_table(EFFICIENCY, hostile_rows((*TEX, *HTML)), tmp_path)
    document = (
        r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}"
        r"\input{efficiency.tex}\typeout{whole}\end{document}"
    )
    (tmp_path / "main.tex").write_text(document)
    run = subprocess.run(
        [
            shutil.which("pdflatex"),
            "-interaction=nonstopmode",
            "-halt-on-error",
            "-shell-escape",
            "-recorder",
            "main.tex",
        ],
        cwd=tmp_path,
        env={**os.environ, "openin_any": "a", "openout_any": "a"},
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert run.returncode == 0 and "whole" in run.stdout, run.stdout[-1500:]
    assert "passwd" not in (tmp_path / "main.fls").read_text() and not (tmp_path / "ran").exists()


def page(names):
    """The report's page with hostile names, hostile paragraphs and a hostile config."""
    grid = lay_out(EFFICIENCY, hostile_rows(names))
    figure = {"kind": "figure", "name": "pareto", "title": names[0], "caption": " ".join(names)}
    settings_ = {
        "study": names[1],
        "datasets": names,
        "seq_lens": [64],
        "model": {"path": names[2]},
        "seed": 0,
    }
    return (
        html()
        .get_template("page.html.j2")
        .render(
            study=settings_,
            abstract={name: name for name in names},
            sections=[(names[0], [{"kind": "table", "grid": grid}, figure])],
            drawn=lambda name: "",
            config="\n".join(names),
            stages=[(name, name) for name in names],
            versions=[(name, name) for name in names],
            number=html_number,
            undefined=True,
        )
    )


def explorer(names):
    """The explorer's page with hostile tokens, prompts, answers, rules and names."""
    made = study()
    tokens = {
        number: (names[place % len(names)], special)
        for place, (number, (_, special)) in enumerate(TOKENS.items())
    }
    told = "".join(names)
    sets = [
        replace(
            one,
            dataset=names[place],
            samples=[
                replace(
                    sample,
                    prompt=told,
                    answer=told,
                    answers=[replace(answer, answer=told) for answer in sample.answers],
                    exits=[replace(run, rule=told, answer=told) for run in sample.exits],
                )
                for sample in one.samples
            ],
        )
        for place, one in enumerate(made.sets)
    ]
    return explorer_html(replace(made, study=told, tokens=tokens, sets=sets), told, 255)


@pytest.mark.slow
@pytest.mark.parametrize("make", [page, explorer])
def test_nothing_that_was_said_acts_in_a_browser(make, tmp_path):
    driver = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed (extra `dev`)"
    )
    program = next(
        filter(
            None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))
        ),
        None,
    )
    if program is None:
        pytest.skip("no Chromium is installed")
    file, complaints, requests = tmp_path / "page.html", [], []
    with driver.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, timeout=300_000)
        context = browser.new_context()
        context.set_default_timeout(300_000)
        for turn in range(3 if make is explorer else 1):
            file.write_text(make([*HTML[5 * turn :], *HTML[: 5 * turn]]), encoding="utf-8")
            tab = context.new_page()
            tab.add_init_script(f"({STOLEN})()")
            tab.on("dialog", lambda dialog: complaints.append(dialog.message))
            tab.on("pageerror", lambda error: complaints.append(str(error)))
            tab.on("console", lambda message: complaints.append(message.text))
            tab.on("request", lambda request: requests.append(request.url.partition(",")[0]))
            tab.goto(file.as_uri())
            if make is explorer:
                tab.wait_for_function("document.getElementById('where').textContent")
                for key in ("End", "Home", "ArrowRight"):
                    tab.keyboard.press(key)
                for box in ("#runs", "#table"):
                    tab.click(f"{box} summary")
                tab.focus("#response")
                for _ in range(8):
                    tab.keyboard.press("ArrowRight")
                assert not re.search(
                    "[\u2028\u2029\u202e\u2066]",
                    tab.inner_text("#inspector") + tab.inner_text("#table"),
                )
            assert not tab.title().startswith("stolen") and HTML[0] in tab.content().replace(
                "&lt;", "<"
            ).replace("&gt;", ">")
            assert (
                tab.locator(
                    "iframe, svg[onload], [onerror], [onload], a[href^='javascript']"
                ).count()
                == 0
            )
            assert tab.locator("img").count() == (1 if make is page else 0) and tab.locator(
                "script"
            ).count() == (2 if make is explorer else 0)
            tab.close()
        browser.close()
    assert not complaints
    assert {url for url in requests if not url.startswith("data:image/png;base64")} == {
        file.as_uri()
    }


def test_the_report_may_run_nothing():
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page(HTML))[1]
    assert policy.startswith("default-src 'none';") and "script" not in policy
