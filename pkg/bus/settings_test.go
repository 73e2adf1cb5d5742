package bus_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/bus/bustest"
)

// wanted are the settings of a stream that this package makes.
var wanted = jetstream.StreamConfig{
	Name: "vm", Subjects: []string{"vm.>"}, Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy,
	Discard: jetstream.DiscardNew, MaxBytes: 1 << 30, MaxAge: 14 * 24 * time.Hour, Duplicates: 10 * time.Minute, Replicas: 1,
}

// isWanted fails the test unless the stream of vm has the settings of want.
func isWanted(t *testing.T, b *bus.Bus, want jetstream.StreamConfig) {
	t.Helper()
	info, err := bus.StreamInfo(t.Context(), b, "vm")
	if err != nil {
		t.Fatal(err)
	}
	have := info.Config
	if len(have.Subjects) != 1 || have.Subjects[0] != want.Subjects[0] || have.Storage != want.Storage ||
		have.Retention != want.Retention || have.Discard != want.Discard || have.MaxBytes != want.MaxBytes ||
		have.MaxAge != want.MaxAge || have.Duplicates != want.Duplicates || have.Replicas != want.Replicas {
		t.Errorf("the stream has %+v, want %+v", have, want)
	}
}

// TestSettingsOfAStream: a stream that is made has the settings of this package, and one that has others, because an earlier version
// or an operator made it, gets them with the first look, whichever setting differs.
func TestSettingsOfAStream(t *testing.T) {
	t.Parallel()
	for name, differ := range map[string]func(*jetstream.StreamConfig){
		"none":       nil,
		"subjects":   func(c *jetstream.StreamConfig) { c.Subjects = []string{"vm.v2.>"} },
		"retention":  func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy },
		"discard":    func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardOld },
		"bytes":      func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 },
		"no bytes":   func(c *jetstream.StreamConfig) { c.MaxBytes = -1 },
		"age":        func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour },
		"duplicates": func(c *jetstream.StreamConfig) { c.Duplicates = time.Minute },
	} {
		t.Run(name, func(t *testing.T) {
			srv := bustest.NewServer(t)
			if differ != nil {
				have := wanted
				differ(&have)
				if _, err := srv.JetStream(t).CreateStream(t.Context(), have); err != nil {
					t.Fatal(err)
				}
			}
			b := srv.Connect(t)
			s, err := b.Look(t.Context(), "vm")
			if err != nil || s.MaxBytes != 1<<30 {
				t.Errorf("%+v %v", s, err)
			}
			isWanted(t, b, wanted)
		})
	}
}

// TestOptions: each option reaches what it is for.
func TestOptions(t *testing.T) {
	t.Parallel()
	srv := bustest.NewServer(t)
	b, err := bus.Connect(t.Context(), "", bus.WithNATS(nats.InProcessServer(srv), nats.Name("x")), bus.WithMaxBytes(32<<20), bus.WithReplicas(1))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := b.Look(t.Context(), "vm"); err != nil {
		t.Fatal(err)
	}
	want := wanted
	want.MaxBytes = 32 << 20
	isWanted(t, b, want)
	if name := bus.Settings(b).Name; name != "x" {
		t.Errorf("the connection is named %q", name)
	}
	three, err := bus.Connect(t.Context(), "", bus.WithNATS(nats.InProcessServer(srv)), bus.WithReplicas(3))
	if err != nil {
		t.Fatal(err)
	}
	defer three.Close()
	if _, err := three.Look(t.Context(), "ip"); err == nil {
		t.Error("one server keeps three copies")
	}
}

// TestSettingsOfTheConnection: a server that fell silent is noticed within half a minute, one that is away is looked for for ever,
// soon and yet not all the time, and nothing is kept to be sent later.
func TestSettingsOfTheConnection(t *testing.T) {
	t.Parallel()
	o := bus.Settings(bustest.New(t))
	if silent := time.Duration(o.MaxPingsOut+1) * o.PingInterval; o.PingInterval < time.Second || silent > 30*time.Second {
		t.Errorf("%d pings, one every %s, may stay without an answer", o.MaxPingsOut, o.PingInterval)
	}
	if o.ReconnectWait < 100*time.Millisecond || o.ReconnectWait+o.ReconnectJitter > time.Second || o.ReconnectJitter < 100*time.Millisecond ||
		o.ReconnectJitterTLS < 100*time.Millisecond || o.ReconnectJitterTLS > 2*time.Second {
		t.Errorf("looks for a server every %s and up to %s (%s) more", o.ReconnectWait, o.ReconnectJitter, o.ReconnectJitterTLS)
	}
	if o.MaxReconnect != -1 || !o.RetryOnFailedConnect || o.ReconnectBufSize != -1 {
		t.Errorf("%d attempts, %d bytes are kept", o.MaxReconnect, o.ReconnectBufSize)
	}
}

// TestStateFails: a stream that cannot be asked is an error, not an empty stream.
func TestStateFails(t *testing.T) {
	t.Parallel()
	srv := bustest.NewServer(t)
	s, err := srv.JetStream(t).CreateStream(t.Context(), wanted)
	if err != nil {
		t.Fatal(err)
	}
	away, stop := context.WithCancel(t.Context())
	stop()
	if have, err := bus.StateOf(away, s); err == nil {
		t.Errorf("%+v", have)
	}
}
