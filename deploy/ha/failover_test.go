//go:build e2e

package ha

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Bounds that only a fault exceeds, on a machine however busy. What is measured is logged.
const (
	firstGood = 60 * time.Second
	unsent    = 90 * time.Second
)

// recovered waits for good answers of every kind after a moment at which the new primary takes writes, and for the outboxes.
func (l *load) recovered(since time.Time, primary *server) {
	l.t.Helper()
	for _, kind := range []string{"create", "list", "login"} {
		await(l.t, "a good "+kind, func() bool { n, _ := l.good(kind, since); return n > 0 })
		_, at := l.good(kind, since)
		l.t.Logf("first good %s %.1f s after the new primary took writes", kind, at.Sub(since).Seconds())
		if at.Sub(since) > firstGood {
			l.t.Errorf("the first good %s came after %v", kind, at.Sub(since))
		}
	}
	oldest := func() time.Duration {
		text := primary.value(`SELECT greatest((SELECT max(extract(epoch FROM now() - occurred_at)) FROM vm.outbox WHERE sent_at IS NULL),
			(SELECT max(extract(epoch FROM now() - occurred_at)) FROM ip.outbox WHERE sent_at IS NULL), 0)`)
		seconds, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return time.Hour
		}
		return time.Duration(seconds * float64(time.Second))
	}
	began := time.Now()
	await(l.t, "events are sent", func() bool { return oldest() < 2*time.Second })
	l.t.Logf("events were sent %.1f s after the new primary took writes", time.Since(since).Seconds())
	if time.Since(began) > unsent {
		l.t.Errorf("events waited for %v", time.Since(began))
	}
}

// check compares what was answered with what is there. lossy says that accepted hosts may be lost. It returns how many are.
func (l *load) check(lossy bool) (lost int) {
	l.t.Helper()
	l.end()
	hosts := l.hosts()
	ids, tasks, names := map[int]string{}, map[int]string{}, map[string]bool{}
	for _, h := range hosts {
		names[h.Name] = true
	}
	refused := 0
	for _, a := range l.answers {
		switch {
		case a.status == http.StatusServiceUnavailable, a.status == 0, a.status == http.StatusGatewayTimeout:
			refused++
		case a.status >= 500:
			l.t.Errorf("%s: %d %.300s", a.kind, a.status, a.text)
		case a.status == http.StatusUnauthorized && lossy:
		case a.status/100 != 2:
			l.t.Errorf("%s: %d %.300s", a.kind, a.status, a.text)
		}
		if a.kind != "create" || a.status/100 != 2 {
			continue
		}
		if ids[a.id] != "" || tasks[a.task] != "" {
			l.t.Errorf("the id %d or the task %d of %s was given twice, also to %q, %q", a.id, a.task, a.name, ids[a.id], tasks[a.task])
		}
		ids[a.id], tasks[a.task] = a.name, a.name
		if !names[a.name] {
			lost++
		}
	}
	if lost > 0 && !lossy {
		l.t.Errorf("%d accepted hosts are lost", lost)
	}
	l.machines()
	l.t.Logf("%d requests, %d refused, %d hosts, %d accepted and lost", len(l.answers), refused, len(hosts), lost)
	return lost
}

// machines checks that no address is in two machines that can run, and that no machine of an accepted host was removed.
func (l *load) machines() {
	l.t.Helper()
	all, removed := l.s.machines()
	held := map[netip.Addr]string{}
	for _, m := range all {
		if m.Seed == nil || m.Def == nil {
			continue
		}
		for _, link := range m.Seed.Links {
			for _, text := range link.Addresses {
				p, err := netip.ParsePrefix(text)
				must(l.t, err)
				if before, twice := held[p.Addr()]; twice {
					l.t.Errorf("%s is in the machines %s and %s", p.Addr(), before, m.Seed.Hostname)
				}
				held[p.Addr()] = m.Seed.Hostname
			}
		}
	}
	accepted := map[string]bool{}
	for _, a := range l.answers {
		accepted[a.name] = accepted[a.name] || a.kind == "create" && a.status/100 == 2
	}
	for _, name := range removed {
		if accepted[name] {
			l.t.Errorf("the machine of the accepted host %s was removed", name)
		}
	}
}

type host struct {
	ID    int
	Name  string
	State string
}

// hosts reads all hosts, with a session of its own: a lossy standby may lack the load's.
func (l *load) hosts() (all []host) {
	l.t.Helper()
	token := l.s.login()
	for page := 0; ; page++ {
		var list struct{ List []host }
		l.s.must(token, "GET", fmt.Sprintf("/vm/v3/host?limit=%d,500", page*500), nil, &list)
		if all = append(all, list.List...); len(list.List) < 500 {
			return all
		}
	}
}

// pair makes a primary with a standby, and a stack on both.
func pair(t *testing.T, synchronous bool) (a, b *server, s *stack) {
	t.Helper()
	a = newPrimary(t, workDir(t))
	b = newStandby(t, a, synchronous)
	return a, b, newStack(t, a, b)
}

// TestPrimaryKilled kills a primary whose standby is synchronous, promotes the standby, and starts the former primary again
// where nothing fences it. No accepted host is lost, and nothing goes back to the former primary, also not after a restart.
func TestPrimaryKilled(t *testing.T) {
	t.Parallel()
	a, b, s := pair(t, true)
	l := startLoad(s)
	l.await(15, time.Time{})
	if missing, facts := s.missing("database"); len(missing) > 0 || !slices.Contains(facts, "replication is synchronous, by standby: 1 of 1 standbys") {
		// fsync is off here, which is not: a machine that crashes loses what was acknowledged.
		if len(missing) != 1 || !strings.HasPrefix(missing[0], "fsync is off") {
			t.Errorf("slipway check: %q, %q", missing, facts)
		}
	}
	a.kill()
	b.promote()
	promoted := time.Now()
	l.recovered(promoted, b)
	a.args = []string{"-c", "synchronous_standby_names="} // else it would wait for its standby with every commit
	a.start()
	before := a.value(`SELECT count(*) FROM vm.host`)
	l.await(15, time.Now())
	l.check(false)
	s.rest()
	s.stop()
	s.start() // the URL names the former primary first
	s.must(s.login(), "GET", "/vm/v3/host?limit=0,1", nil, nil)
	s.rest()
	if now := a.value(`SELECT count(*) FROM vm.host`); now != before {
		t.Errorf("the former primary had %s hosts and has %s", before, now)
	}
	if n := a.value(`SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'slipway/%'`); n != "0" {
		t.Errorf("%s connections to the former primary", n)
	}
}

// TestLinkCut cuts the link to a primary without a word and promotes its standby, which is synchronous.
func TestLinkCut(t *testing.T) {
	t.Parallel()
	a, b, s := pair(t, true)
	l := startLoad(s)
	l.await(15, time.Time{})
	must(t, a.clients.Silence())
	a.standby.Refuse()
	b.promote()
	promoted := time.Now()
	l.recovered(promoted, b)
	l.await(15, time.Now())
	l.check(false)
	s.rest()
}

// TestLossyPromotion promotes an asynchronous standby that lacks hosts which were accepted. They are lost; but their ids, their
// tasks and their addresses are not given again, and their machines stay.
func TestLossyPromotion(t *testing.T) {
	t.Parallel()
	a, b, s := pair(t, false)
	l := startLoad(s)
	l.await(10, time.Time{})
	if missing, _ := s.missing("database"); !slices.ContainsFunc(missing, func(m string) bool { return strings.Contains(m, "not synchronous") }) {
		t.Errorf("slipway check: %q", missing)
	}
	a.standby.Refuse()
	l.await(20, time.Now())
	a.kill()
	machines, _ := s.machines()
	b.promote()
	promoted := time.Now()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	for l.relogin(ctx); ctx.Err() == nil; l.relogin(ctx) {
		if n, _ := l.good("create", promoted); n > 0 {
			break
		}
	}
	l.await(30, promoted)
	_, at := l.good("create", promoted)
	t.Logf("first good create %.1f s after the new primary took writes", at.Sub(promoted).Seconds())
	if lost := l.check(true); lost < 5 {
		t.Errorf("%d hosts were lost: too few to prove anything", lost)
	}
	all, _ := s.machines()
	for id, m := range machines {
		if _, there := all[id]; !there && m.Seed != nil {
			t.Errorf("the machine %s is gone", m.Seed.Hostname)
		}
	}
	s.rest("machine_orphan")
}

// relogin gives the load a session that the database knows.
func (l *load) relogin(ctx context.Context) {
	status, text, err := l.s.call(ctx, "", "POST", "/auth/v4/public/token", map[string]string{"email": email, "password": password})
	if err == nil && status/100 == 2 {
		l.setToken(text)
	}
	select {
	case <-ctx.Done():
	case <-time.After(200 * time.Millisecond): // between two logins
	}
}
