package metrics

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/api/httpbody"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/listing"
)

// Server answers vm.v3.MetricService.
type Server struct {
	vmpb.UnimplementedMetricServiceServer
	db     *unit.DB
	source Source
}

// NewServer returns a Server.
func NewServer(db *unit.DB, source Source) *Server { return &Server{db: db, source: source} }

// answer is the answer about one target.
type answer struct {
	Target     string  `json:"target"`
	Datapoints []point `json:"datapoints"`
}

// GetHostMetrics returns what a host used.
func (s *Server) GetHostMetrics(ctx context.Context, r *vmpb.GetHostMetricsRequest) (*httpbody.HttpBody, error) {
	names := strings.Split(cmp.Or(r.GetTarget(), "cpu_load"), ",")
	list, err := choose(names)
	if err != nil {
		return nil, err
	}
	of, err := ask{r.GetFrom(), r.GetUntil(), r.GetInterval(), r.GetOutput()}.span(time.Now().UTC())
	if err != nil {
		return nil, err
	}
	id, err := machine(ctx, s.db, r.GetId(), listing.Owner(ctx))
	if err != nil {
		return nil, err
	}
	out := make([]answer, len(list))
	for i, t := range list {
		out[i].Target = names[i]
		if out[i].Datapoints, err = s.source.read(ctx, t.query(id, of), of); err != nil {
			return nil, err
		}
	}
	data, err := json.Marshal(out)
	return &httpbody.HttpBody{ContentType: "application/json", Data: data}, err
}
