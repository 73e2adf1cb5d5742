// Package pool holds pools: which ranges of addresses they give, and to which clusters.
package pool

import (
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc/codes"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/ip/internal/message"
)

var errInUse = fault.New(codes.FailedPrecondition, "IN_USE", "the pool is in use")

const maxName = 255

// parseName checks the name of a pool.
func parseName(s string) (string, error) {
	s = strings.TrimSpace(s)
	switch {
	case s == "":
		return "", fault.Invalid.With("a value is required").On("name")
	case utf8.RuneCountInString(s) > maxName:
		return "", fault.Invalid.With("at most %d characters", maxName).On("name")
	}
	return s, nil
}

// check checks the account and the note of a request.
func check(r interface {
	GetNote() string
	GetAccount() int32
},
) error {
	if a := r.GetAccount(); a < 0 {
		return noAccount(a)
	}
	return message.CheckNote(r.GetNote())
}

func noAccount(id int32) error { return fault.Invalid.With("there is no account %d", id).On("account") }

// cluster is a cluster that takes addresses from a pool, and the interface of its hosts that the addresses are for.
type cluster struct {
	ID        int32  `json:"id"`
	Interface int32  `json:"interface"`
	Name      string `json:"name"`
}

// parseClusters checks the clusters of a request.
func parseClusters(clusters []*ippb.PoolCluster) ([]cluster, error) {
	var list []cluster
	seen := map[int32]bool{}
	for _, c := range clusters {
		switch {
		case c.GetId() <= 0 || c.GetInterface() < 0:
			return nil, fault.Invalid.With("cluster %d, interface %d", c.GetId(), c.GetInterface()).On("clusters")
		case seen[c.GetId()]:
			return nil, fault.Invalid.With("cluster %d is listed twice", c.GetId()).On("clusters")
		}
		seen[c.GetId()] = true
		list = append(list, cluster{ID: c.GetId(), Interface: c.GetInterface(), Name: c.GetName()})
	}
	return list, nil
}
