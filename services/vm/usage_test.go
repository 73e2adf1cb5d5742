package vm_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// TestHostMetrics: an owner reads what the host used, by the host's UUID; for another account the host is not there.
func TestHostMetrics(t *testing.T) {
	t.Parallel()
	is := func(err error, code codes.Code) bool {
		f, ok := fault.From(err)
		return ok && f.Code == code
	}
	asked := make(chan string, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.FormValue("query")
		fmt.Fprint(w, `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{},"values":[[1767225600,"2.5"]]}]}}`)
	}))
	t.Cleanup(srv.Close)
	w := newWorld(t)
	id := w.create(w.as(4, identity.RoleUser), wish("web")).GetId()
	ask := func(account int32, target string) (string, error) {
		b, err := vmpb.NewMetricServiceClient(w.conn).GetHostMetrics(w.as(account, identity.RoleUser), &vmpb.GetHostMetricsRequest{Id: id, Target: target})
		return string(b.GetData()), err
	}
	if _, err := ask(4, "cpu_load"); !is(err, codes.Unavailable) || !strings.Contains(err.Error(), "no metrics server") {
		t.Errorf("without a server: %v", err)
	}
	w.stop()
	w.metrics = srv.URL
	w.start()
	const want = `[{"target":"cpu_load","datapoints":[[2.5,1767225600]]},{"target":"net_rx","datapoints":[[2.5,1767225600]]}]`
	if text, err := ask(4, "cpu_load,net_rx"); err != nil || text != want {
		t.Errorf("%s, %v", text, err)
	}
	if q := <-asked; !strings.Contains(q, `{machine="`) {
		t.Errorf("asked %s", q)
	}
	if _, err := ask(5, "cpu_load"); !is(err, codes.NotFound) {
		t.Errorf("another account: %v", err)
	}
	if _, err := ask(4, "up"); !is(err, codes.InvalidArgument) {
		t.Errorf("another metric: %v", err)
	}
}
