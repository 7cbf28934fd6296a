"""Lines of metrics.jsonl, read back from whatever a run has left."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distilljob_core.measurements import (
    EpochMeasured,
    ExchangeMeasured,
    ReliabilityBin,
    ReliabilityMeasured,
    read_measurements,
    read_merged_measurements,
)
from distilljob_core.reference import metrics_reference

EPOCH = EpochMeasured(
    timestamp_seconds=1.5, cycle=1, stage="Distill", epoch=3, step=30, learning_rate=0.1, loss=2.0, cross_entropy=1.0,
    divergence=0.5, holdout_accuracy=0.75, test_accuracy=0.5, test_cross_entropy=1.25,
)  # fmt: skip
EXCHANGE = ExchangeMeasured(timestamp_seconds=2.0, cycle=1, split="train", seconds={"Waiting": 3.0})
RELIABILITY = ReliabilityMeasured(
    timestamp_seconds=3.0, predictor="ensemble", bins=[ReliabilityBin(count=2, confidence=0.9, accuracy=1.0)]
)
WRITTEN = [EPOCH, EXCHANGE, RELIABILITY]


def line(measurement, **changes):
    return json.dumps(measurement.model_dump(mode="json") | changes).encode() + b"\n"


def test_what_is_written_is_read_in_its_order():
    read = read_measurements(b"".join(map(line, WRITTEN)))
    assert (read.known, read.unreadable) == (WRITTEN, [])


@given(st.integers(min_value=0))
def test_a_file_that_is_cut_anywhere_loses_no_whole_line_and_makes_no_noise(cut):
    content = b"".join(map(line, WRITTEN))
    content = content[: cut % (len(content) + 1)]
    read = read_measurements(content)
    assert read.known == WRITTEN[: content.count(b"\n")]
    assert read.unreadable == []


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (b'{"kind": "epo\n', "Invalid JSON"),
        (b"\xff\n", "Invalid JSON"),
        (b"\n", "Invalid JSON"),
        (b"[3]\n", "should be"),
        (line(EPOCH, kind="dream"), "'dream' found using 'kind'"),
        (line(EPOCH, test_accuracy=1.5), "epoch.test_accuracy: Input should be less than or equal to 1"),
        (line(EPOCH, loss=float("nan")), "epoch.loss: Input should be a finite number"),
        (line(EPOCH, invented_later=1), "epoch.invented_later: Extra inputs are not permitted"),
    ],
)
def test_a_line_that_cannot_be_read_is_told_by_number_and_costs_no_other(damaged, reason):
    read = read_measurements(line(EPOCH) + damaged + line(EXCHANGE))
    assert read.known == [EPOCH, EXCHANGE]
    (unreadable,) = read.unreadable
    assert unreadable.line == 2
    assert reason in unreadable.reason


def test_nothing_is_read_of_an_empty_file():
    assert read_measurements(b"") == ([], [])
    assert read_merged_measurements(b"") == ({}, [])


def test_merged_lines_come_back_by_student_in_the_files_order():
    content = b"".join(line(one, student=name) for name in ("vgg", "cnn") for one in WRITTEN)
    read = read_merged_measurements(content)
    assert read.unreadable == []
    assert list(read.known.items()) == [("vgg", WRITTEN), ("cnn", WRITTEN)]


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (line(EPOCH), "names no student"),
        (line(EPOCH, student=7), "names no student"),
        (b"[3]\n", "names no student"),
        (b"\xff\n", "can't decode byte"),
        (b"{\n", "Expecting property name"),
        (line(EPOCH, student="cnn", kind="dream"), "'dream' found using 'kind'"),
    ],
)
def test_a_merged_line_that_cannot_be_read_is_told_by_number(damaged, reason):
    read = read_merged_measurements(damaged + line(EPOCH, student="cnn"))
    assert read.known == {"cnn": [EPOCH]}
    ((number, told),) = read.unreadable
    assert number == 1
    assert reason in told


def test_the_reference_names_every_field_of_every_kind_once():
    parts = re.split(r"^## (.+)$", metrics_reference(), flags=re.MULTILINE)
    tables = zip(parts[1::2], parts[2::2], strict=True)
    listed = {kind: re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE) for kind, table in tables}
    for measurement in WRITTEN:
        wanted = measurement.model_dump(exclude={"kind", "timestamp_seconds"})
        nested = [f"{name}[].{below}" for name, value in wanted.items() if name == "bins" for below in value[0]]
        assert sorted(listed[measurement.kind]) == sorted([*wanted, *nested])
    assert listed.keys() == {"epoch", "exchange", "cycle", "logits", "soft_label", "reliability", "ensemble"}
