package hypertest

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"slipway.dev/services/node/internal/hyper"
)

// Hash is a crypt(3) hash.
const Hash = "$6$slipwayslipway$9ktoy8FYPevnY6836WGVrhcnUvL2VMFw135j8pUODokI5UdSfKYVdz/ZC5.J8jMdyovJnptmCjS49VTtnQens."

// silent: a guest that is off, does not exist or has no agent is no error of the node, but a fault with a name.
func silent(s suite) {
	ctx, m := context.Background(), Machine(s.T, s.d)
	if s.o.Mute != nil {
		s.o.Mute(s.T, s.d, m.UUID)
	}
	ask := func(when string, id uuid.UUID) {
		s.Helper()
		_, err := s.d.GuestAddresses(ctx, id)
		s.is("GuestAddresses "+when, err, hyper.ErrNoAgent)
		s.is("SetGuestPassword "+when, s.d.SetGuestPassword(ctx, id, Hash), hyper.ErrNoAgent)
	}
	ask("of an unknown machine", uuid.New())
	s.ok("Define", s.d.Define(ctx, m))
	ask("of a machine that is off", m.UUID)
	s.ok("Start", s.d.Start(ctx, m.UUID))
	ask("without an agent", m.UUID)
	for _, bad := range []string{"", "secret", "$6$a$b\nroot:x", "$6$a:b$c"} {
		s.is("SetGuestPassword "+bad, s.d.SetGuestPassword(ctx, m.UUID, bad), hyper.ErrInvalid)
	}
	s.power(m.UUID, hyper.Running)
}

// guest: the agent in a guest knows the addresses and sets the password, which ends with the start after it.
func guest(s suite) {
	ctx, m := context.Background(), Machine(s.T, s.d)
	s.ok("Define", s.d.Define(ctx, m))
	s.ok("Start", s.d.Start(ctx, m.UUID))
	list, err := s.d.GuestAddresses(ctx, m.UUID)
	s.ok("GuestAddresses", err)
	if !slices.Equal(list, seedAddresses()) {
		s.Errorf("addresses %v, want %v", list, seedAddresses())
	}
	for range 2 {
		s.ok("SetGuestPassword", s.d.SetGuestPassword(ctx, m.UUID, Hash))
		if got := s.o.Login(s.T, s.d, m.UUID); got != Hash {
			s.Errorf("the guest has %q", got)
		}
	}
}
