package simulate

import (
	"slices"
	"time"

	"github.com/google/uuid"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/node/internal/journal"
)

// What vm's jobs promise, shortened to what a node can notice.
const (
	lease   = 30 * time.Second
	renewal = 10 * time.Second
	timeout = 10 * time.Second // of one command
)

var kinds = map[string][]string{
	"create": {"disk", "seed", "define", "start"}, "start": {"start"}, "stop": {"stop"}, "restart": {"stop", "start"}, "delete": {"remove"},
}

// job is a row of the table of jobs.
type job struct {
	kind     string
	host     *host
	done     int // steps that are recorded
	finished bool
	fence    int64
	until    time.Time
}

func (h *host) busy() bool {
	return slices.ContainsFunc(h.jobs, func(j *job) bool { return !j.finished })
}

// accept is a request of a client.
func (w *world) accept(kind, name string) {
	h := w.hosts[name]
	if h == nil {
		h = &host{name: name, id: uuid.NewSHA1(uuid.Nil, []byte(name)), wish: "absent"}
		w.hosts[name], w.order = h, append(w.order, h)
	}
	switch kind {
	case "delete":
		h.wish = "absent"
		for _, j := range h.jobs {
			j.finished = true // canceled: its worker may not know yet
		}
	case "stop":
		h.wish = "stopped"
	default:
		h.wish, h.gone = "active", false
	}
	h.jobs = append(h.jobs, &job{kind: kind, host: h})
	w.say("%s %s is asked for", kind, name)
}

// worker is a process that carries out jobs.
type worker struct {
	w      *world
	name   string
	dead   bool
	paused time.Time // until then it does nothing; after that it goes on as if nothing had been
}

// tick has the workers look for jobs, and renew their leases.
func (w *world) tick() {
	for _, h := range w.order {
		i := slices.IndexFunc(h.jobs, func(j *job) bool { return !j.finished })
		if i < 0 || w.now.Before(h.jobs[i].until) {
			continue
		}
		for _, x := range w.workers {
			if !x.dead && !w.now.Before(x.paused) {
				x.claim(h.jobs[i])
				break
			}
		}
	}
	w.after(time.Second, w.tick)
}

func (x *worker) claim(j *job) {
	w := x.w
	w.fence++
	j.fence, j.until = w.fence, w.now.Add(lease)
	w.say("%s: %s takes %s, fence %d, from step %d", j.host.name, x.name, j.kind, j.fence, j.done)
	x.renew(j, j.fence)
	x.step(j, j.fence, j.done, time.Second)
}

// holds reports whether the job is still this attempt's, as the table says.
func (j *job) holds(fence int64) bool { return j.fence == fence && !j.finished }

func (x *worker) renew(j *job, fence int64) {
	x.w.after(renewal, func() {
		if x.dead || x.w.now.Before(x.paused) || !j.holds(fence) || !x.w.now.Before(j.until) {
			return
		}
		j.until = x.w.now.Add(lease)
		x.renew(j, fence)
	})
}

// step sends one command, again and again until it is answered. A worker that was paused sends before it looks whether the
// job is still its own: the worst that a real one could do.
func (x *worker) step(j *job, fence int64, n int, backoff time.Duration) {
	w := x.w
	if x.dead {
		return
	}
	if w.now.Before(x.paused) {
		w.after(x.paused.Sub(w.now), func() { x.step(j, fence, n, backoff) })
		return
	}
	answered := false
	again := func() {
		if !answered && j.holds(fence) {
			answered = true
			x.step(j, fence, n, min(2*backoff, 30*time.Second))
		}
	}
	w.net.send(j.host, kinds[j.kind][n], journal.Order{Fence: fence, Step: int32(n + 1)}, func(err error) {
		switch {
		case answered || x.dead:
			return
		case w.now.Before(x.paused), !j.holds(fence), !w.now.Before(j.until):
			answered = true // the answer finds nobody, or somebody who lost the lease
			return
		}
		if f, ok := fault.From(err); ok && f.Reason == "STALE_COMMAND" {
			w.break_("%s: the holder of the lease was refused %s with fence %d", j.host.name, j.kind, fence)
		}
		if err != nil {
			w.after(backoff, again)
			return
		}
		answered = true
		x.record(j, fence, n)
	})
	w.after(timeout, again)
}

func (x *worker) record(j *job, fence int64, n int) {
	j.done = n + 1
	if j.done < len(kinds[j.kind]) {
		x.step(j, fence, n+1, time.Second)
		return
	}
	j.finished = true
	j.host.gone = j.kind == "delete"
	x.w.say("%s: %s is done", j.host.name, j.kind)
}
