package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	ippb "slipway.dev/proto/ip/v3"

	"slipway.dev/pkg/pg/pgembed"
	"slipway.dev/pkg/pki"
	"slipway.dev/pkg/rpc"
)

// Clusters of the bench, each with a pool of its own and the same number.
const (
	clusterFloor = 1 + iota // taken from by pgbench
	clusterOurs             // the same for the service
	clusterSmall            // a /24
	clusterLarge            // a /12 of which a million addresses are taken
)

// claimants is how many clients claim at once, pgbench's and ours.
const claimants = 16

// bareClaim is the floor: the least cost of claiming one address, in one statement. %d is the pool.
const bareClaim = `UPDATE address SET state = 'reserved', owner = o.id, claim = o.id, position = 0, generation = generation + 1,
	until = now() + interval '5 minutes' FROM (SELECT gen_random_uuid() AS id) o
	WHERE address.id = (SELECT id FROM address WHERE pool_id = %d AND state = 'free' ORDER BY ip LIMIT 1 FOR UPDATE SKIP LOCKED)
	RETURNING host(ip);
`

// claim measures addresses claimed from ipd over gRPC with mTLS, against pgbench on the same database; and what a
// claim costs where a million addresses are taken, against one in a /24.
func (b *bench) claim(ctx context.Context) error {
	db, err := pgembed.Start(ctx, pgembed.Config{Dir: filepath.Join(b.dir, "postgres-claim")})
	if err != nil {
		return err
	}
	defer db.Stop(context.WithoutCancel(ctx)) //nolint:errcheck // its data is thrown away
	nats, err := b.nats("nats-claim")
	if err != nil {
		return err
	}
	defer nats.Shutdown()
	addr, err := freePort()
	if err != nil {
		return err
	}
	certs := filepath.Join(b.dir, "certs-claim")
	if err := pki.Write(certs, time.Hour, "ip", "vm"); err != nil {
		return err
	}
	p, err := b.launch("ipd", silent, []string{
		"SLIPWAY_LOG=warn", "SLIPWAY_IP_DATABASE=" + db.URL(), "SLIPWAY_IP_NATS=" + nats.ClientURL(), "SLIPWAY_IP_CERTS=" + certs,
		"SLIPWAY_IP_LISTEN=" + addr, "SLIPWAY_IP_SERVICES=auth=127.0.0.1:9", // who calls is a service: auth is not asked
	})
	if err != nil {
		return err
	}
	defer p.stop()
	tls, err := pki.Load(certs, "vm")
	if err != nil {
		return err
	}
	conn, err := rpc.Dial(addr, "ip", tls)
	if err != nil {
		return err
	}
	defer conn.Close()
	c := claims{ctx: ctx, url: inSchema(db.URL()), ip: ippb.NewAddressServiceClient(conn)}
	if err := c.await(); err != nil {
		return err
	}
	if err := c.fill(); err != nil {
		return err
	}
	return b.measureClaims(c)
}

// inSchema makes ip's schema the connection's.
func inSchema(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return text
	}
	q := u.Query()
	q.Set("options", "-c search_path=ip")
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20") // the C library knows no plus
	return u.String()
}

// claims is an ipd to load, and its database.
type claims struct {
	ctx context.Context
	url string
	ip  ippb.AddressServiceClient
}

// await returns when ipd answers.
func (c claims) await() (err error) {
	for range 200 {
		if _, err = c.ip.Release(c.ctx, &ippb.ReleaseRequest{Owner: uuid.NewString()}); err == nil {
			return nil
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("ipd does not answer: %w", err)
}

func (c claims) exec(sql string) error {
	conn, err := pgx.Connect(c.ctx, c.url)
	if err != nil {
		return err
	}
	defer conn.Close(c.ctx)
	for statement := range splitStatements(sql) {
		if _, err := conn.Exec(c.ctx, statement); err != nil {
			return fmt.Errorf("%.60s: %w", statement, err)
		}
	}
	return nil
}

var statement = regexp.MustCompile(`[^;]+`)

func splitStatements(sql string) func(func(string) bool) {
	return slices.Values(statement.FindAllString(sql, -1))
}

// fill makes networks, pools and addresses by SQL: a million rows one by one would take an hour. The ranges are those that
// the service would have made.
func (c claims) fill() error {
	const make = `
		INSERT INTO network (cidr, gateway) VALUES ('10.0.0.0/12', '10.0.0.1'), ('10.16.0.0/12', '10.16.0.1'),
			('10.32.0.0/24', '10.32.0.1'), ('10.48.0.0/12', '10.48.0.1');
		INSERT INTO pool (name) SELECT 'pool' || i FROM generate_series(1, 4) i;
		INSERT INTO pool_cluster (pool_id, cluster_id) SELECT i, i FROM generate_series(1, 4) i;
		INSERT INTO pool_range (pool_id, network_id, name, first, last, usable)
			SELECT id, id, 'r', host(cidr)::inet + 2, host(broadcast(cidr))::inet - 1, broadcast(cidr) - cidr - 2 FROM network;
		INSERT INTO address (ip, range_id, pool_id, state)
			SELECT r.first + g, r.id, r.pool_id, 'free' FROM pool_range r,
			LATERAL generate_series(0, CASE WHEN r.pool_id < 3 THEN 299999 ELSE r.last - r.first END) g ORDER BY 1;
		UPDATE address SET state = 'assigned', owner = gen_random_uuid(), position = 0, generation = 1
			WHERE pool_id = 4 AND ip < inet '10.48.0.2' + 1000000;
		VACUUM ANALYZE address; ANALYZE pool_range; ANALYZE network; ANALYZE pool; CHECKPOINT`
	return c.exec(make)
}

func (b *bench) measureClaims(c claims) error {
	var bare, ours []float64
	var small, large []time.Duration
	for range b.rounds {
		n, err := b.pgbench(c)
		if err != nil {
			return err
		}
		bare = append(bare, n)
		if n, err = c.load(b.length); err != nil {
			return err
		}
		ours = append(ours, n)
		for cluster, list := range map[int32]*[]time.Duration{clusterSmall: &small, clusterLarge: &large} {
			took, err := c.each(cluster, 200)
			if err != nil {
				return err
			}
			*list = append(*list, took)
		}
	}
	b.row("floor: claim of an address, pgbench", fmt.Sprintf("%.0f/s", median(bare)), "", "")
	b.row("claim of an address over gRPC", fmt.Sprintf("%.0f/s", median(ours)), "floor; bar 70 %", ratio(median(ours), median(bare)))
	b.row("claim in a /12, a million taken", ms(median(large)), "in a /24 "+ms(median(small))+"; bar 1.5 ×",
		fmt.Sprintf("%.2f ×", float64(median(large))/float64(median(small))))
	return nil
}

var tps = regexp.MustCompile(`tps = ([0-9.]+)`)

// pgbench is the floor's figure.
func (b *bench) pgbench(c claims) (float64, error) {
	script := filepath.Join(b.dir, "claim.sql")
	if err := os.WriteFile(script, []byte(fmt.Sprintf(bareClaim, clusterFloor)), 0o600); err != nil {
		return 0, err
	}
	path, err := findPgbench()
	if err != nil {
		return 0, err
	}
	seconds := strconv.Itoa(max(1, int(b.length.Seconds())))
	out, err := exec.CommandContext(c.ctx, path, "-n", "-M", "prepared", "-c", strconv.Itoa(claimants), "-j", "2", "-T", seconds,
		"-f", script, c.url).CombinedOutput()
	m := tps.FindSubmatch(out)
	if err != nil || m == nil {
		return 0, fmt.Errorf("pgbench: %w: %s", err, out)
	}
	return strconv.ParseFloat(string(m[1]), 64)
}

func findPgbench() (string, error) {
	if dir := os.Getenv(pgembed.EnvBin); dir != "" {
		return filepath.Join(dir, "pgbench"), nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pgbench") // the pattern is good
	if len(found) > 0 {
		return found[len(found)-1], nil
	}
	return exec.LookPath("pgbench")
}

// one claims an address of a cluster.
func (c claims) one(cluster int32) (owner string, err error) {
	owner = uuid.NewString()
	r, err := c.ip.Reserve(c.ctx, &ippb.ReserveRequest{Owner: owner, ClusterId: cluster, Ipv4Count: 1})
	if err == nil && len(r.GetAddresses()) != 1 {
		err = fmt.Errorf("%d addresses", len(r.GetAddresses()))
	}
	return owner, err
}

// load claims by as many clients as pgbench has, and returns how many came out in a second.
func (c claims) load(length time.Duration) (float64, error) {
	var n atomic.Int64
	errs := make(chan error, claimants)
	var wg sync.WaitGroup
	start := time.Now()
	for range claimants {
		wg.Go(func() {
			for time.Since(start) < length {
				if _, err := c.one(clusterOurs); err != nil {
					errs <- err
					return
				}
				n.Add(1)
			}
		})
	}
	wg.Wait()
	took := time.Since(start)
	select {
	case err := <-errs:
		return 0, err
	default:
		return float64(n.Load()) / took.Seconds(), nil
	}
}

// each claims n addresses one after the other, frees them, and returns the median time of a claim.
func (c claims) each(cluster int32, n int) (time.Duration, error) {
	var took []time.Duration
	for range n {
		at := time.Now()
		if _, err := c.one(cluster); err != nil {
			return 0, err
		}
		took = append(took, time.Since(at))
	}
	return median(took), c.exec(fmt.Sprintf(`
		UPDATE address SET state = 'free', owner = NULL, claim = NULL, position = NULL, until = NULL
		WHERE pool_id = %d AND state = 'reserved'`, cluster))
}
