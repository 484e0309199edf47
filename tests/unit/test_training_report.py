"""The page about a run: its first line, its figures, and that nothing on it comes from or leads anywhere else."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from tests.unit.training_runs import samples, write_run

from datagen.training.intervals import mcnemar, two_proportions
from datagen.training.recording import EvaluationRecord, MetricLine, Recorder
from datagen.training.report import (
    Arm,
    Measured,
    Report,
    choose_samples,
    compare,
    comparisons,
    headline,
    latest,
    read_arms,
    write_report,
)
from datagen.training.report.curves import THEME, Ruler, draw_curves, tick

CAVEAT = "The start was weakened on purpose: its demonstrations stop one hop early."
SETTINGS = {"training": {"seed": 7, "rl": {"algorithm": "rapo", "overrides": {}}, "betas": [0.9, 0.98], "kl": None}}


class Page(HTMLParser):
    """Visible text in order, tags with their attributes, and whether every element was closed."""

    VOID = frozenset({"meta", "br", "hr", "img", "link", "rect", "line", "use", "path"})

    def __init__(self, html: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip() and not {"style", "title"} & set(self.open):
            self.texts.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        return " ".join(self.texts)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two arms from one start, and the report that sets them side by side."""
    root = tmp_path_factory.mktemp("runs")
    arms = {
        "RAPO": write_run(root / "rapo", sft=60, rl=80, questions=200),
        "more SFT": write_run(root / "more", sft=60, rl=80, questions=200, gain=0.05, seed=1),
    }
    write_report(
        arms["RAPO"],
        Report(
            title="RAPO on a world never seen",
            weakened_start=CAVEAT,
            arms=arms,
            settings=SETTINGS,
            lineage={"snapshot": "sn1-5f0c2a"},
            samples=samples(),
            notes=("Figures are made up.",),
        ),
    )
    return root / "rapo"


@pytest.fixture(scope="module")
def page(folder) -> Page:
    return Page((folder / "report.html").read_text())


def test_the_first_line_is_the_result_and_beside_it_the_caveat(page, folder):
    assert page.texts[0].startswith("rl (RAPO) answers ")
    assert "p\u00a0&lt;\u00a00.001" in (folder / "report.html").read_text()  # a figure is not broken over lines
    assert page.texts[1] == CAVEAT
    first = next(tag for tag, _ in page.tags if tag in ("h1", "h2"))
    assert first == "h1"


def test_the_page_is_whole_and_needs_no_network(page):
    assert page.open == []
    assert [tag for tag, _ in page.tags if tag in ("script", "link", "img", "iframe")] == []
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")


def test_the_style_asks_for_nothing_from_elsewhere(folder):
    html = (folder / "report.html").read_text()

    assert "url(http" not in html
    assert "@import" not in html
    assert set(re.findall(r"https?://[^\s\"'<)]+", html)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
        "https://ledger.example/orrin",  # what an attempt opened, as text
    }


def test_what_questions_answers_and_pages_say_is_text(page, folder):
    assert "<script>alert(1)</script> Lake Orrin" in page.text
    assert "<script>" not in (folder / "report.html").read_text()


def test_every_policy_stands_there_in_every_mode_with_its_interval(page):
    text = page.text

    for mode in ("greedy", "T = 1", "no search"):
        assert mode in text
    assert re.search(r"rl \(RAPO\) rl, update 80 \d+ of 199 [\d.]+ % [\d.]+ to [\d.]+", text)
    assert text.count("McNemar, exact") == 6  # two policies to compare with, in three modes
    assert "2 hops" in text


def test_the_common_start_of_two_arms_stands_there_once(page):
    assert page.text.count("sft rl, update 0") == 2 * 3  # in three modes, of the table and of its split by kind
    assert "sft (RAPO)" not in page.text


def test_arms_stand_side_by_side_with_speed_and_waiting(page):
    text = page.text

    assert re.search(r"updates 140 140 right on training questions, last [\d.]+ [\d.]+", text)
    assert "tokens sampled 1,232,000 1,232,000" in text
    assert re.search(r"waiting for attempts 3[01]\.\d % 3[01]\.\d %", text)


def test_alarms_settings_lineage_and_notes_are_on_the_page(page):
    text = page.text

    assert "RAPO. Update 71 of rl: the gradient's norm is" in text
    assert "training.rl.algorithm rapo" in text
    assert "training.betas 0.9, 0.98" in text
    assert "training.kl none" in text
    assert "snapshot sn1-5f0c2a" in text
    assert "Figures are made up." in text


def test_right_and_wrong_attempts_can_be_read(page):
    verdicts = [text for text in page.texts if text in ("right", "wrong") and text]

    assert page.text.count("Name the lake that receives") == 5
    assert verdicts.count("wrong") == 2
    assert "That was no call and no answer." in page.text


def test_curves_take_the_colours_of_the_page_and_come_as_png_too(folder):
    html = (folder / "report.html").read_text()
    body = html[html.index("<body>") :]

    assert not re.search("|".join(THEME), body)
    assert body.count('role="img"') == len(list((folder / "curves").glob("*.png")))
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (folder / "curves").glob("*.png"))
    assert (folder / "curves" / "success-on-held-out-world.png").exists()


def test_ids_of_curves_are_unique_on_the_page(page):
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]

    assert len(ids) == len(set(ids))


def test_equal_figures_give_equal_bytes(folder):
    arms = [Arm("RAPO", (MetricLine("rl", 1, {"reward": 0.5}), MetricLine("rl", 2, {"reward": 0.6})), (), ())]

    first, second = draw_curves(arms), draw_curves(arms)

    assert first == second
    assert [curve.title for curve in first] == ["Reward and success on training questions"]


def updates(name: str, count: int) -> Arm:
    return Arm(name, tuple(MetricLine("rl", step, {"reward": 0.5}) for step in range(1, count + 1)), (), ())


def test_runs_of_as_many_updates_go_over_updates_and_unlike_ones_each_over_its_own():
    alike, unlike = [updates("RAPO", 40), updates("GRPO", 50)], [updates("RAPO", 50), updates("imitation", 1000)]

    assert Ruler.of(alike).steps == (1, 1)
    assert Ruler.of(unlike).steps == (2, 0.1)
    assert Ruler.of([updates("none", 0), updates("RAPO", 50)]).steps == (1, 1)
    assert all(">updates<" in curve.svg for curve in draw_curves(alike))
    assert all("own updates, %<" in curve.svg for curve in draw_curves(unlike))


def test_a_run_that_went_on_from_another_begins_where_that_ended(tmp_path):
    for name, right in (("start", 2), ("RAPO", 7)):
        with Recorder(tmp_path / name) as recorder:
            recorder.evaluation(EvaluationRecord(name, "five hops", "greedy", 10, right, phase="sft", step=5))
    folders = {name: tmp_path / name for name in ("RAPO", "start")}

    arms = read_arms(tmp_path / "RAPO", Report(arms=folders, start="start"))

    assert [[r.right for r in arm.begun] for arm in arms] == [[2], []]
    assert [arm.begun for arm in read_arms(tmp_path / "RAPO", Report(arms=folders))] == [(), ()]
    begun, alone = (draw_curves([replace(arms[0], begun=known)])[0].svg for known in (arms[0].begun, ()))
    assert begun != alone


def test_a_run_that_recorded_nothing_gets_a_page_that_says_so(tmp_path):
    text = Page(write_report(tmp_path).read_text()).text

    assert text.startswith("Nothing was measured on held-out questions.")
    assert "No update was recorded." in text
    assert re.search(r"None of the \d+ rules fired\.", text)


def test_strange_figures_and_names_do_not_break_the_page(tmp_path):
    with Recorder(tmp_path, tensorboard=False) as recorder:
        for step, loss in enumerate((1.0, float("nan"), float("inf"), 0.5), start=1):
            recorder.record(
                "sft $x_1$ <b>", step, {"loss": loss, "my $metric$ <i>": 2.0, "grad_norm": 0.0, "kl_ref": None}
            )
        recorder.evaluation(EvaluationRecord("a&b", "set <1> $y$", "other", 0, 0, phase="sft $x_1$ <b>", step=4))
        recorder.evaluation(EvaluationRecord("a&b", "set <1> $y$", "greedy", 3, 3, phase="sft $x_1$ <b>", step=4))

    page = Page(write_report(tmp_path).read_text())

    assert page.open == []
    assert "my $metric$ <i>" in page.text
    assert page.texts[0].startswith("a&b answers 100.0 % of 3 questions of set <1> $y$ (greedy")


# --- comparisons ----------------------------------------------------------------------------------------------------


def record(
    policy: str, right: set[int], *, n: int = 40, mode: str = "greedy", prefix: str = "q", step: int = 0
) -> EvaluationRecord:
    questions = {f"{prefix}{number}": float(number in right) for number in range(n)}
    return EvaluationRecord(policy, "test", mode, n, len(right), questions, phase=policy, step=step)


def test_policies_on_the_same_questions_are_compared_question_by_question():
    first, second = record("a", set(range(10))), record("b", set(range(8, 25)))

    n, test, p, difference = compare(first, second)

    assert (n, test, p) == (40, "McNemar, exact", mcnemar(8, 15))
    assert difference.value == pytest.approx(7 / 40)
    assert difference.low < 7 / 40 < difference.high


def test_only_questions_that_both_have_a_grade_for_are_compared():
    whole, part = record("a", {1, 2}), record("b", {1, 2, 3}, n=30)

    assert compare(whole, part)[0] == 30


def test_policies_on_other_questions_are_compared_by_their_shares():
    first, second = record("a", set(range(10))), record("b", set(range(25)), prefix="other")

    n, test, p, difference = compare(first, second)

    assert (n, test, p) == (40, "two proportions", two_proportions(10, 40, 25, 40))
    assert difference.value == pytest.approx(15 / 40)
    assert -1 <= difference.low < difference.value < difference.high <= 1


def test_several_attempts_at_a_question_are_compared_by_their_shares():
    shares = {f"q{n}": n / 20 for n in range(20)}
    first = EvaluationRecord("a", "test", "sampled", 80, 38, shares, attempts=4)
    second = EvaluationRecord(
        "b", "test", "sampled", 80, 60, {q: min(1.0, s + 0.25) for q, s in shares.items()}, attempts=4
    )

    n, test, p, _ = compare(first, second)

    assert (n, test) == (20, "paired t")
    assert p < 1e-6


def test_nothing_is_said_about_a_policy_that_was_not_graded():
    assert compare(record("a", {1}), EvaluationRecord("b", "test", "greedy", 0, 0)) is None


def test_of_each_policy_the_newest_measurement_counts():
    arm = Arm("", (), (record("sft", {1}), record("rl", {1, 2}, step=10), record("rl", {1, 2, 3}, step=20)), ())

    assert [(one.name, one.record.right) for one in latest([arm])] == [("sft", 1), ("rl", 3)]


def test_the_result_is_compared_with_what_was_there_before_and_with_other_arms():
    start, result, control = record("sft", set(range(5))), record("rl", set(range(30))), record("sft+", set(range(6)))
    measured = latest([Arm("RL", (), (start, result), ()), Arm("SFT", (), (start, control), ())])

    found = [(one.second.name, one.first.name, one.p < 0.001) for one in comparisons(measured)]

    assert found == [("rl (RL)", "sft", True), ("rl (RL)", "sft+ (SFT)", True)]


def test_measurements_that_only_look_alike_are_not_taken_for_one():
    none_1 = EvaluationRecord("rl", "test", "no_search", 40, 0, phase="rl", step=5, seconds=1.5)
    none_2 = EvaluationRecord("rl", "test", "no_search", 40, 0, phase="rl", step=5, seconds=1.7)

    found = latest([Arm("A", (), (none_1,), ()), Arm("B", (), (none_2,), ())])

    assert [one.name for one in found] == ["rl (A)", "rl (B)"]


def test_the_headline_names_figures_and_how_sure_they_are():
    measured = [Measured("", record("sft", set(range(5)))), Measured("", record("rl", set(range(30))))]

    assert headline(measured) == (
        "rl answers 75.0 % of 40 questions of test (greedy, 95 % interval 59.8 % to 85.8 %); sft 12.5 % (p < 0.001)."
    )


def test_samples_are_right_and_wrong_ones():
    made = samples()

    assert [one.correct for one in choose_samples(made)] == [True, True, True, False, False]
    assert [one.correct for one in choose_samples(made[::2])] == [True] * 3
    assert [one.correct for one in choose_samples(made[1::2])] == [False] * 3
    assert choose_samples([]) == []


@pytest.mark.parametrize(
    ("value", "text"), [(0.25, "0.25"), (-1.5, "−1.5"), (40_000, "40 k"), (2.5e6, "2.5 M"), (1e-5, "1e−05"), (0.0, "0")]
)
def test_ticks_are_short(value, text):
    assert tick(value) == text
