from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Split(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SPLIT_UNSPECIFIED: _ClassVar[Split]
    SPLIT_TRAIN: _ClassVar[Split]
    SPLIT_EVALUATION: _ClassVar[Split]

class Phase(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PHASE_UNSPECIFIED: _ClassVar[Phase]
    PHASE_STARTING: _ClassVar[Phase]
    PHASE_INDEPENDENT: _ClassVar[Phase]
    PHASE_DISTILLING: _ClassVar[Phase]
    PHASE_EVALUATING: _ClassVar[Phase]
    PHASE_LABELING: _ClassVar[Phase]
    PHASE_UPLOADING: _ClassVar[Phase]
    PHASE_WAITING: _ClassVar[Phase]
    PHASE_FETCHING: _ClassVar[Phase]
    PHASE_PUBLISHING: _ClassVar[Phase]
    PHASE_CHECKPOINTING: _ClassVar[Phase]
    PHASE_PARKED: _ClassVar[Phase]
    PHASE_NEEDS_ROWS: _ClassVar[Phase]
    PHASE_FINISHED: _ClassVar[Phase]
    PHASE_DROPPED: _ClassVar[Phase]

class Directive(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DIRECTIVE_GO_ON: _ClassVar[Directive]
    DIRECTIVE_PARK: _ClassVar[Directive]
SPLIT_UNSPECIFIED: Split
SPLIT_TRAIN: Split
SPLIT_EVALUATION: Split
PHASE_UNSPECIFIED: Phase
PHASE_STARTING: Phase
PHASE_INDEPENDENT: Phase
PHASE_DISTILLING: Phase
PHASE_EVALUATING: Phase
PHASE_LABELING: Phase
PHASE_UPLOADING: Phase
PHASE_WAITING: Phase
PHASE_FETCHING: Phase
PHASE_PUBLISHING: Phase
PHASE_CHECKPOINTING: Phase
PHASE_PARKED: Phase
PHASE_NEEDS_ROWS: Phase
PHASE_FINISHED: Phase
PHASE_DROPPED: Phase
DIRECTIVE_GO_ON: Directive
DIRECTIVE_PARK: Directive

class Round(_message.Message):
    __slots__ = ("cycle", "split")
    CYCLE_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    cycle: int
    split: Split
    def __init__(self, cycle: _Optional[int] = ..., split: _Optional[_Union[Split, str]] = ...) -> None: ...

class SplitShape(_message.Message):
    __slots__ = ("split", "num_rows", "num_classes", "fingerprint")
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    NUM_ROWS_FIELD_NUMBER: _ClassVar[int]
    NUM_CLASSES_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    split: Split
    num_rows: int
    num_classes: int
    fingerprint: str
    def __init__(self, split: _Optional[_Union[Split, str]] = ..., num_rows: _Optional[int] = ..., num_classes: _Optional[int] = ..., fingerprint: _Optional[str] = ...) -> None: ...

class JoinRequest(_message.Message):
    __slots__ = ("protocol_version", "job_uid", "student", "attempt", "pod_uid", "splits", "closed_seen")
    PROTOCOL_VERSION_FIELD_NUMBER: _ClassVar[int]
    JOB_UID_FIELD_NUMBER: _ClassVar[int]
    STUDENT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    POD_UID_FIELD_NUMBER: _ClassVar[int]
    SPLITS_FIELD_NUMBER: _ClassVar[int]
    CLOSED_SEEN_FIELD_NUMBER: _ClassVar[int]
    protocol_version: int
    job_uid: str
    student: str
    attempt: int
    pod_uid: str
    splits: _containers.RepeatedCompositeFieldContainer[SplitShape]
    closed_seen: int
    def __init__(self, protocol_version: _Optional[int] = ..., job_uid: _Optional[str] = ..., student: _Optional[str] = ..., attempt: _Optional[int] = ..., pod_uid: _Optional[str] = ..., splits: _Optional[_Iterable[_Union[SplitShape, _Mapping]]] = ..., closed_seen: _Optional[int] = ...) -> None: ...

class JoinReply(_message.Message):
    __slots__ = ("token", "open", "heartbeat_interval_seconds", "students", "cycles", "codec", "temperature")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    STUDENTS_FIELD_NUMBER: _ClassVar[int]
    CYCLES_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    token: int
    open: Round
    heartbeat_interval_seconds: float
    students: _containers.RepeatedScalarFieldContainer[str]
    cycles: int
    codec: str
    temperature: float
    def __init__(self, token: _Optional[int] = ..., open: _Optional[_Union[Round, _Mapping]] = ..., heartbeat_interval_seconds: _Optional[float] = ..., students: _Optional[_Iterable[str]] = ..., cycles: _Optional[int] = ..., codec: _Optional[str] = ..., temperature: _Optional[float] = ...) -> None: ...

class HeartbeatRequest(_message.Message):
    __slots__ = ("token", "phase", "cycle", "epoch", "planned_epochs", "step", "progress", "samples_per_second", "loss", "accuracy", "teacher_gain")
    class AccuracyEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    CYCLE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PLANNED_EPOCHS_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    TEACHER_GAIN_FIELD_NUMBER: _ClassVar[int]
    token: int
    phase: Phase
    cycle: int
    epoch: float
    planned_epochs: int
    step: int
    progress: int
    samples_per_second: float
    loss: float
    accuracy: _containers.ScalarMap[str, float]
    teacher_gain: float
    def __init__(self, token: _Optional[int] = ..., phase: _Optional[_Union[Phase, str]] = ..., cycle: _Optional[int] = ..., epoch: _Optional[float] = ..., planned_epochs: _Optional[int] = ..., step: _Optional[int] = ..., progress: _Optional[int] = ..., samples_per_second: _Optional[float] = ..., loss: _Optional[float] = ..., accuracy: _Optional[_Mapping[str, float]] = ..., teacher_gain: _Optional[float] = ...) -> None: ...

class HeartbeatReply(_message.Message):
    __slots__ = ("directive",)
    DIRECTIVE_FIELD_NUMBER: _ClassVar[int]
    directive: Directive
    def __init__(self, directive: _Optional[_Union[Directive, str]] = ...) -> None: ...

class OpenRequest(_message.Message):
    __slots__ = ("token", "round", "weight", "holdout_size", "codec", "source_digest", "cross_entropy", "num_correct")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    HOLDOUT_SIZE_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    SOURCE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CROSS_ENTROPY_FIELD_NUMBER: _ClassVar[int]
    NUM_CORRECT_FIELD_NUMBER: _ClassVar[int]
    token: int
    round: Round
    weight: int
    holdout_size: int
    codec: str
    source_digest: str
    cross_entropy: float
    num_correct: int
    def __init__(self, token: _Optional[int] = ..., round: _Optional[_Union[Round, _Mapping]] = ..., weight: _Optional[int] = ..., holdout_size: _Optional[int] = ..., codec: _Optional[str] = ..., source_digest: _Optional[str] = ..., cross_entropy: _Optional[float] = ..., num_correct: _Optional[int] = ...) -> None: ...

class OpenReply(_message.Message):
    __slots__ = ("next_row", "closed")
    NEXT_ROW_FIELD_NUMBER: _ClassVar[int]
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    next_row: int
    closed: CloseRecord
    def __init__(self, next_row: _Optional[int] = ..., closed: _Optional[_Union[CloseRecord, _Mapping]] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("header", "rows")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    header: bytes
    rows: bytes
    def __init__(self, header: _Optional[bytes] = ..., rows: _Optional[bytes] = ...) -> None: ...

class UploadAck(_message.Message):
    __slots__ = ("durable_rows",)
    DURABLE_ROWS_FIELD_NUMBER: _ClassVar[int]
    durable_rows: int
    def __init__(self, durable_rows: _Optional[int] = ...) -> None: ...

class WaitRequest(_message.Message):
    __slots__ = ("token", "round")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    token: int
    round: Round
    def __init__(self, token: _Optional[int] = ..., round: _Optional[_Union[Round, _Mapping]] = ...) -> None: ...

class NeedRows(_message.Message):
    __slots__ = ("next_row",)
    NEXT_ROW_FIELD_NUMBER: _ClassVar[int]
    next_row: int
    def __init__(self, next_row: _Optional[int] = ...) -> None: ...

class NotYet(_message.Message):
    __slots__ = ("missing_students",)
    MISSING_STUDENTS_FIELD_NUMBER: _ClassVar[int]
    missing_students: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, missing_students: _Optional[_Iterable[str]] = ...) -> None: ...

class WaitReply(_message.Message):
    __slots__ = ("closed", "need_rows", "not_yet")
    CLOSED_FIELD_NUMBER: _ClassVar[int]
    NEED_ROWS_FIELD_NUMBER: _ClassVar[int]
    NOT_YET_FIELD_NUMBER: _ClassVar[int]
    closed: CloseRecord
    need_rows: NeedRows
    not_yet: NotYet
    def __init__(self, closed: _Optional[_Union[CloseRecord, _Mapping]] = ..., need_rows: _Optional[_Union[NeedRows, _Mapping]] = ..., not_yet: _Optional[_Union[NotYet, _Mapping]] = ...) -> None: ...

class Contribution(_message.Message):
    __slots__ = ("student", "weight", "holdout_size", "source_digest", "cross_entropy", "num_correct")
    STUDENT_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    HOLDOUT_SIZE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CROSS_ENTROPY_FIELD_NUMBER: _ClassVar[int]
    NUM_CORRECT_FIELD_NUMBER: _ClassVar[int]
    student: str
    weight: int
    holdout_size: int
    source_digest: str
    cross_entropy: float
    num_correct: int
    def __init__(self, student: _Optional[str] = ..., weight: _Optional[int] = ..., holdout_size: _Optional[int] = ..., source_digest: _Optional[str] = ..., cross_entropy: _Optional[float] = ..., num_correct: _Optional[int] = ...) -> None: ...

class CloseRecord(_message.Message):
    __slots__ = ("round", "contributions", "weight_sum", "uniform_fallback", "codec", "last", "missing_students")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_SUM_FIELD_NUMBER: _ClassVar[int]
    UNIFORM_FALLBACK_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    MISSING_STUDENTS_FIELD_NUMBER: _ClassVar[int]
    round: Round
    contributions: _containers.RepeatedCompositeFieldContainer[Contribution]
    weight_sum: int
    uniform_fallback: bool
    codec: str
    last: bool
    missing_students: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, round: _Optional[_Union[Round, _Mapping]] = ..., contributions: _Optional[_Iterable[_Union[Contribution, _Mapping]]] = ..., weight_sum: _Optional[int] = ..., uniform_fallback: _Optional[bool] = ..., codec: _Optional[str] = ..., last: _Optional[bool] = ..., missing_students: _Optional[_Iterable[str]] = ...) -> None: ...

class ResultRequest(_message.Message):
    __slots__ = ("token", "round", "first_row")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    FIRST_ROW_FIELD_NUMBER: _ClassVar[int]
    token: int
    round: Round
    first_row: int
    def __init__(self, token: _Optional[int] = ..., round: _Optional[_Union[Round, _Mapping]] = ..., first_row: _Optional[int] = ...) -> None: ...

class PublishHeader(_message.Message):
    __slots__ = ("token", "name", "size_bytes", "sha256")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    token: int
    name: str
    size_bytes: int
    sha256: str
    def __init__(self, token: _Optional[int] = ..., name: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class PublishRequest(_message.Message):
    __slots__ = ("header", "chunk")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: PublishHeader
    chunk: bytes
    def __init__(self, header: _Optional[_Union[PublishHeader, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class PublishReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FinishRequest(_message.Message):
    __slots__ = ("token", "summary_json")
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_JSON_FIELD_NUMBER: _ClassVar[int]
    token: int
    summary_json: str
    def __init__(self, token: _Optional[int] = ..., summary_json: _Optional[str] = ...) -> None: ...

class FinishReply(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
