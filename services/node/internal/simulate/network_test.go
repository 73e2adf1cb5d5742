package simulate

import (
	"errors"
	"fmt"
	"time"

	"slipway.dev/pkg/fault"
	"slipway.dev/services/node/internal/journal"
)

// network carries commands to the node, and answers back; it may lose, delay and repeat them.
type network struct {
	w        *world
	scripted []misfortune  // of the next messages
	rate     float64       // of misfortune by chance
	cut      time.Duration // until this time nothing passes
	calm     bool          // no misfortune any more
}

// misfortune is what becomes of one message.
type misfortune struct {
	lost   bool          // the command never arrives
	mute   bool          // it arrives, its answer does not
	twice  time.Duration // it arrives another time, so much later
	delay  time.Duration // it arrives so much later
	broken bool          // the node answers that it could not, after it did
}

func (n *network) next() (m misfortune) {
	if len(n.scripted) > 0 {
		m, n.scripted = n.scripted[0], n.scripted[1:]
		return m
	}
	if n.calm || n.w.random.Float64() >= n.rate {
		return m
	}
	late := time.Duration(n.w.random.Int64N(int64(100 * time.Second)))
	return []misfortune{{lost: true}, {mute: true}, {twice: late}, {delay: late}, {broken: true}}[n.w.random.IntN(5)]
}

var errAway = errors.New("the node does not answer")

func (n *network) send(h *host, step string, o journal.Order, answer func(error)) {
	w, m := n.w, n.next()
	if m.lost || w.now.Sub(w.start) < n.cut {
		w.say("%s: %s %s is lost", h.name, step, place(o))
		return
	}
	w.after(m.delay+10*time.Millisecond, func() {
		err := n.deliver(h, step, o)
		if m.broken && err == nil {
			err = fault.Unavailable
		}
		if !m.mute {
			w.after(10*time.Millisecond, func() { answer(err) })
		}
	})
	if m.twice > 0 {
		w.after(m.twice, func() { _ = n.deliver(h, step, o) })
	}
}

// deliver hands a command to the agent, and checks that one which was overtaken does nothing.
func (n *network) deliver(h *host, step string, o journal.Order) error {
	w := n.w
	if w.agent == nil {
		return errAway
	}
	said := o
	if w.plant.unfenced {
		said = journal.Order{Fence: 1}
	}
	if w.plant.stepless {
		said.Step = 0
	}
	before := w.power(h)
	err := w.command(h, step, said)
	f, ok := fault.From(err)
	stale := ok && f.Reason == "STALE_COMMAND"
	switch {
	case stale && w.power(h) != before:
		w.break_("%s: a refused %s did something", h.name, step)
	case err == nil && overtaken(o, h.highest):
		w.break_("%s: %s %s came after %s and was carried out", h.name, step, place(o), place(h.highest))
	case err == nil:
		h.highest = o
	}
	switch {
	case stale:
		w.say("%s: %s %s is refused", h.name, step, place(o))
	case err != nil:
		w.say("%s: %s %s: %v", h.name, step, place(o), err)
	default:
		w.say("%s: %s %s, now %s", h.name, step, place(o), w.power(h))
	}
	return err
}

func overtaken(o, by journal.Order) bool {
	return o.Fence < by.Fence || o.Fence == by.Fence && o.Step < by.Step
}

func place(o journal.Order) string { return fmt.Sprintf("%d.%d", o.Fence, o.Step) }
