// Package trace sends traces over OTLP if a collector is configured by OpenTelemetry's own variables
// (OTEL_EXPORTER_OTLP_ENDPOINT). Without a collector tracing is off.
//
// The id of a trace is derived from the request id, so that a job that a request made, and that another process carries out,
// is in the trace of that request without further communication.
package trace

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"os"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	otelcodes "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc"
)

const scope = "slipway.dev"

// On reports whether a collector is configured.
func On() bool {
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != ""
}

// Start begins to send the traces of this process in the name of service. It returns a function that sends the remaining
// traces. Both do nothing if no collector is configured.
func Start(ctx context.Context, service string) (stop func(), err error) {
	if !On() {
		return func() {}, nil
	}
	exporter, err := otlptracegrpc.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	return install(service, sdk.WithBatcher(exporter)), nil
}

// flushFor bounds the time for sending the remaining traces when the process stops.
const flushFor = 2 * time.Second

func install(service string, to sdk.TracerProviderOption) (stop func()) {
	p := sdk.NewTracerProvider(
		to, sdk.WithIDGenerator(ids{}),
		sdk.WithResource(resource.NewSchemaless(attribute.String("service.name", "slipway-"+service))),
	)
	otel.SetTracerProvider(p)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), flushFor)
		defer cancel()
		_ = p.Shutdown(ctx) // the collector is away: what is lost are traces
	}
}

// ServerOptions returns the options of a gRPC server that takes part in traces.
func ServerOptions() []grpc.ServerOption {
	if !On() {
		return nil
	}
	return []grpc.ServerOption{grpc.StatsHandler(otelgrpc.NewServerHandler())}
}

// DialOptions returns the options of a gRPC connection that takes part in traces.
func DialOptions() []grpc.DialOption {
	if !On() {
		return nil
	}
	return []grpc.DialOption{grpc.WithStatsHandler(otelgrpc.NewClientHandler())}
}

// Request begins the span of a client's request, the first of its trace. End it with its error.
func Request(ctx context.Context, requestID, name string) (context.Context, func(error)) {
	if !On() {
		return ctx, nothing
	}
	return begin(context.WithValue(ctx, requestKey{}, requestID), name, oteltrace.SpanKindServer)
}

// Job begins the span of a job that the request of this id made, in the trace of the request.
func Job(ctx context.Context, requestID, name string, attrs ...attribute.KeyValue) (context.Context, func(error)) {
	if !On() {
		return ctx, nothing
	}
	if requestID != "" {
		ctx = oteltrace.ContextWithRemoteSpanContext(ctx, oteltrace.NewSpanContext(oteltrace.SpanContextConfig{
			TraceID: traceID(requestID), SpanID: firstSpan(requestID), TraceFlags: oteltrace.FlagsSampled, Remote: true,
		}))
	}
	return begin(ctx, name, oteltrace.SpanKindConsumer, attrs...)
}

// Step begins a span within the span of ctx.
func Step(ctx context.Context, name string, attrs ...attribute.KeyValue) (context.Context, func(error)) {
	if !On() {
		return ctx, nothing
	}
	return begin(ctx, name, oteltrace.SpanKindInternal, attrs...)
}

func nothing(error) {}

func begin(ctx context.Context, name string, kind oteltrace.SpanKind, attrs ...attribute.KeyValue) (context.Context, func(error)) {
	ctx, span := otel.Tracer(scope).Start(ctx, name, oteltrace.WithSpanKind(kind), oteltrace.WithAttributes(attrs...))
	return ctx, func(err error) {
		if err != nil {
			span.RecordError(err)
			span.SetStatus(otelcodes.Error, "")
		}
		span.End()
	}
}

type requestKey struct{}

// ids derives the ids of a request's first span from the request id; all other ids are random.
type ids struct{}

// NewIDs implements sdk.IDGenerator.
func (ids) NewIDs(ctx context.Context) (oteltrace.TraceID, oteltrace.SpanID) {
	if id, ok := ctx.Value(requestKey{}).(string); ok && id != "" {
		return traceID(id), firstSpan(id)
	}
	var t oteltrace.TraceID
	_, _ = rand.Read(t[:]) // never fails
	return t, ids{}.NewSpanID(ctx, t)
}

// NewSpanID implements sdk.IDGenerator.
func (ids) NewSpanID(context.Context, oteltrace.TraceID) (s oteltrace.SpanID) {
	_, _ = rand.Read(s[:]) // never fails
	return s
}

func traceID(requestID string) (t oteltrace.TraceID) {
	sum := sha256.Sum256([]byte(requestID))
	copy(t[:], sum[:])
	return t
}

func firstSpan(requestID string) (s oteltrace.SpanID) {
	sum := sha256.Sum256([]byte(requestID))
	copy(s[:], sum[len(sum)-len(s):])
	return s
}
