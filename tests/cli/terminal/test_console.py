"""What a workflow says, on a terminal and elsewhere."""

from __future__ import annotations

import io
import re

import pytest

from hilum.cli.terminal.console import LiveLine, PlainLines, listening


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def screen(text: str) -> list[str]:
    """Return the lines that a terminal shows after all redrawing."""
    return [line.rpartition("\r\x1b[K")[2] for line in text.split("\n")]


def test_terminal_gets_a_live_line_and_others_plain_lines():
    with listening(Terminal()) as live, listening(io.StringIO()) as plain:
        assert isinstance(live, LiveLine)
        assert isinstance(plain, PlainLines)


def test_live_line_shows_rate_and_time_left():
    clock, stream = Clock(), Terminal()
    line = LiveLine(stream, clock)
    line.progress("finetune", 0, 1000, "loss 0.7")
    clock.now = 10.0
    line.progress("finetune", 500, 1000, "loss 0.5")
    assert (
        screen(stream.getvalue())[-1]
        == "finetune     [##########..........] 500 of 1,000  50/s, 0:10 left  loss 0.5"
    )


def test_rate_counts_from_where_a_resumed_stage_begins():
    clock, stream = Clock(), Terminal()
    line = LiveLine(stream, clock)
    line.progress("pretrain", 900, 1000)
    clock.now = 5.0
    line.progress("pretrain", 910, 1000)
    assert "2/s, 0:45 left" in screen(stream.getvalue())[-1]


def test_rate_follows_a_change_of_pace():
    clock, stream = Clock(), Terminal()
    line = LiveLine(stream, clock)
    for second in range(100):
        clock.now = float(second)
        line.progress("prepare", 10 * min(second, 50) + max(second - 50, 0), 10_000)
    assert " 1/s" in screen(stream.getvalue())[-1]


def test_live_line_is_not_redrawn_more_than_ten_times_a_second():
    clock, stream = Clock(), Terminal()
    line = LiveLine(stream, clock)
    for step in range(1000):
        clock.now = step / 1000
        line.progress("pretrain", step, 1000)
    assert stream.getvalue().count("\r") <= 11


def test_notes_scroll_above_the_live_line():
    stream = Terminal()
    line = LiveLine(stream, Clock())
    line.progress("pretrain", 1, 10)
    line.note("the queue is shorter")
    assert screen(stream.getvalue()) == [
        "the queue is shorter",
        "pretrain     [##..................] 1 of 10",
    ]


def test_finished_stages_stay_and_interruption_leaves_no_half_line():
    stream = Terminal()

    def work() -> None:
        with listening(stream, Clock()) as line:
            line.progress("draw", 10, 10)
            line.progress("prepare", 3, 10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert [text[:12].strip() for text in screen(stream.getvalue())] == ["draw", "prepare", ""]


def test_live_line_fits_the_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    stream = Terminal()
    LiveLine(stream, Clock()).progress("pretrain", 1, 10, "x" * 100)
    assert len(screen(stream.getvalue())[-1]) == 39


def test_plain_lines_are_sparse():
    clock, stream = Clock(), io.StringIO()
    lines = PlainLines(stream, clock)
    for step in range(1, 101):
        clock.now = float(step)
        lines.progress("prepare", step, 100)
    said = stream.getvalue().splitlines()
    assert said[0] == "prepare: 1 of 100"
    assert said[-1] == "prepare: 100 of 100  1/s"
    assert said[1] == "prepare: 11 of 100  1/s, 1:29 left"  # the first estimate, and then each 30 s
    assert len(said) == 5
    assert "\x1b" not in stream.getvalue()


def test_plain_lines_show_a_first_estimate_as_soon_as_one_is_possible():
    clock, stream = Clock(), io.StringIO()
    lines = PlainLines(stream, clock)
    lines.progress("pretrain", 900, 1000)  # a resumed run
    clock.now = 12.0  # one slow step
    lines.progress("pretrain", 901, 1000, "loss 2.1")
    clock.now = 24.0
    lines.progress("pretrain", 902, 1000)
    assert stream.getvalue().splitlines() == [
        "pretrain: 900 of 1,000",
        "pretrain: 901 of 1,000  0.083/s, 19:48 left  loss 2.1",
    ]


def test_a_slow_first_unit_does_not_count_once_there_is_another():
    clock, stream = Clock(), io.StringIO()
    lines = PlainLines(stream, clock)
    for done, now in enumerate((0.0, 9.0, 9.5, 10.0)):
        clock.now = now
        lines.progress("pretrain", done, 100)
    assert stream.getvalue().splitlines()[-1] == "pretrain: 3 of 100  2/s, 0:48 left"


@pytest.mark.parametrize("kind", [LiveLine, PlainLines])
def test_the_time_left_is_an_upper_bound_where_a_stage_may_stop_early(kind):
    clock, stream = Clock(), Terminal()
    lines = kind(stream, clock)
    lines.may_stop_early("finetune")
    for stage in ("embed", "finetune"):
        lines.progress(stage, 0, 100)
        clock.now += 10.0
        lines.progress(stage, 50, 100)
    assert stream.getvalue().count("5/s, 0:10 left") == 1
    assert stream.getvalue().count("5/s, at most 0:10 left") == 1


@pytest.mark.parametrize("kind", [LiveLine, PlainLines])
def test_a_device_is_named_once_until_it_changes(kind):
    stream = Terminal()
    lines = kind(stream, Clock())
    for name in ("cpu, 2 threads", "cpu, 2 threads", "NVIDIA H200", "cpu, 2 threads"):
        lines.device(name)
    assert [line for line in screen(stream.getvalue()) if line] == [
        "device: cpu, 2 threads",
        "device: NVIDIA H200",
        "device: cpu, 2 threads",
    ]


def test_a_table_shows_its_first_estimate_at_once():
    clock, stream = Clock(), io.StringIO()
    plain = PlainLines(stream, clock)
    for second in range(31):
        clock.now = float(second)
        plain.table([f"0 done{', about 3 min left' if second >= 7 else ''}"])
    assert stream.getvalue().splitlines() == ["0 done", "0 done, about 3 min left"]
    clock.now = 37.0
    plain.table(["0 done, about 2 min left"])
    assert stream.getvalue().splitlines()[-1] == "0 done, about 2 min left"


def test_plain_lines_name_each_stage_once_at_its_end():
    stream = io.StringIO()
    lines = PlainLines(stream, Clock())
    for stage in ("a", "b"):
        for done in (5, 10, 10):
            lines.progress(stage, done, 10)
    assert stream.getvalue().splitlines() == [
        "a: 5 of 10",
        "a: 10 of 10",
        "b: 5 of 10",
        "b: 10 of 10",
    ]


def test_stage_without_units_does_not_divide_by_nothing():
    stream = Terminal()
    LiveLine(stream, Clock()).progress("prepare", 0, 0)
    assert "0 of 0" in stream.getvalue()


def table_screen(text: str) -> list[str]:
    """Return the lines that a terminal shows after all that a table moved up over and cleared."""
    lines, place = [""], 0
    for part in re.split(r"(\n|\r\x1b\[\d+A\x1b\[J|\r\x1b\[J|\r\x1b\[K)", text):
        if part == "\n":
            place += 1
            lines.append("")
        elif part.startswith("\r"):
            up = re.search(r"(\d+)A", part)
            place -= int(up.group(1)) if up else 0
            lines = [*lines[:place], ""]
        else:
            lines[place] += part
    return lines


def test_a_table_is_drawn_in_place_below_its_notes():
    clock, stream = Clock(), Terminal()
    live = LiveLine(stream, clock)
    live.table(["0 done, 2 running", "  a  1 of 9", "  b  2 of 9"])
    live.note("c is done")
    clock.now = 1.0
    live.table(["1 done, 1 running", "  b  3 of 9"])
    assert table_screen(stream.getvalue()) == ["c is done", "1 done, 1 running", "  b  3 of 9"]
    live.table(())
    live.note("the end")
    assert table_screen(stream.getvalue())[2:4] == ["  b  3 of 9", "the end"]


def test_a_table_is_not_drawn_more_often_than_eyes_need():
    clock, stream = Clock(), Terminal()
    live = LiveLine(stream, clock)
    for number in range(100):
        live.table([f"{number} done"])
    assert stream.getvalue().count("done") == 1


def test_elsewhere_a_table_is_one_line_now_and_then():
    clock, stream = Clock(), io.StringIO()
    plain = PlainLines(stream, clock)
    for second in range(100, 165):
        clock.now = float(second)
        plain.table([f"{second} done", "  a   1 of 9"])
    plain.table(())
    assert stream.getvalue().splitlines() == [
        "100 done; a 1 of 9",
        "130 done; a 1 of 9",
        "160 done; a 1 of 9",
    ]
