package console

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

var (
	errTicket  = fault.New(codes.PermissionDenied, "CONSOLE_TICKET", "the ticket is not valid")
	errStopped = fault.New(codes.FailedPrecondition, "MACHINE_NOT_RUNNING", "the machine does not run")
	errSilent  = fault.New(codes.Unavailable, "NODE_SILENT", "the node does not answer")
)

// Path is where clients open consoles.
const Path = "/vm/v3/console"

// ticketFor is how long a ticket waits for its use.
const ticketFor = 30 * time.Second

// kinds are the consoles that hosts have.
var kinds = []string{"serial", "vnc"}

// newTicket returns a ticket and the hash that is kept of it.
func newTicket() (text string, hash []byte) {
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // it never fails
	text = hex.EncodeToString(secret[:])
	return text, hashOf(text)
}

// hashOf needs no salt and no work factor: a ticket has 256 random bits.
func hashOf(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

// ticket is what a ticket stands for.
type ticket struct {
	HostID    int32
	AccountID int32
	SessionID int32
	Kind      string
	Fresh     bool // it is not too old
}

// check refuses a ticket that is too old, or another caller's.
func (t ticket) check(account, session int32) error {
	if !t.Fresh || t.AccountID != account || t.SessionID != session {
		return errTicket
	}
	return nil
}
