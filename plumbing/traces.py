"""Spans, for OpenTelemetry, where its environment says where to send them. Else none is made, and asking costs nothing.

Attributes are numbers and ids of ours: nothing that a caller sent, no name, no exception's text.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, ClassVar, Final, Literal

import structlog

_log = structlog.get_logger(__name__)
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
Kind = Literal["internal", "server", "producer", "consumer"]


class Span:
    """A span, or none."""

    def __init__(self, made: Any = None) -> None:
        self._made = made

    @property
    def context(self) -> Any:
        """What others link to; None: there is no span."""
        return None if self._made is None else self._made.get_span_context()

    @property
    def traceparent(self) -> str | None:
        """What a message carries on, as W3C Trace Context has it."""
        context = self.context
        if context is None:
            return None
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def set(self, name: str = "", **attributes: str | int) -> None:
        """Set attributes, each as ``bksi.<its name>``, and another name of the span."""
        if self._made is not None:
            self._made.set_attributes({f"bksi.{key}": value for key, value in attributes.items()})
            if name:
                self._made.update_name(name)

    def link(self, other: "Span") -> None:
        """Say that another span has to do with this one."""
        if self._made is not None:
            self._made.add_link(other.context)


_NONE: Final = nullcontext(Span())


class _Traces:
    tracer: ClassVar[Any] = None
    provider: ClassVar[Any] = None


def configure(service: str) -> None:
    """From now on this process, `service` to who reads them, sends its spans where OTEL_EXPORTER_OTLP_ENDPOINT says."""
    if not any(map(os.environ.get, _ENDPOINTS)):
        return
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - see above
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - same
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - same
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - same
    except ModuleNotFoundError:
        _log.warning("no traces: OTEL_EXPORTER_OTLP_ENDPOINT is set, and the extra is missing: bksi[tracing]")
        return
    _Traces.provider = TracerProvider(
        resource=Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", service)})
    )
    _Traces.provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _Traces.tracer = _Traces.provider.get_tracer("bksi")


def close() -> None:
    """Send what is left."""
    if _Traces.provider is not None:
        _Traces.provider.shutdown()


def headers(traceparent: str | None) -> dict[str, str] | None:
    """The headers of a message that carries a trace on; None where there is none."""
    return {"traceparent": traceparent} if traceparent else None


def span(
    name: str,
    *,
    parent: str | None = None,
    links: Sequence[Span] = (),
    kind: Kind = "internal",
) -> AbstractContextManager[Span]:
    """The block as a span of the current one's trace.

    Args:
        name: what is done.
        parent: a traceparent, from another process.
        links: spans of others for whom this is done; it is in a trace of its own then, and they are linked with it.
        kind: as OpenTelemetry has it.
    """
    return _NONE if _Traces.tracer is None else _made(name, parent, links, kind)


def current() -> Span:
    """The span that runs."""
    if _Traces.tracer is None:
        return _NONE.enter_result
    from opentelemetry import trace  # noqa: PLC0415 - it is loaded where there is a tracer

    return Span(trace.get_current_span())


@contextmanager
def _made(name: str, parent: str | None, links: Sequence[Span], kind: Kind) -> Iterator[Span]:
    from opentelemetry.context import Context  # noqa: PLC0415 - it is loaded where there is a tracer
    from opentelemetry.trace import Link, SpanKind, Status, StatusCode  # noqa: PLC0415 - same
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415 - same

    context = Context() if links else None
    if parent is not None:
        context = TraceContextTextMapPropagator().extract({"traceparent": parent}, Context())
    with _Traces.tracer.start_as_current_span(
        name,
        context,
        SpanKind[kind.upper()],
        links=[Link(other.context) for other in links],
        record_exception=False,
        set_status_on_exception=False,
    ) as made:
        whole = Span(made)
        for other in links:
            other.link(whole)
        try:
            yield whole
        except BaseException as error:
            made.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
