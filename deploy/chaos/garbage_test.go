//go:build e2e

package chaos_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"

	authpb "slipway.dev/proto/auth/v4"
	ippb "slipway.dev/proto/ip/v3"
	vmpb "slipway.dev/proto/vm/v3"
)

// garbage are invalid arguments of a job, as a restore or a bug may leave them.
var garbage = []string{
	`null`, `[]`, `{}`, `""`, `0`, `true`, `"host"`, `{"id":null,"uuid":null}`, `{"id":"x"}`, `{"id":-1,"uuid":"x"}`, `{"id":1e300}`,
	`{"id":2147483647,"uuid":"00000000-0000-0000-0000-000000000000"}`, `{"image":null}`, `{"image":[]}`, `{"image":{"URL":"\u0001"}}`,
	`[` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + `]`,
	`{"uuid":"` + strings.Repeat("x", 1<<20) + `"}`,
}

// TestGarbage: invalid values in every decoded field of jobs and events end no process, block no other job or event,
// and are parked within three attempts, where an operator finds them.
func TestGarbage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	kinds := []string{"host_create", "host_start", "host_stop", "host_restart", "host_delete", "os_import", "no_such_kind"}
	for i, kind := range kinds {
		for j, args := range garbage {
			w.exec("vm", `INSERT INTO job (kind, key, args) VALUES ($1, $2, $3::text::jsonb)`, kind, fmt.Sprintf("garbage/%d/%d", i, j), args)
		}
	}
	events := 0
	for service, subject := range map[string]string{"auth": "auth.v4.user.updated", "ip": "ip.v3.pool.bound"} {
		right, other := proto.Message(&authpb.UserChanged{Id: 7}), proto.Message(&ippb.PoolBound{Id: 7})
		if service == "ip" {
			right, other = other, right
		}
		name, otherName := string(right.ProtoReflect().Descriptor().FullName()), string(other.ProtoReflect().Descriptor().FullName())
		for _, e := range []struct {
			typ  string
			data []byte
		}{
			{name, []byte{0xff, 0xff, 0xff}},
			{name, []byte(strings.Repeat("\x0a", 1000))},
			{"", nil},
			{"no.such.Type", []byte("x")},
			{otherName, []byte{8, 7}},
		} {
			w.exec(service, `INSERT INTO outbox (event_id, subject, key, type, data) VALUES (gen_random_uuid(), $1, 'k', $2, $3)`,
				subject, e.typ, append([]byte{}, e.data...))
			events++
		}
	}
	for deadline := time.Now().Add(healing); ; time.Sleep(20 * time.Millisecond) {
		jobs := w.count("vm", `SELECT count(*) FROM job WHERE key LIKE 'garbage/%' AND finished_at IS NULL`)
		parked := w.count("vm", `SELECT count(*) FROM inbox_parked`)
		if jobs == 0 && parked == events {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d jobs go on, %d of %d events are put aside", jobs, parked, events)
		}
	}
	if n := w.count("vm", `SELECT coalesce(max(attempt), 0) FROM job WHERE key LIKE 'garbage/%'`); n > 3 {
		t.Errorf("a job was tried %d times", n)
	}
	// Later jobs and events are processed.
	made, err := w.create(w.admin(), "after")
	if err != nil {
		t.Fatal(err)
	}
	if s := w.end(made.GetTask(), healing); s != "done" {
		t.Error(s)
	}

	// They can be seen, tried again and dropped; one that is good in the end takes effect.
	good := uuid.NewString()
	data, err := proto.Marshal(&authpb.UserChanged{Id: 4711, Email: "late@example.com", State: "active"})
	if err != nil {
		t.Fatal(err)
	}
	w.exec("vm", `INSERT INTO inbox_parked (consumer, event_id, subject, key, type, data, occurred_at, error)
		VALUES ('vm-auth', $1, 'auth.v4.user.updated', '4711', 'auth.v4.UserChanged', $2, now(), 'planted')`, good, data)
	list, err := w.fsck.ListParked(w.admin(), &vmpb.ListParkedRequest{})
	if err != nil || int(list.GetSize()) != events+1 {
		t.Fatalf("%d are listed, %v", list.GetSize(), err)
	}
	for _, p := range list.GetList() {
		_, err := w.fsck.ReplayParked(w.admin(), &vmpb.ReplayParkedRequest{Consumer: p.GetConsumer(), Event: p.GetEvent()})
		if (err == nil) != (p.GetEvent() == good) {
			t.Errorf("replay of %s: %v", p.GetSubject(), err)
		}
		if p.GetEvent() == good {
			continue
		}
		if _, err := w.fsck.DropParked(w.admin(), &vmpb.DropParkedRequest{Consumer: p.GetConsumer(), Event: p.GetEvent()}); err != nil {
			t.Error(err)
		}
	}
	if n := w.count("vm", `SELECT count(*) FROM account WHERE id = 4711`); n != 1 {
		t.Error("the event that was tried again took no effect")
	}
	for _, id := range []string{"x", good} {
		if _, err := w.fsck.DropParked(w.admin(), &vmpb.DropParkedRequest{Consumer: "vm-auth", Event: id}); err == nil {
			t.Errorf("%s was dropped twice", id)
		}
	}
	w.rest(healing)
}
