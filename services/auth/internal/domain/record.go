package domain

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"time"

	"slipway.dev/pkg/fault"
)

// Record is what the audit log keeps of one call.
type Record struct {
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

// canonical are the bytes that the chain is over: all that is kept, one way to write it.
func (r Record) canonical() []byte {
	b, err := json.Marshal([]any{
		1, r.ID, r.EventID, r.At.UTC().Format(time.RFC3339Nano), r.Service, r.Action, r.ActorID, r.Actor, r.SessionID,
		r.ObjectType, r.ObjectID, r.Result, r.Reason, r.ClientIP, r.RequestID, r.Before, r.After,
	})
	if err != nil {
		panic(err) // plain values
	}
	return b
}

// Head is an end of the chain, now or once.
type Head struct {
	Seq  int64
	Hash []byte
}

// Next is the head when r follows h.
func (h Head) Next(r Record) Head {
	next := Head{Seq: h.Seq + 1}
	sum := sha256.New()
	sum.Write(h.Hash)
	_ = binary.Write(sum, binary.BigEndian, next.Seq) // a hash takes everything
	sum.Write(r.canonical())
	next.Hash = sum.Sum(nil)
	return next
}

// Verdict is what a walk along the chain found.
type Verdict struct {
	Intact   bool
	Broken   int64 // the id of the first record that is not what it was; 0 when it is not known
	Reason   string
	Head     Head
	Unsealed int32
}

// Walk compares the chain with what it should be. It stops at the first record that is not.
type Walk struct {
	head, known Head
	met         bool // known was met, or there is none
	Verdict
}

// NewWalk begins at the beginning. known is a head that somebody noted, or none.
func NewWalk(known Head) *Walk {
	return &Walk{known: known, met: known.Seq == 0, Verdict: Verdict{Intact: true}}
}

// Going reports whether nothing is broken yet.
func (w *Walk) Going() bool { return w.Intact }

// Expected is the place in the chain that comes next, or where the walk stopped.
func (w *Walk) Expected() int64 { return w.head.Seq + 1 }

// Step looks at the next link and its record.
func (w *Walk) Step(is Head, r Record) {
	should := w.head.Next(r)
	switch {
	case is.Seq != should.Seq:
		w.breaks(0, "a record before this one is missing")
		return
	case !bytes.Equal(is.Hash, should.Hash):
		w.breaks(r.ID, "the record is not what it was when it was written")
		return
	case is.Seq == w.known.Seq && !bytes.Equal(is.Hash, w.known.Hash):
		w.breaks(r.ID, "up to here the log is not the one whose head was noted")
		return
	}
	w.met = w.met || is.Seq == w.known.Seq
	w.head = is
}

// End gives the verdict. gone is the record whose link stands where the walk stopped; stray a record outside of the chain.
func (w *Walk) End(gone, stray *int64) Verdict {
	switch {
	case gone != nil && w.Broken == 0:
		w.breaks(*gone, "the record is missing")
	case !w.Intact:
	case !w.met:
		w.breaks(0, "the log ends before the head that was noted")
	case stray != nil:
		w.breaks(*stray, "the record was put in beside the chain")
	}
	w.Head = w.head
	return w.Verdict
}

func (w *Walk) breaks(id int64, why string) { w.Intact, w.Broken, w.Reason = false, id, why }

// NotedHead reads a head that somebody noted; both empty is none.
func NotedHead(seq int64, hash []byte) (Head, error) {
	if seq == 0 && len(hash) == 0 {
		return Head{}, nil
	}
	if seq < 1 || len(hash) != sha256.Size {
		return Head{}, fault.Invalid.With("seq and hash are given together: a number from 1 and %d hexadecimal digits", 2*sha256.Size).On("hash")
	}
	return Head{Seq: seq, Hash: hash}, nil
}
