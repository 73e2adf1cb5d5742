// Package audit keeps the log of calls that changed something, in a chain of hashes that shows whether the log was
// altered.
package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"time"

	"slipway.dev/pkg/fault"
)

// record is what the audit log keeps of one call.
type record struct {
	ID                   int64
	EventID              *string
	At                   time.Time
	Service, Action      string
	ActorID              int32
	Actor                string
	SessionID            int32
	ObjectType, ObjectID string
	Result, Reason       string
	ClientIP, RequestID  string
	Before, After        *string
}

// canonical returns the bytes that the chain is over: all that is kept, one way to write it.
func (r record) canonical() []byte {
	b, err := json.Marshal([]any{
		1, r.ID, r.EventID, r.At.UTC().Format(time.RFC3339Nano), r.Service, r.Action, r.ActorID, r.Actor, r.SessionID,
		r.ObjectType, r.ObjectID, r.Result, r.Reason, r.ClientIP, r.RequestID, r.Before, r.After,
	})
	if err != nil {
		panic(err) // plain values
	}
	return b
}

// head is the last link of the chain, now or at an earlier time.
type head struct {
	seq  int64
	hash []byte
}

// next returns the head when r follows h.
func (h head) next(r record) head {
	n := head{seq: h.seq + 1}
	sum := sha256.New()
	sum.Write(h.hash)
	_ = binary.Write(sum, binary.BigEndian, n.seq) // a hash accepts all bytes
	sum.Write(r.canonical())
	n.hash = sum.Sum(nil)
	return n
}

// verdict is what a walk along the chain found.
type verdict struct {
	intact   bool
	broken   int64 // the id of the first record that is not what it was; 0 when it is not known
	reason   string
	last     head // the last one that is intact
	unsealed int32
}

// walk compares the chain with what it should be. It stops at the first difference.
type walk struct {
	head, known head
	met         bool // known was met, or there is none
	verdict
}

// newWalk begins at the beginning. known is a head that was noted before, or none.
func newWalk(known head) *walk {
	return &walk{known: known, met: known.seq == 0, verdict: verdict{intact: true}}
}

// going reports whether nothing is broken yet.
func (w *walk) going() bool { return w.intact }

// expected returns the place in the chain that comes next, or where the walk stopped.
func (w *walk) expected() int64 { return w.head.seq + 1 }

// step looks at the next link and its record.
func (w *walk) step(is head, r record) {
	should := w.head.next(r)
	switch {
	case is.seq != should.seq:
		w.breaks(0, "a record before this one is missing")
		return
	case !bytes.Equal(is.hash, should.hash):
		w.breaks(r.ID, "the record is not what it was when it was written")
		return
	case is.seq == w.known.seq && !bytes.Equal(is.hash, w.known.hash):
		w.breaks(r.ID, "up to here the log is not the one whose head was noted")
		return
	}
	w.met = w.met || is.seq == w.known.seq
	w.head = is
}

// end returns the verdict. gone is the record whose link stands where the walk stopped; stray a record outside of the
// chain.
func (w *walk) end(gone, stray *int64) verdict {
	switch {
	case gone != nil && w.broken == 0:
		w.breaks(*gone, "the record is missing")
	case !w.intact:
	case !w.met:
		w.breaks(0, "the log ends before the head that was noted")
	case stray != nil:
		w.breaks(*stray, "the record was put in beside the chain")
	}
	w.last = w.head
	return w.verdict
}

func (w *walk) breaks(id int64, why string) { w.intact, w.broken, w.reason = false, id, why }

// newHead checks a head that was noted before; both empty is none.
func newHead(seq int64, hash []byte) (head, error) {
	if seq == 0 && len(hash) == 0 {
		return head{}, nil
	}
	if seq < 1 || len(hash) != sha256.Size {
		return head{}, fault.Invalid.With("seq and hash are given together: a number from 1 and %d hexadecimal digits", 2*sha256.Size).On("hash")
	}
	return head{seq, hash}, nil
}
