package vm_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	nodepb "slipway.dev/proto/node/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
)

// OpenConsole says which console it is, and repeats what is typed until "end".
func (f *fakeAgent) OpenConsole(s nodepb.NodeService_OpenConsoleServer) error {
	first, err := s.Recv()
	if err != nil {
		return err
	}
	if err := s.Send(&nodepb.OpenConsoleResponse{Data: []byte(first.GetKind().String())}); err != nil {
		return err
	}
	for {
		in, err := s.Recv()
		if err != nil {
			return err
		}
		if string(in.GetData()) == "end" {
			return nil
		}
		if err := s.Send(&nodepb.OpenConsoleResponse{Data: in.GetData()}); err != nil {
			return err
		}
	}
}

// session is a context of a request of a user with this session.
func (w *world) session(account, session int32) context.Context {
	w.Helper()
	text, err := w.signer.Sign(identity.Identity{
		AccountID: account, SessionID: session, Roles: []string{identity.RoleUser}, Expires: time.Now().Add(time.Hour),
	})
	if err != nil {
		w.Fatal(err)
	}
	return metadata.AppendToOutgoingContext(w.Context(), identity.MetadataKey, text)
}

func (w *world) consoles() vmpb.ConsoleServiceClient { return vmpb.NewConsoleServiceClient(w.conn) }

func (w *world) ticket(ctx context.Context, id int32, kind string) string {
	w.Helper()
	t, err := w.consoles().CreateConsoleTicket(ctx, &vmpb.CreateConsoleTicketRequest{Id: id, Kind: kind})
	if err != nil {
		w.Fatal(err)
	}
	return t.GetTicket()
}

// open opens a console, and returns what it says first.
func (w *world) open(ctx context.Context, ticket string) (vmpb.ConsoleService_OpenConsoleClient, string, error) {
	w.Helper()
	s, err := w.consoles().OpenConsole(ctx)
	if err != nil {
		return nil, "", err
	}
	if err := s.Send(&vmpb.OpenConsoleRequest{Ticket: ticket}); err != nil {
		return nil, "", err
	}
	m, err := s.Recv()
	return s, string(m.GetData()), err
}

func why(err error) string {
	if f, ok := fault.From(err); ok {
		return f.Reason
	}
	return ""
}

func TestConsole(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.create(w.as(11, identity.RoleUser), wish("web")).GetId()
	mine := w.session(11, 7)
	first := map[string]string{"vnc": "CONSOLE_KIND_VNC", "serial": "CONSOLE_KIND_SERIAL"}
	for kind, want := range first {
		s, said, err := w.open(mine, w.ticket(mine, id, kind))
		if err != nil || said != want {
			t.Fatalf("%s: %q, %v", kind, said, err)
		}
		if err := s.Send(&vmpb.OpenConsoleRequest{Data: []byte("typed")}); err != nil {
			t.Fatal(err)
		}
		if m, err := s.Recv(); err != nil || string(m.GetData()) != "typed" {
			t.Errorf("%s: %q, %v", kind, m.GetData(), err)
		}
		if err := s.Send(&vmpb.OpenConsoleRequest{Data: []byte("end")}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(); why(err) != "MACHINE_NOT_RUNNING" {
			t.Errorf("the machine has stopped: %v", err)
		}
	}
	if _, err := w.consoles().CheckConsole(mine, &vmpb.CheckConsoleRequest{}); err != nil {
		t.Errorf("consoles at all: %v", err)
	}
	got, err := w.consoles().GetVNCSettings(mine, &vmpb.GetVNCSettingsRequest{Id: id})
	if err != nil || len(got.GetKinds()) != 2 || got.GetPath() != "/vm/v3/console" || got.GetTicketSeconds() != 30 {
		t.Errorf("settings %v, %v", got, err)
	}
}

// TestConsoleTickets: a ticket opens one console once, for its owner's session and for a short time.
func TestConsoleTickets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.create(w.as(11, identity.RoleUser), wish("web")).GetId()
	mine := w.session(11, 7)
	refused := func(what string, ctx context.Context, ticket string) {
		t.Helper()
		if _, _, err := w.open(ctx, ticket); why(err) != "CONSOLE_TICKET" {
			t.Errorf("%s: %v", what, err)
		}
	}
	used := w.ticket(mine, id, "vnc")
	if _, _, err := w.open(mine, used); err != nil {
		t.Fatal(err)
	}
	refused("a used ticket", mine, used)
	refused("no ticket", mine, "")
	for what, ctx := range map[string]context.Context{
		"another session": w.session(11, 8), "another account": w.session(4, 7), "an administrator": w.admin(),
	} {
		stolen := w.ticket(mine, id, "vnc")
		refused(what, ctx, stolen)
		refused("a ticket that was tried", mine, stolen)
	}
	old := w.ticket(mine, id, "serial")
	if _, err := w.deps.Pool.Exec(t.Context(), `UPDATE console_ticket SET until = now()`); err != nil {
		t.Fatal(err)
	}
	refused("an old ticket", mine, old)
	left := func() (n int) {
		t.Helper()
		if err := w.deps.Pool.QueryRow(t.Context(), `SELECT count(*) FROM console_ticket`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if left() != 0 {
		t.Errorf("%d tickets are left", left())
	}
	for range 2 { // what was never used goes
		w.ticket(mine, id, "vnc")
		if _, err := w.deps.Pool.Exec(t.Context(), `UPDATE console_ticket SET until = now() - interval '1 s'`); err != nil {
			t.Fatal(err)
		}
	}
	if left() != 1 {
		t.Errorf("%d tickets are left, want the last one", left())
	}
	bad := func(ctx context.Context, r *vmpb.CreateConsoleTicketRequest, want codes.Code) {
		t.Helper()
		_, err := w.consoles().CreateConsoleTicket(ctx, r)
		if f, ok := fault.From(err); !ok || f.Code != want {
			t.Errorf("%v: %v", r, err)
		}
	}
	bad(mine, &vmpb.CreateConsoleTicketRequest{Id: id, Kind: "spice"}, codes.InvalidArgument)
	bad(mine, &vmpb.CreateConsoleTicketRequest{Id: id}, codes.InvalidArgument)
	bad(w.session(4, 7), &vmpb.CreateConsoleTicketRequest{Id: id, Kind: "vnc"}, codes.NotFound)
	bad(w.as(1, identity.RoleReadOnlyAdmin), &vmpb.CreateConsoleTicketRequest{Id: id, Kind: "vnc"}, codes.PermissionDenied)
}

// TestConsoleEnds: a console ends when the host goes to another account, and when it is deleted.
func TestConsoleEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mine := w.session(11, 7)
	for what, change := range map[string]func(id int32){
		"another owner": func(id int32) {
			if _, err := w.deps.Pool.Exec(t.Context(), `UPDATE host SET account_id = 4 WHERE id = $1`, id); err != nil {
				t.Fatal(err)
			}
		},
		"deleted": func(id int32) {
			r, err := w.hosts().DeleteHost(w.admin(), &vmpb.DeleteHostRequest{Id: id})
			if err != nil {
				t.Fatal(err)
			}
			w.done(r.GetTask())
		},
	} {
		c := w.create(w.as(11, identity.RoleUser), wish("web"))
		w.done(c.GetTask())
		s, _, err := w.open(mine, w.ticket(mine, c.GetId(), "vnc"))
		if err != nil {
			t.Fatal(err)
		}
		change(c.GetId())
		if _, err := s.Recv(); why(err) != fault.NotFound.Reason {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := w.consoles().CheckConsole(mine, &vmpb.CheckConsoleRequest{Id: c.GetId()}); why(err) != fault.NotFound.Reason {
			t.Errorf("%s: %v", what, err)
		}
	}
}
