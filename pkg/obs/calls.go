package obs

import (
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

// Call returns a function for rpc.Server.Observe that counts the answered rpcs of a service.
func (o *Obs) Call(service string) func(method string, code codes.Code, took time.Duration) {
	type key struct {
		method string
		code   codes.Code
	}
	// A look-up of labels costs more than the counting; the pairs are few and are kept.
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

// Request counts one answered HTTP request by the group of its path. Groups must be few: a client must not be able to make
// series.
func (o *Obs) Request(method, group string, status int, took time.Duration) {
	o.requests.WithLabelValues(verb(method), group, strconv.Itoa(status)).Observe(took.Seconds())
}

func verb(method string) string {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
		return method
	}
	return "other"
}
