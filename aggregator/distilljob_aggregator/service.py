"""The calls: each decodes, delegates, encodes. Requests arrive as bytes, so that garbage is answered like any error."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from functools import wraps
from typing import Any, Final, TypeVar

import grpc
from grpc.aio import EOF, ServicerContext  # type: ignore[attr-defined]
from pydantic import ValidationError

from distilljob_aggregator.coordinator import Coordinator
from distilljob_aggregator.metrics import UNKNOWN_METHOD, AggregatorMetrics
from distilljob_aggregator.results_volume import ResultsVolume
from distilljob_aggregator.rounds import admission
from distilljob_aggregator.tls import check_identity
from distilljob_core.errors import Busy, DistillJobError, Mismatch
from distilljob_core.results import StudentSummary
from distilljob_core.rpc import aggregator_pb2 as pb
from distilljob_core.rpc import messages
from distilljob_core.rpc.methods import METHODS, TOKEN_METADATA, deserializer, serializer, token_from_metadata
from distilljob_core.rpc.status import STATUS_OF, error_metadata

SLOW_SECONDS: Final = 60.0
"""A reader or publisher that stands still for this long is sent away."""

Context = ServicerContext[Any, Any]
T = TypeVar("T")
Handler = Callable[["Service", Any, Context], Coroutine[Any, Any, T]]


def errors_as_status(handler: Handler[T]) -> Handler[T]:
    """Answer our own errors with their status and name, and note them. Bugs stay loud."""

    @wraps(handler)
    async def answered(service: "Service", request: Any, context: Context) -> T:
        try:
            return await handler(service, request, context)
        except DistillJobError as error:
            service.note(error)
            await context.abort(STATUS_OF[type(error)], str(error), error_metadata(error))

    return answered


def parse(name: str, request: bytes) -> Any:
    """Read a call's request; ChecksumMismatch when the bytes are no such message, or not as they were sent."""
    return deserializer(METHODS[name].request)(request)


class Service:
    """One job's calls."""

    def __init__(
        self, coordinator: Coordinator, results: ResultsVolume, metrics: AggregatorMetrics, *, is_secured: bool
    ) -> None:
        self.metrics = metrics
        self._coordinator = coordinator
        self._results = results
        self._is_secured = is_secured

    @errors_as_status
    async def Join(self, request: bytes, context: Context) -> pb.JoinReply:
        """Admit an attempt."""
        message = parse("Join", request)
        who, splits = messages.join_from_message(message)
        self._identify(context, who.student)
        return messages.joined_to_message(await self._coordinator.join(who, splits, message.closed_seen))

    @errors_as_status
    async def Heartbeat(self, request: bytes, context: Context) -> pb.HeartbeatReply:
        """Note where a student is."""
        message = parse("Heartbeat", request)
        student = self._caller(context, message.token)
        directive = await self._coordinator.heartbeat(student, messages.report_from_message(message))
        return pb.HeartbeatReply(directive=pb.Directive.Name(directive.value))

    @errors_as_status
    async def Open(self, request: bytes, context: Context) -> pb.OpenReply:
        """Answer an announcement of soft labels."""
        message = parse("Open", request)
        student = self._caller(context, message.token)
        return messages.open_to_message(
            await self._coordinator.open(student, message.token, messages.offer_from_message(message))
        )

    @errors_as_status
    async def Upload(self, _: Any, context: Context) -> None:
        """Take rows, acknowledge what is durable."""
        token = _token_of(context)
        student = self._caller(context, token)

        async def acknowledge(num_rows: int) -> None:
            await context.write(pb.UploadAck(durable_rows=num_rows))

        async with self._coordinator.upload(student, token) as stream:
            await stream.run(context.read, acknowledge)

    @errors_as_status
    async def Wait(self, request: bytes, context: Context) -> pb.WaitReply:
        """Tell how a round stands."""
        message = parse("Wait", request)
        student = self._caller(context, message.token)
        key = messages.round_from_message(message.round)
        return messages.wait_to_message(await self._coordinator.wait(student, message.token, key))

    @errors_as_status
    async def Result(self, request: bytes, context: Context) -> None:
        """Send a stored teacher."""
        message = parse("Result", request)
        student = self._caller(context, message.token)
        key = messages.round_from_message(message.round)
        async with aclosing(self._coordinator.teacher(student, message.token, key, message.first_row)) as frames:
            async for frame in frames:
                await _in_time(context.write(frame))

    @errors_as_status
    async def Publish(self, _: Any, context: Context) -> pb.PublishReply:
        """Take one file into the results volume."""
        header = parse("Publish", await _in_time(context.read())).header
        student = self._caller(context, header.token)
        in_pool = self._coordinator.in_pool
        incoming = await in_pool(self._results.incoming, student, header.name, header.size_bytes, header.sha256)
        try:
            async for chunk in _chunks(context):
                await in_pool(incoming.write, chunk)
                self._coordinator.live.progress(student)
            self._caller(context, header.token)
            await in_pool(incoming.finish)
            self._coordinator.wrote("Results")
        finally:
            await in_pool(incoming.close)
        return pb.PublishReply()

    @errors_as_status
    async def Finish(self, request: bytes, context: Context) -> pb.FinishReply:
        """Take a terminal record."""
        message = parse("Finish", request)
        student = self._caller(context, message.token)
        await self._coordinator.finish(student, message.token, _summary(student, message.summary_json))
        return pb.FinishReply()

    def note(self, error: DistillJobError) -> None:
        """Count a refusal; the round table tells of full volumes."""
        self.metrics.rejected.labels(type(error).__name__).inc()
        self._coordinator.note(error)

    def _caller(self, context: Context, token: int) -> str:
        """Name the student that a token speaks for, and see that it is the one at the other end."""
        student = admission.holder(self._coordinator.state, token)
        self._identify(context, student)
        return student

    def _identify(self, context: Context, student: str) -> None:
        if self._is_secured:
            check_identity(context.auth_context(), self._coordinator.state.plan.uid, student)


class Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Finds the handler of a call by its name; counts calls that do not exist."""

    def __init__(self, service: Service) -> None:
        self._metrics = service.metrics
        self._handlers = {
            method.path: getattr(grpc, f"{method.kind}_rpc_method_handler")(
                getattr(service, method.name), response_serializer=serializer(method.reply)
            )
            for method in METHODS.values()
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Give the handler, or None, which gRPC answers with UNIMPLEMENTED."""
        handler = self._handlers.get(handler_call_details.method)
        if handler is None:
            self._metrics.rejected.labels(UNKNOWN_METHOD).inc()
        return handler


async def _chunks(context: Context) -> AsyncIterator[bytes]:
    while (part := await _in_time(context.read())) is not EOF:
        yield parse("Publish", part).chunk


async def _in_time(step: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(SLOW_SECONDS):
            return await step
    except TimeoutError as error:
        raise Busy(f"the stream stood still for {SLOW_SECONDS:.0f} s; begin again") from error


def _token_of(context: Context) -> int:
    metadata = dict(context.invocation_metadata() or ())
    return token_from_metadata(str(metadata.get(TOKEN_METADATA, "")))


def _summary(student: str, text: str) -> StudentSummary:
    try:
        summary = StudentSummary.model_validate_json(text)
    except ValidationError as error:
        raise Mismatch(f"the terminal record of {student} is not valid: {error}") from error
    if summary.name != student:
        raise Mismatch(f"the terminal record of {student} names {summary.name}")
    return summary
