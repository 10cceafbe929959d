"""Downloads from a server on this machine.

Resumed, retried, checked, and a clear word where there is no network.
"""

import csv
import hashlib
import re
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tracedlm.config import Dataset
from tracedlm.resources import resource
from tracedlm.stages.data.download import COLUMNS, Source, fetch, read_sources

CONTENT = bytes(range(256)) * 400
DIGEST = hashlib.sha256(CONTENT).hexdigest()
REVISION = "0123456789abcdef0123456789abcdef01234567"


class Server(BaseHTTPRequestHandler):
    """Sends `CONTENT`. The path says what goes wrong, once per file unless it says always."""

    def do_GET(self):
        self.server.seen.append(
            (self.path, self.headers.get("Range"), self.headers.get("Authorization"))
        )
        first = sum(path == self.path for path, *_ in self.server.seen) == 1
        if "gone" in self.path or ("busy" in self.path and first):
            return self.send_error(404 if "gone" in self.path else 503)
        if "closed" in self.path:
            return self.send_error(403)
        start = (
            int(re.findall(r"\d+", self.headers["Range"])[0])
            if "Range" in self.headers and "plain" not in self.path
            else 0
        )
        if start >= len(CONTENT):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        end = len(CONTENT) // 2 if "broken" in self.path and first else len(CONTENT)
        self.wfile.write(CONTENT[start:end])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    httpd.seen = []
    threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
    yield httpd
    httpd.shutdown()
    httpd.server_close()


def source(server, file, sha256=DIGEST, kind="url"):
    return Source(
        f"d/{file}",
        kind,
        f"http://127.0.0.1:{server.server_port}",
        REVISION,
        file,
        sha256,
        "MIT",
        "1",
        "",
    )


def get(server, tmp_path, file, **chosen):
    path = tmp_path / "d" / file
    fetch(source(server, file, **chosen), path, pause=0)
    return path


@pytest.mark.parametrize("file", ["whole", "busy", "broken", "broken-plain"])
def test_a_file_arrives_whole_whatever_happens_on_the_way(server, tmp_path, file):
    path = get(server, tmp_path, file)
    assert path.read_bytes() == CONTENT and [p.name for p in path.parent.iterdir()] == [file]
    ranges = [asked for _, asked, _ in server.seen]
    assert ranges == {"whole": [None], "busy": [None, None]}.get(
        file, [None, f"bytes={len(CONTENT) // 2}-"]
    )


@pytest.mark.parametrize("have", [1000, len(CONTENT)])
def test_an_interrupted_download_is_continued_by_the_next_job(server, tmp_path, have):
    (tmp_path / "d").mkdir()
    (tmp_path / "d/.whole.download").write_bytes(CONTENT[:have])
    assert get(server, tmp_path, "whole").read_bytes() == CONTENT
    assert [asked for _, asked, _ in server.seen] == [f"bytes={have}-"]


def test_another_file_than_expected_is_not_kept(server, tmp_path):
    with pytest.raises(
        ValueError, match=rf"its sha256 is {DIGEST}, resources/sources.csv expects 0+; it was not"
    ):
        get(server, tmp_path, "whole", sha256="0" * 64)
    assert list((tmp_path / "d").iterdir()) == []


def test_without_a_checksum_the_one_found_is_said(server, tmp_path, capsys):
    assert get(server, tmp_path, "whole", sha256="").read_bytes() == CONTENT
    assert (
        f"d/whole: sha256 {DIGEST}; write it into resources/sources.csv" in capsys.readouterr().err
    )


def test_a_file_that_is_not_there_is_asked_for_once(server, tmp_path):
    with pytest.raises(
        ValueError,
        match=(
            r"gone: HTTP 404 .*\. On another machine, fetch that file and put it at .*/d/gone with"
            r" sha256"
        ),
    ):
        get(server, tmp_path, "gone")
    assert len(server.seen) == 1


def test_the_hub_is_asked_with_the_users_token_and_says_what_a_gated_file_needs(
    server, tmp_path, monkeypatch
):
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_TOKEN", "secret")
    gated = replace(source(server, "closed", kind="hub"), source="who/what")
    with pytest.raises(
        ValueError,
        match=(
            r"HTTP 403 .*accept the terms at https://huggingface\.co/datasets/who/what and set"
            r" HF_TOKEN"
        ),
    ):
        fetch(gated, tmp_path / "closed", pause=0)
    assert server.seen == [(f"/datasets/who/what/resolve/{REVISION}/closed", None, "Bearer secret")]
    get(server, tmp_path, "whole")
    assert server.seen[-1][2] is None  # no other server learns the token


def test_without_a_network_it_says_which_file_to_put_where(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    nowhere = Source(
        "d/f.csv", "url", "http://127.0.0.1:1", REVISION, "f.csv", "a" * 64, "MIT", "1", ""
    )
    message = (
        rf"http://127\.0\.0\.1:1/{REVISION}/f\.csv: .*\. On another machine, fetch that file and"
        rf" put it at .*f\.csv with sha256 {'a' * 64}"
    )
    with pytest.raises(ValueError, match=message):
        fetch(nowhere, tmp_path / "f.csv", pause=0)
    assert capsys.readouterr().err.count("attempt") == 5
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ValueError, match=r"HF_HUB_OFFLINE is set\. On another machine"):
        fetch(nowhere, tmp_path / "f.csv", pause=0)


def test_the_shipped_catalogue_pins_every_file():
    sources = read_sources()
    assert {name.split("/")[0] for name in sources} == {
        "countdown",
        "sudoku",
        "gsm8k",
        "math500",
        "gpqa",
        "s1k",
    }
    for one in sources.values():
        assert (
            one.licence
            and int(one.rows) > 0
            and one.url.startswith("https://")
            and one.url.endswith(f"{one.revision}/{one.file}")
        )
        assert one.sha256 or "no checksum" in one.note or "as gpqa/main.csv" in one.note


@pytest.mark.shared
def test_the_shipped_checksums_are_those_of_the_files_at_hand(shared):
    files = {
        "countdown/test.jsonl": "countdown_cd3_test.jsonl",
        "sudoku/test.csv": "4x4_test_sudoku.csv",
        "gsm8k/train.jsonl": "gsm8k/train.jsonl",
        "gsm8k/test.jsonl": "gsm8k/test.jsonl",
    }
    sources = read_sources()
    assert {name for name, one in sources.items() if one.sha256} == set(files)
    for name, file in files.items():
        assert (
            hashlib.sha256((shared / "data" / file).read_bytes()).hexdigest()
            == sources[name].sha256
        )


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("kind", "ftp", "row 2: kind 'ftp' is neither hub nor url"),
        ("revision", "main", "row 2: revision 'main' is not a commit"),
        ("sha256", "abc", "row 2: sha256 'abc' is not 64"),
    ],
)
def test_a_bad_row_of_the_catalogue_is_named(tmp_path, column, value, message):
    good = dict(
        zip(COLUMNS, ("d/f", "url", "https://x", REVISION, "f", "", "MIT", "1", ""), strict=True)
    )
    with (tmp_path / "s.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerow({**good, column: value})
    with pytest.raises(ValueError, match=rf"s\.csv, {message}"):
        read_sources(tmp_path / "s.csv")


def test_prompts_and_sources_are_where_the_rules_look():
    assert resource("sources.csv").exists() and Dataset().test is None
