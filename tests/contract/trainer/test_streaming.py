"""Samples that worker processes read, in the real trainer."""

import os
import select
import signal
from pathlib import Path

import numpy as np
import pytest
from attempts import LIMIT_SECONDS, Job, said
from PIL import Image

from distilljob_core.exit_codes import ExitCode

STREAMED = {
    "dataset": {"name": "image_folder", "options": {"train_samples": 200, "size": 8, "stream": True}},
    "training": {"dataLoaderWorkers": 2},
    "students": [{"name": "net", "gpus": 0, "model": {"name": "vgg_mini"}}],
}


@pytest.fixture
def streaming(job):
    """Make a job whose samples are read by two worker processes: noise with a hint of the class."""

    def make(name: str) -> Job:
        made, rng = job(name, **STREAMED), np.random.default_rng(0)
        for split, count in (("train", 100), ("test", 20)):
            for label, kind in enumerate(("ant", "bee")):
                folder = made.folder / "data" / split / kind
                folder.mkdir(parents=True)
                for index in range(count):
                    pixels = rng.integers(0, 200, (8, 8, 3), dtype=np.uint8)
                    pixels[..., label] += 50
                    Image.fromarray(pixels).save(folder / f"{index:03}.png")
        return made

    return make


def descendants(pid: int) -> list[int]:
    """All processes below this one: the fork server, its workers, multiprocessing's tracker."""
    children = [
        int(word) for task in Path(f"/proc/{pid}/task").iterdir() for word in (task / "children").read_text().split()
    ]
    return [one for child in children for one in (child, *descendants(child))]


def test_workers_end_with_their_student_however_it_dies_and_its_resume_leaves_no_trace(streaming):
    whole, killed = streaming("whole"), streaming("killed")
    whole.run()
    for number in (signal.SIGKILL, signal.SIGTERM):
        process = killed.start("net")
        process.until(said("epoch"))
        below = [os.pidfd_open(pid) for pid in descendants(process.pid)]
        assert len(below) >= 3, "a fork server and two workers"
        process.send(number)
        assert process.exit_code() == (ExitCode.TERMINATED if number == signal.SIGTERM else -number)
        for descriptor in below:
            assert select.select([descriptor], [], [], LIMIT_SECONDS)[0], "it lives on"
            os.close(descriptor)
    last = killed.start("net")
    assert last.until(said("joined"))["resumed_at_step"] > 0
    assert last.exit_code() == ExitCode.DONE
    killed.wait_until_complete()
    assert killed.weights() == whole.weights()


def test_an_image_damaged_while_a_student_trains_ends_it_with_the_files_name(streaming):
    broken = streaming("broken")
    process = broken.start("net")
    process.until(said("epoch"))
    image = broken.folder / "data/train/bee/050.png"
    image.write_bytes(image.read_bytes()[:60])
    assert process.exit_code() == ExitCode.DATA
    assert f"DataError: {image}: not a readable image" in process.errors.read_text()
