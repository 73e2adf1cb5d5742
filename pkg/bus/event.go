package bus

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"slipway.dev/pkg/fault"
)

// Event describes a committed change. Subject is <service>.<version>.<noun>.<verb in the past>; events of one Key (a host, an
// account) are delivered in order; Type is the full name of the proto message in Data.
type Event struct {
	ID      string
	Subject string
	Key     string
	Type    string
	Time    time.Time
	// Revision is higher for the newer of two events of one key; 0 in events of earlier versions.
	Revision int64
	Data     []byte
}

// Decode reads the payload into m, which must be of the event's type.
func (e Event) Decode(m proto.Message) error {
	if name := string(m.ProtoReflect().Descriptor().FullName()); name != e.Type {
		return fault.Invalid.With("event %s holds a %s, not a %s", e.ID, e.Type, name)
	}
	if err := proto.Unmarshal(e.Data, m); err != nil {
		return fault.Invalid.With("event %s cannot be read", e.ID).Wrap(err)
	}
	return nil
}

const (
	headerID    = jetstream.MsgIDHeader // also what JetStream drops second copies by
	headerEvent = "Slipway-Event"       // the id of an event whose message needed another one
	headerKey   = "Slipway-Key"
	headerType  = "Slipway-Type"
	headerTime  = "Slipway-Time"
	headerRev   = "Slipway-Revision"
)

func (e Event) message() *nats.Msg {
	m := nats.NewMsg(e.Subject)
	m.Header.Set(headerID, e.ID)
	m.Header.Set(headerKey, e.Key)
	m.Header.Set(headerType, e.Type)
	m.Header.Set(headerTime, e.Time.UTC().Format(time.RFC3339Nano))
	m.Header.Set(headerRev, strconv.FormatInt(e.Revision, 10))
	m.Data = e.Data
	return m
}

func event(subject string, h nats.Header, data []byte) Event {
	at, _ := time.Parse(time.RFC3339Nano, h.Get(headerTime))  // not ours: the zero time is as good as any
	revision, _ := strconv.ParseInt(h.Get(headerRev), 10, 64) // none in events of earlier versions
	return Event{
		ID: eventID(h), Subject: subject, Key: text(h.Get(headerKey)), Type: text(h.Get(headerType)), Time: at, Revision: revision,
		Data: append([]byte{}, data...), // not nil, which the database takes for no value
	}
}

// text returns s without what PostgreSQL keeps in no text.
func text(s string) string { return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "") }

// eventID returns the id of the event with these headers, or "" if they are of no event.
func eventID(h nats.Header) string { return cmp.Or(h.Get(headerEvent), h.Get(headerID)) }
