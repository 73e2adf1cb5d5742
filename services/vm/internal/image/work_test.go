package image

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc"

	nodepb "slipway.dev/proto/node/v1"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/pg/pgtest"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/schema"
)

// agents are the agents of all nodes.
type agents struct {
	nodepb.NodeServiceClient
	asked   []string // their endpoints
	refuses string   // the endpoint of one that refuses
	cut     bool     // there is no way to any
}

// at is the agent at an endpoint.
type at struct {
	*agents
	endpoint string
}

func (a at) ImportTemplate(_ context.Context, r *nodepb.ImportTemplateRequest, _ ...grpc.CallOption) (*nodepb.ImportTemplateResponse, error) {
	a.asked = append(a.asked, a.endpoint)
	if a.endpoint == a.refuses {
		return nil, fault.Internal
	}
	return &nodepb.ImportTemplateResponse{Template: &nodepb.Template{Name: r.GetName(), Sha256: "s"}}, nil
}

// TestImport: the nodes that give signs of life import an image, one after the other, until one refuses. An import that no node did
// has failed.
func TestImport(t *testing.T) {
	t.Parallel()
	pool := pgtest.New(t, schema.Lines...)
	exec := func(sql string) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`INSERT INTO cluster (name, domain_template) VALUES ('c', '')`)
	exec(`INSERT INTO node (cluster_id, uuid, name, endpoint, cpu_number, cpu_model, ram_mib, storage_mib, storage_free_mib, hypervisor,
		accel, kernel_version, os_version, qemu_version, libvirt_version, boot_id, bridge, seen_at)
		SELECT 1, gen_random_uuid(), n, n, 1, '', 1, 1, 1, '', '', '', '', '', '', '', '', CASE n WHEN 'silent' THEN '-infinity' ELSE 'infinity' END::timestamptz
		FROM unnest(ARRAY['silent', 'a', 'b']) n`)
	for name, tt := range map[string]struct {
		agents agents
		before string // of the import
		asked  []string
		want   error
		held   int // nodes that have the image
	}{
		"both":          {agents{}, ``, []string{"a", "b"}, nil, 2},
		"one refuses":   {agents{refuses: "a"}, ``, []string{"a"}, fault.Internal, 0},
		"the other":     {agents{refuses: "b"}, ``, []string{"a", "b"}, fault.Internal, 1},
		"no way":        {agents{cut: true}, ``, nil, fault.NotAsked, 0},
		"all are quiet": {agents{}, `UPDATE node SET seen_at = '-infinity'`, nil, fault.Unavailable, 0},
	} {
		exec(`DELETE FROM os_node; DELETE FROM os; UPDATE node SET seen_at = CASE name WHEN 'silent' THEN '-infinity' ELSE 'infinity' END::timestamptz`)
		if tt.before != "" {
			exec(tt.before)
		}
		w := importer{&unit.DB{Pool: pool}, func(_ uuid.UUID, endpoint string) (nodepb.NodeServiceClient, error) {
			if tt.agents.cut {
				return nil, errors.New("no way")
			}
			return at{&tt.agents, endpoint}, nil
		}}
		err := w.download(t.Context(), nil, importArgs{image{Name: "i", URL: "u"}})
		var held int
		if err := pool.QueryRow(t.Context(), `SELECT count(*) FROM os_node`).Scan(&held); err != nil {
			t.Fatal(err)
		}
		if !errors.Is(err, tt.want) || !slices.Equal(tt.agents.asked, tt.asked) || held != tt.held {
			t.Errorf("%s: asked %v, %d have the image, %v", name, tt.agents.asked, held, err)
		}
	}
	gone := pgtest.Open(t, pgtest.URL(t), pgtest.SchemaOf(pool))
	gone.Close()
	w := importer{db: &unit.DB{Pool: gone}}
	if err := w.download(t.Context(), nil, importArgs{}); err == nil || errors.Is(err, fault.Unavailable) {
		t.Errorf("without a database: %v", err)
	}
}

// TestImportTime: a large image comes by a slow line within the time of a download.
func TestImportTime(t *testing.T) {
	t.Parallel()
	const large, slow = 40 << 30, 8 << 20 // bytes, bytes a second
	if least := large / slow * time.Second; importTimeout < least {
		t.Errorf("a download may take %s, and needs %s", importTimeout, least)
	}
}
