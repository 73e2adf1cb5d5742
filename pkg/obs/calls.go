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

// Request counts one HTTP request that was answered, by the group of its path. Groups are few: what clients send must not make
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
