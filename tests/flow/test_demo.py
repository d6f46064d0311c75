"""The demonstration as a person runs it: a broker, a worker, a night, and the books at the end."""

from __future__ import annotations

import itertools
import json
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from subprocess import PIPE, CompletedProcess

import numpy as np
import pytest

pytestmark = pytest.mark.timeout(600)

COMMAND = [sys.executable, "-m", "cempstream"]


def facts_of(output: str) -> dict[str, str]:
    return {
        name.strip(): value
        for name, value in (
            re.split(r"(?<=\S) {2,}", line.strip(), maxsplit=1) for line in output.strip().splitlines()
        )
    }


def listen_to(command: list[str], said: Path, how: str) -> tuple[dict[str, str], CompletedProcess[str]]:
    """Run a demo that stays up, and in it the `listen` that it prints, in some way; end it by Ctrl-C."""
    with said.open("w") as stderr, subprocess.Popen(command, stdout=PIPE, stderr=stderr, text=True) as demo:
        assert demo.stdout is not None
        try:
            facts = facts_of("".join(itertools.takewhile(lambda line: "stays up" not in line, demo.stdout)))
            listen = f"{demo.stdout.readline().strip()} {how}"
            listened = subprocess.run(listen, shell=True, capture_output=True, text=True, timeout=120)
            demo.send_signal(signal.SIGINT)
            demo.wait(60)
        finally:
            demo.kill()
    assert demo.returncode == 0, said.read_text()
    return facts, listened


def test_a_night_ends_with_true_alerts_balanced_accounts_and_a_stream_to_subscribe_to(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    wave = 10 ** (3.5682 + 1e-4 * np.arange(3909))
    # A featureless source and one without a good pixel: scored and dead.
    np.savez(
        tmp_path / "own.npz",
        wave=np.concatenate([wave, wave]),
        flux=np.concatenate([100 + rng.normal(size=3909), np.zeros(3909)]),
        ivar=np.concatenate([np.ones(3909), np.zeros(3909)]),
        offsets=np.array([0, 3909, 7818]),
        ids=np.array(["flat", "empty"]),
        medium="vacuum",
        frame="observed",
        resolving_power=1800.0,
    )
    out = tmp_path / "night"
    options = ["--n", "160", "--rate", "40", "--seed", "3", "--files", str(tmp_path / "own.npz")]
    said = tmp_path / "said"
    command = [*COMMAND, "demo", *options, "--out", str(out), "--stay"]
    facts, listened = listen_to(command, said, "-n 1 --json")
    assert json.loads(listened.stdout)["spectrum_id"].startswith("sim-3-"), listened.stderr
    assert facts["in"].startswith("162 spectra, 160 of them simulated")
    assert facts["scored"] == "161"
    assert facts["dead letters"] == "1 (no_good_pixels 1)"
    assert facts["unaccounted"] == "0"
    assert "tansu" in facts["broker"]
    match = re.search(r"\((\d+) of (\d+) CEMP stars\)", facts["recall"])
    assert match is not None
    n_found, n_cemp = map(int, match.groups())
    assert 1 <= n_found <= n_cemp
    n_alerts = int(facts["alerts"].partition(",")[0])
    assert len(list(out.glob("*.png"))) == n_alerts
    page = (out / "index.html").read_text()
    assert page.count("<svg") == n_alerts
    assert page.count(">CEMP star<") == n_found
    assert "alert: sim-3-" in said.read_text()


def test_a_night_of_followed_stars_tells_the_life_of_each_and_listen_shows_it(tmp_path: Path) -> None:
    out, said = tmp_path / "night", tmp_path / "said"
    options = ["--stars", "--survey", "sdss", "--n", "180", "--rate", "60", "--out", str(out), "--stay"]
    command = [*COMMAND, "demo", *options]
    facts, listened = listen_to(command, said, "--until now --json")
    assert facts["scored"] == "180"
    n_stars, _, words = facts["stars"].partition(" ")
    assert words == "alerted of, 0 faults in their lives"
    counts = {name: int(n) for n, name in (part.split() for part in facts["alerts"].split(", "))}
    assert list(counts) == ["initial", "subsequent", "update", "retraction"]
    alerts = [json.loads(line) for line in listened.stdout.splitlines()]
    assert Counter(alert["alert_type"] for alert in alerts) == {name: n for name, n in counts.items() if n}
    assert counts["initial"] >= int(n_stars) > 0
    assert counts["subsequent"] + counts["update"] > 0
    assert len(list(out.glob("*.life.png"))) == int(n_stars)
    page = (out / "index.html").read_text()
    lives = re.findall(r'data-label="alerts" data-key="([^"]+)"', page)
    assert len(lives) == int(n_stars)
    by_star: dict[str, list[str]] = {}
    for alert in sorted(alerts, key=lambda alert: alert["revision"]):
        by_star.setdefault(alert["object_id"], []).append(alert["alert_type"])
    assert sorted(re.sub(r"\d × ", "", life) for life in lives) == sorted(
        " → ".join(name for name, _ in itertools.groupby(life)) for life in by_star.values()
    )


def test_the_pipeline_bench_reports_rates_of_one_run() -> None:
    ended = subprocess.run(
        [*COMMAND, "bench", "pipeline", "--json", "--batches", "1", "--repeats", "1", "--threads", "1"],
        capture_output=True,
        text=True,
        check=True,
    )
    report = json.loads(ended.stdout)
    assert report["n_spectra"] == 64
    assert report["packet_bytes"] == pytest.approx(31_400, abs=500)
    assert report["bare"] > 0
    assert report["ratio"] == pytest.approx(report["pipeline"] / report["bare"])
    assert report["ratio_with_outputs"] == pytest.approx(report["with_outputs"] / report["bare"])
    stages = {stage["stage"]: stage for stage in report["stages"]}
    assert stages["features"]["total_us"] > stages["features"]["networks_us"] > 0
    assert stages["rebin"]["networks_us"] == 0
    total_us = sum(stage["total_us"] for stage in report["stages"] if stage["stage"] != "outputs")
    pipeline_us = 1e6 / report["pipeline"]
    assert 0 < total_us <= pipeline_us  # the stages are a part of the same run


def test_the_stream_bench_balances_its_books() -> None:
    options = ["--burst", "300", "--repeats", "1", "--rate", "30", "--seconds", "3", "--threads", "1"]
    ended = subprocess.run(
        [*COMMAND, "bench", "stream", "--json", *options], capture_output=True, text=True, check=True
    )
    report = json.loads(ended.stdout)
    assert report["n_in"] == report["n_scored"] + report["n_dead"] == 640 + 300 + 90
    assert report["rate"] == pytest.approx(300 / report["drain_s"])
    latency = report["latency"]
    assert 0 < latency["published_p50_s"] <= latency["published_p99_s"]
    assert latency["received_p50_s"] >= latency["published_p50_s"]
    assert report["cpu_s_per_1000"] > 0
    assert 50 < report["memory_mib"] <= report["memory_peak_mib"]
    assert report["machine"]["cores"] >= 1


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (["--mix", "nosuch"], 2, "no mix 'nosuch'; there are galaxy, halo"),
        (["--survey", "nosuch"], 1, "no profile 'nosuch'; there are csst, desi, lamost, sdss"),
        (["--files", "nosuch.fits"], 2, "nosuch.fits: there is no such file or folder"),
        (["--bootstrap", "127.0.0.1:1"], 1, "no broker answers at 127.0.0.1:1"),
        (["--provider", "cuda"], 1, "execution provider 'cuda' is not available"),
    ],
)
def test_what_a_person_can_mend_is_one_line(
    options: list[str], status: int, said: str, tmp_path: Path
) -> None:
    ended = subprocess.run(
        [*COMMAND, "demo", "--n", "5", *options, "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == status
    assert said in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
