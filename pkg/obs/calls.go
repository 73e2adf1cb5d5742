package obs

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

// Call counts one rpc that was answered. It is for rpc.Server.Observe. Of one process with several services each has its own.
func (o *Obs) Call(service string) func(method string, code codes.Code, took time.Duration) {
	type key struct {
		method string
		code   codes.Code
	}
	// Looking labels up costs more than counting; the pairs are few and stay.
	var known sync.Map
	return func(method string, code codes.Code, took time.Duration) {
		k := key{method, code}
		h, ok := known.Load(k)
		if !ok {
			h, _ = known.LoadOrStore(k, o.calls.WithLabelValues(service, strings.TrimPrefix(method, "/"), code.String()))
		}
		h.(prometheus.Observer).Observe(took.Seconds())
	}
}

// apis are the first parts of the paths that are told apart. Anything else that clients ask for is "other": what they
// send must not make series.
var apis = []string{"/vm/v3", "/auth/v4", "/auth/v3", "/ip/v3", "/auth/key", "/swagger", "/openapi.json"}

// Request counts one HTTP request that was answered.
func (o *Obs) Request(method, path string, status int, took time.Duration) {
	o.requests.WithLabelValues(verb(method), api(path), strconv.Itoa(status)).Observe(took.Seconds())
}

func api(path string) string {
	for _, a := range apis {
		if strings.HasPrefix(path, a) {
			return a
		}
	}
	return "other"
}

func verb(method string) string {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
		return method
	}
	return "other"
}
