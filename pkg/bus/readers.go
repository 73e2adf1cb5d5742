package bus

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// Reader is how far a consumer has read a stream. All events up to Seq that are for it have taken effect.
type Reader struct {
	Name    string    `json:"-"`
	Created time.Time `json:"created"` // of the stream
	Seq     uint64    `json:"seq"`
}

// reporting is the usual longest time between two reports of a reader.
const reporting = 5 * time.Second

// ReaderSubject returns the subject on which the consumers of a service report how far they have read the stream of an owner.
func ReaderSubject(owner, service string) string { return "slipway.read." + owner + "." + service }

// report says how far the consumer is. A report that gets lost is followed by another one.
func (r *reader) report() {
	if r.created.IsZero() || time.Since(r.reported) < r.reports {
		return
	}
	r.reported = time.Now()
	service, _, _ := strings.Cut(r.c.Name, "-")
	data, err := json.Marshal(Reader{Created: r.created, Seq: r.at.seq})
	if err == nil {
		_ = r.nc.Publish(ReaderSubject(r.c.Service, service)+"."+r.c.Name, data) // fails on a connection that is lost
	}
}

// Readers calls f with each report of a consumer of the stream of a service, as long as this Bus is open.
func (b *Bus) Readers(service string, f func(Reader)) error {
	_, err := b.nc.Subscribe(ReaderSubject(service, ">"), func(m *nats.Msg) {
		var r Reader
		if json.Unmarshal(m.Data, &r) == nil {
			r.Name = m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
			f(r)
		}
	})
	return err
}
