"""Command lines that ask for what cannot be."""

from __future__ import annotations

from tests.broken.given import a_folder, written
from tests.broken.table import Broken, nothing


def _of_study(command: str, code: int, *says: str, build: object = nothing) -> Broken:
    return Broken(command[:70], build, command, code, says, given="stored")  # type: ignore[arg-type]


def _of_project(command: str, code: int, *says: str) -> Broken:
    return Broken(command[:70], nothing, command, code, says)


ROWS = (
    _of_study("pareto nope", 3, "there is no study 'nope'", "quickstart"),
    _of_study("pareto ../../x", 3, "there is no study '../../x'"),
    _of_study('pareto "\'; DROP TABLE studies;--"', 3, "there is no study", "DROP TABLE"),
    _of_study("pareto ''", 3, "there is no study ''"),
    _of_study("pareto $'\\e[31mred'", 3, "there is no study"),
    _of_study("pareto quickstart --json --csv", 2, "give one of --json, --csv and --markdown"),
    _of_study("pareto quickstart --colour", 2, "No such option", "--colour"),
    _of_study("paretto quickstart", 2, "No such command 'paretto'"),
    _of_study("pareto", 2, "Missing argument", "STUDY"),
    _of_study("pareto quickstart more", 2, "unexpected extra argument"),
    _of_study("pareto quickstart --html nowhere/x/front.html", 4, "nowhere/x/front.html", "cannot be written"),
    _of_study("pareto quickstart --png nowhere/x/front.png", 4, "nowhere/x/front.png", "cannot be written"),
    _of_study("pareto quickstart --html there", 2, "there: is a folder; name a file", build=a_folder("there")),
    _of_study(
        "pareto quickstart --png there.png", 2, "there.png: is a folder; name a file", build=a_folder("there.png")
    ),
    _of_study("pick quickstart --max-latency-ms fast", 2, "--max-latency-ms", "number"),
    _of_study("pick quickstart --max-latency-ms nan", 2, "--max-latency-ms", "nan"),
    _of_study("pick quickstart --max-latency-ms -5", 3, "where <= -5 ms was asked"),
    _of_study("pick quickstart --max-latency-ms 0.1", 3, "with latency 1.12 ms where <= 0.1 ms was asked"),
    _of_study("pick quickstart --min-quality 95", 2, "--min-quality"),
    _of_study("pick quickstart --min-quality inf", 2, "--min-quality"),
    _of_study("pick quickstart --max-quality-drop 1", 2, "--max-quality-drop", "0.01"),
    _of_study("pick quickstart --minimize beauty", 2, "--minimize", "beauty", "latency_ms"),
    _of_study("pick quickstart --minimize latency_ms --knee", 2, "--knee"),
    _of_study("pick quickstart --out picked", 3, "autocompress-artifacts", "no exported model here"),
    _of_study("show quickstart 99", 3, "99"),
    _of_study("show quickstart -1", 2, "-1"),
    _of_study("show quickstart zzz", 3, "zzz"),
    _of_study("show quickstart " + "9" * 5000, 3, "there is no candidate '999"),
    _of_study("show quickstart ''", 2, "fits more than one"),
    _of_study("show quickstart %", 3, "'%'"),
    _of_study("trials quickstart --state fail", 2, "did you mean 'failed'"),
    _of_study("export quickstart 6 --out there", 3, "was not verified"),
    _of_study("export quickstart 3 --out there", 3, "autocompress-artifacts", "no exported model here"),
    _of_study("bundle quickstart --out there", 2, "stored study"),
    _of_study("rm quickstart", 2, "there is nobody to ask; give --yes"),
    _of_study("rm nope --yes", 3, "there is no study 'nope'"),
    _of_study("resume nope", 3, "there is no study 'nope'"),
    _of_study("explain nope", 3, "there is no study 'nope'"),
    _of_study("retarget nope --device raspberry-pi-4", 3, "there is no study 'nope'"),
    _of_study("import-measurements quickstart none.json", 3, "none.json: no such file", "autocompress measure"),
    _of_study("import-measurements quickstart m.json", 2, "m.json: no JSON document", build=written("m.json", "{")),
    _of_project("verify nowhere", 3, "nowhere", "no exported model here"),
    _of_project("verify mine.yaml", 3, "mine.yaml", "no exported model here"),
    _of_project("verify model", 3, "model", "no exported model here"),
    _of_project("measure nowhere", 3, "nowhere: neither a bundle (no bundle.json) nor an exported model"),
    _of_project("measure model --rounds 1", 2, "--rounds: at least 5 rounds"),
    _of_project("run mine.yaml --trials 0", 2, "--trials", "got 0"),
    _of_project("run mine.yaml --trials 99999999999999999999", 2, "--trials"),
    _of_project("run mine.yaml --minutes nan", 2, "--minutes", "nan"),
    _of_project("run mine.yaml --minutes -3", 2, "--minutes", "got -3"),
    _of_project("run mine.yaml --name ../x", 2, "--name", "a study name holds 1 to 128 letters, digits"),
    _of_project("run mine.yaml --workers -1", 2, "--workers"),
    _of_project("run mine.yaml --workers 100000", 2, "--workers"),
    _of_project("run model", 3, "no study is called 'model'"),
    _of_project("run texts.csv", 2, "texts.csv"),
    _of_project("check nope.yaml", 3, "nope.yaml: no such file"),
    _of_project("check texts.csv", 2, "texts.csv"),
    _of_project("check", 2, "Missing argument"),
    _of_project("schema studdy", 2, "did you mean 'study'"),
    _of_project("db", 2, "Usage"),
    _of_project("db downgrade", 2, "No such command 'downgrade'"),
    _of_project("devices host", 3, "`host` is this machine"),
    _of_project("devices raspberry-pi-4 --png nowhere/x.png", 4, "nowhere/x.png", "cannot be written"),
)
