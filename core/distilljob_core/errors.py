"""Every error distilljob raises on purpose.

DistillJobError
├── SpecError                 the DistillJob file is wrong                               exit 80
│   └── FactoryError          a model or dataset factory failed or returned nonsense     exit 80
├── DataError                 the dataset is missing or damaged                          exit 81
├── Mismatch                  two parts of one job disagree                              exit 82
│   ├── ProtocolMismatch      the other side speaks another version
│   ├── FingerprintMismatch   this student's dataset differs from the group's
│   └── Conflict              a repeated block has other bytes
├── Fenced                    a newer attempt exists                                     exit 83
├── TeacherGone               that cycle's teacher is no longer kept                     exit 84
├── Diverged                  the loss is not finite                                     exit 85
├── DeviceError               no such device, or it lacks the precision                  exit 86
├── StateLost                 durable state is behind what was already seen              exit 87
├── BadFrame                  one block of soft labels is malformed                      exit 1
│   ├── ChecksumMismatch      its bytes were damaged on the way
│   └── RowsOutOfRange        its rows are not distributions, or not rows of this split
├── NotOpen                   wrong cycle, split or codec for the open round             exit 1
├── UnknownStudent            no student of that name, or not the caller's own           exit 1
└── Retryable                 the same call may succeed later                            exit 1
    ├── TeacherNotReady       the teacher is being rebuilt
    ├── Busy                  too many streams; come back later
    ├── ResultsFull           the results volume is full
    └── StorageFull           the state or checkpoint volume is full
"""

from typing import ClassVar

from distilljob_core.exit_codes import ExitCode


class DistillJobError(Exception):
    """Root of the tree; its text is written for the user and says what to change."""

    exit_code: ClassVar[ExitCode] = ExitCode.CRASH


class SpecError(DistillJobError):
    """The DistillJob is wrong."""

    exit_code = ExitCode.SPEC


class FactoryError(SpecError):
    """A model or dataset factory cannot be imported, failed, or returned something else than it must."""


class DataError(DistillJobError):
    """The dataset is missing or damaged; the text names the file."""

    exit_code = ExitCode.DATA


class Mismatch(DistillJobError):
    """Two parts of one job disagree about what the job is."""

    exit_code = ExitCode.MISMATCH


class ProtocolMismatch(Mismatch):
    """The other side speaks another protocol version."""


class FingerprintMismatch(Mismatch):
    """This student's dataset is not the group's dataset."""


class Conflict(Mismatch):
    """A block of rows came again with other bytes."""


class Fenced(DistillJobError):
    """A newer attempt of this student exists; this one must stop."""

    exit_code = ExitCode.FENCED


class TeacherGone(DistillJobError):
    """The teacher of that cycle is no longer kept."""

    exit_code = ExitCode.TEACHER_GONE


class Diverged(DistillJobError):
    """The loss or a gradient is not finite."""

    exit_code = ExitCode.DIVERGED


class DeviceError(DistillJobError):
    """The device does not exist or lacks the asked-for precision."""

    exit_code = ExitCode.DEVICE


class StateLost(DistillJobError):
    """The aggregator's durable state is behind what a student has already seen."""

    exit_code = ExitCode.STATE_LOST


class BadFrame(DistillJobError):
    """One block of soft labels is malformed."""


class ChecksumMismatch(BadFrame):
    """The bytes of a block, a message or a token were damaged on the way."""


class RowsOutOfRange(BadFrame):
    """The rows of a block are not probability distributions, or not rows of this split."""


class NotOpen(DistillJobError):
    """The call names a cycle, split or codec that is not the open round's."""


class UnknownStudent(DistillJobError):
    """No student of that name in this job, or the caller is another one."""


class Retryable(DistillJobError):
    """The same call may succeed later."""


class TeacherNotReady(Retryable):
    """The teacher is not stored yet, or is being rebuilt after a restart."""


class Busy(Retryable):
    """Too many streams at once; come back after a moment."""

    retry_after_seconds: ClassVar[float] = 0.5


class ResultsFull(Retryable):
    """The results volume is full."""


class StorageFull(Retryable):
    """The state or checkpoint volume is full."""
