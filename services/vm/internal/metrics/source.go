package metrics

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"slipway.dev/pkg/fault"
)

// answerTime bounds one query.
const answerTime = 5 * time.Second

// errNone is the error of an installation without a metrics server.
var errNone = fault.Unavailable.With("the installation has no metrics server")

// Source is the metrics server of the installation.
type Source struct {
	api v1.API // nil: none
	log *slog.Logger
}

// NewSource returns the metrics server at a URL, or none if the URL is empty. The URL may hold a user's name and password.
func NewSource(server string, log *slog.Logger) (Source, error) {
	if server == "" {
		return Source{}, nil
	}
	u, err := url.Parse(server)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return Source{}, fmt.Errorf("the URL of the metrics server does not begin with http:// or https:// and a host")
	}
	c, err := api.NewClient(api.Config{Address: server})
	if err != nil {
		return Source{}, fmt.Errorf("metrics server: %w", err)
	}
	return Source{v1.NewAPI(c), log}, nil
}

// A point is a value and its time, as clients read them.
type point [2]float64

// read returns the values of a query over the time.
func (s Source) read(ctx context.Context, query string, of span) ([]point, error) {
	if s.api == nil {
		return nil, errNone
	}
	ctx, stop := context.WithTimeout(ctx, answerTime)
	defer stop()
	if of.single {
		v, _, _, err := s.api.Query(ctx, query, of.until)
		if err != nil {
			return nil, s.failed(err)
		}
		return last(v, of.until), nil
	}
	v, _, _, err := s.api.QueryRange(ctx, query, v1.Range{Start: of.from, End: of.until, Step: of.step()})
	if err != nil {
		return nil, s.failed(err)
	}
	return series(v), nil
}

// failed hides what the server said from clients: its address, and the query.
func (s Source) failed(err error) error {
	s.log.Warn("the metrics server does not answer", "err", err)
	return fault.Unavailable.With("the metrics server does not answer")
}

// last returns the one value, 0 if there is none: a machine that was off for the whole time used nothing.
func last(v model.Value, at time.Time) []point {
	list, _ := v.(model.Vector)
	for _, s := range list {
		if x := float64(s.Value); !math.IsNaN(x) && !math.IsInf(x, 0) {
			return []point{{x, float64(at.Unix())}}
		}
	}
	return []point{{0, float64(at.Unix())}}
}

func series(v model.Value) []point {
	out := []point{}
	list, _ := v.(model.Matrix)
	for _, s := range list {
		for _, p := range s.Values {
			if x := float64(p.Value); !math.IsNaN(x) && !math.IsInf(x, 0) {
				out = append(out, point{x, float64(p.Timestamp.Unix())})
			}
		}
	}
	return out
}
