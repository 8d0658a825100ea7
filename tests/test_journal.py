"""The journal's lines and files: round trips, torn tails, foreign files."""

import json
import resource
from math import inf, isnan, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynctune.events import CapacityChanged, Cause, Ended, Failed, Paused, Report, Started
from asynctune.exceptions import JournalError
from asynctune.journal import (
    FORMAT,
    JournalWriter,
    cut_torn_tail,
    decode_number,
    encode_number,
    event_line,
    header_line,
    launch_line,
    line_event,
    line_proposal,
    promise_line,
    proposal_line,
    read_header,
    read_lines,
    request_line,
    rung_line,
)
from asynctune.ledger import Launch, Promise, Seen
from asynctune.orders import Order
from asynctune.schedulers.base import CONTINUE, Decision, RungEntry
from asynctune.searchers.base import Fit, Proposal

quick = settings(derandomize=True, max_examples=60, deadline=None)
times = st.floats(0, 1e9)
numbers = st.integers(0, 2**40)
metrics = st.dictionaries(st.text(max_size=8), st.floats(), max_size=4)
events = st.one_of(
    st.builds(Started, times, numbers, numbers),
    st.builds(
        Report,
        *(times, numbers, numbers, numbers, numbers, metrics, times, st.text(max_size=9)),
        st.none() | times,
    ),
    st.builds(Paused, times, numbers, numbers, numbers, times),
    st.builds(Ended, times, numbers, numbers, times),
    st.builds(Failed, times, numbers, numbers, st.sampled_from(Cause), st.text(), numbers, times),
    st.builds(CapacityChanged, times, numbers, st.text()),
)
entries = st.builds(
    RungEntry, numbers, st.floats(allow_nan=False), numbers, st.one_of(st.none(), times)
)
decisions = st.one_of(
    st.none(),
    st.just(CONTINUE),
    st.builds(Decision, st.sampled_from(["continue", "pause", "stop", "complete"]), entries),
)


def written(line, path):
    """Return a line as it is read back from a journal that holds it alone."""
    path.unlink(missing_ok=True)
    writer = JournalWriter(path, durable=False)
    writer.append(header_line({}))
    writer.append(line)
    writer.close()
    json.loads(path.read_bytes().splitlines()[1])  # strict JSON for every other reader
    return next(read_lines(path))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("journal") / "journal.jsonl"


def same(a, b):
    """Whether two events are equal, NaN being equal to itself."""
    return repr(a) == repr(b)


@quick
@given(events, st.sampled_from(["running", "late", "repeated", "paused"]), decisions)
def test_events_come_back(file, event, status, decision):
    line = written(event_line(event, Seen(status, decision)), file)
    assert same(line_event(line), event)
    assert line == event_line(line_event(line), Seen(status, decision))
    if isinstance(event, Report):
        assert line["status"] == status
        assert line.get("decision") == (decision and decision.action)
        assert ("rung" in line) == (decision is not None and decision.why is not None)


def test_a_message_that_is_no_text_is_told_as_well_as_can_be(file):
    event = Failed(1.0, 0, 0, Cause.USER_ERROR, "b\udcffd", 0, 0.0)
    line = written(event_line(event, Seen("failed")), file)
    assert line["message"] == "b?d"


@quick
@given(numbers, numbers, entries, times)
def test_commands_come_back(file, trial, until, why, now):
    order = Order(trial, 3, 2, {"x": 1}, 5, until, None)
    line = written(launch_line(now, Launch(order, why)), file)
    assert line == {
        "t": now,
        "event": "start",
        "trial": trial,
        "attempt": 3,
        "slot": 2,
        "from": 5,
        "until": until,
        "rung": rung_line(why),
    }
    assert "rung" not in launch_line(now, Launch(order))
    promised = written(promise_line(now, Promise(trial, until, why)), file)
    assert promised == promise_line(now, Promise(trial, until, why))
    assert decode_number(promised["rung"]["value"]) == why.value
    assert line_event(line) is None


configs = st.dictionaries(
    st.text(min_size=1), st.one_of(st.integers(-(2**53), 2**53), st.floats(-9, 9), st.text())
)


@quick
@given(
    numbers,
    st.one_of(st.none(), configs),
    st.one_of(st.none(), st.builds(Fit, st.lists(st.floats()).map(tuple), numbers)),
    times,
)
def test_proposals_come_back(file, k, config, fit, cost):
    proposal = Proposal(k, config, fit, "model")
    line = written(proposal_line(2.5, proposal, cost), file)
    assert same(line_proposal(line), proposal)
    assert line.get("cost", 0.0) == cost


def test_requests():
    assert request_line(1.0, 2, 3, ahead=False) == {
        "t": 1.0,
        "event": "proposal_requested",
        "k": 2,
        "seen": 3,
    }
    assert request_line(1.0, 2, 3, ahead=True)["ahead"] is True


def test_numbers_that_are_not_finite_are_strings():
    assert [encode_number(x) for x in (nan, inf, -inf, 1.5)] == ["nan", "inf", "-inf", 1.5]
    assert isnan(decode_number("nan"))
    assert [decode_number(x) for x in ("inf", "-inf", 1.5)] == [inf, -inf, 1.5]
    with pytest.raises(KeyError):
        decode_number("infinity")


# Files.


def test_lines_of_an_instant_are_one_write(tmp_path):
    path = tmp_path / "j"
    writer = JournalWriter(path, durable=True)
    writer.append({"event": "header"})
    writer.append({"t": 1})
    assert path.read_bytes() == b""
    writer.commit()
    assert path.read_bytes() == b'{"event":"header"}\n{"t":1}\n'
    writer.append({"t": 2})
    writer.sync()
    assert path.read_bytes().endswith(b'{"t":2}\n')
    writer.append({"t": 3})
    writer.close()
    assert path.read_bytes().endswith(b'{"t":3}\n')


def test_a_journal_is_appended_to(tmp_path):
    path = tmp_path / "j"
    for i in range(3):
        writer = JournalWriter(path, durable=False)
        writer.append({"i": i})
        writer.close()
    assert path.read_bytes() == b'{"i":0}\n{"i":1}\n{"i":2}\n'


WHOLE = (
    b'{"event":"header","format":1,"inputs":{"a":1}}\n'
    b'{"t":1.0,"event":"idle","workers":{"quota":1}}\n'
    b'{"t":2.5,"event":"finished","reason":"max_cost"}\n'
)


@pytest.mark.parametrize("end", range(len(WHOLE) + 1))
def test_a_torn_tail_is_left_out_and_cut_off_at_every_byte(end, tmp_path):
    path = tmp_path / "j"
    path.write_bytes(WHOLE[:end])
    complete = WHOLE[:end].count(b"\n")
    assert read_header(path) == ({"a": 1} if complete else None)
    lines = [json.loads(line) for line in WHOLE.splitlines()]
    assert list(read_lines(path)) == lines[1:complete]
    cut_torn_tail(path)
    assert path.read_bytes() == b"".join(WHOLE.splitlines(keepends=True)[:complete])


def test_a_torn_tail_longer_than_a_block(tmp_path):
    path = tmp_path / "j"
    path.write_bytes(WHOLE + b"x" * 200_000)
    cut_torn_tail(path)
    assert path.read_bytes() == WHOLE
    path.write_bytes(b"x" * 200_000)
    cut_torn_tail(path)
    assert path.read_bytes() == b""


def test_no_journal_has_no_header(tmp_path):
    assert read_header(tmp_path / "j") is None


def test_a_newer_format_is_refused(tmp_path):
    path = tmp_path / "j"
    path.write_bytes(WHOLE.replace(b'"format":1', b'"format":%d' % (FORMAT + 1)))
    with pytest.raises(JournalError, match="must begin with a journal header of format 1; got"):
        read_header(path)


@pytest.mark.parametrize(
    "content", [b"\n", b"42\n", b"null\n", b"{}\n", b"PK\x03\x04", b'{"event":"idle"', WHOLE[48:]]
)
def test_a_foreign_file_is_refused(content, tmp_path):
    path = tmp_path / "j"
    path.write_bytes(content)
    with pytest.raises(JournalError, match="must begin with a journal header"):
        read_header(path)


def test_a_broken_line_that_is_not_the_last_is_named(tmp_path):
    path = tmp_path / "j"
    path.write_bytes(WHOLE.replace(b'"idle"', b'"idle'))
    with pytest.raises(JournalError, match=r"line 1 is no JSON: b'\{"):
        list(read_lines(path))


def test_lines_that_found_no_room_come_once_at_most(tmp_path):
    path = tmp_path / "journal.jsonl"
    writer = JournalWriter(path, durable=True)
    limit, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    writer.append({"t": 0.0, "event": "stop", "trial": 1, "attempt": 0})
    resource.setrlimit(resource.RLIMIT_FSIZE, (9, most))
    try:
        with pytest.raises(OSError, match="too large"):
            writer.commit()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    writer.close()  # when there is room again
    assert path.read_bytes().count(b"stop") == 1
