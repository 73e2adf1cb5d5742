package trace

import (
	"context"
	"errors"
	"testing"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// TestOneTrace checks that a request, its steps, and its job in another process are one trace.
func TestOneTrace(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	spans := tracetest.NewInMemoryExporter()
	stop := install("test", sdk.WithSyncer(spans))
	defer stop()

	ctx, end := Request(t.Context(), "request-1", "POST /vm/v3")
	_, endStep := Step(ctx, "inside")
	endStep(nil)
	end(nil)
	ctx, endJob := Job(context.Background(), "request-1", "host_create")
	_, endStep = Step(ctx, "start")
	endStep(errors.New("no room"))
	endJob(nil)
	_, endOther := Job(context.Background(), "request-2", "host_create")
	endOther(nil)

	got := map[string]tracetest.SpanStub{}
	for _, s := range spans.GetSpans() {
		got[s.Name+" "+s.SpanContext.TraceID().String()] = s
	}
	first := traceID("request-1").String()
	for child, parent := range map[string]string{"inside": "POST /vm/v3", "host_create": "POST /vm/v3", "start": "host_create"} {
		c, p := got[child+" "+first], got[parent+" "+first]
		if !c.SpanContext.IsValid() || c.Parent.SpanID() != p.SpanContext.SpanID() {
			t.Errorf("%s is not part of %s: %v", child, parent, got)
		}
	}
	if len(got["start "+first].Events) != 1 {
		t.Error("the error of a step is not in its span")
	}
	if _, ok := got["host_create "+traceID("request-2").String()]; !ok {
		t.Error("another request has the same trace")
	}
}

func TestOff(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "")
	if On() || ServerOptions() != nil || DialOptions() != nil {
		t.Error("something is installed")
	}
	ctx, end := Request(t.Context(), "r", "x")
	end(nil)
	if ctx != t.Context() {
		t.Error("a request without traces has another context")
	}
	stop, err := Start(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	stop()
}
