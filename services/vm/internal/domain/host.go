// Package domain holds the rules of hosts: what may be asked for, and which state follows which. It touches nothing.
package domain

import (
	"crypto/sha256"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"

	"slipway.dev/pkg/fault"
)

// State is the dialect's word for what a host is doing.
type State string

// States of a host. Paused is ours: the hypervisor holds the guest, for lack of disk space for instance.
const (
	Creating State = "creating"
	Active   State = "active"
	Stopped  State = "stopped"
	Starting State = "starting"
	Stopping State = "stopping"
	Deleting State = "deleting"
	Crashed  State = "crashed"
	Paused   State = "paused"
	Unknown  State = "unknown"
)

// What the owner wants of a host.
const (
	WantActive  = "active"
	WantStopped = "stopped"
	WantAbsent  = "absent"
)

// ErrDeleting refuses every wish for a host that is being deleted.
var ErrDeleting = fault.New(codes.FailedPrecondition, "HOST_DELETING", "the host is being deleted")

// Host is a virtual machine as vm keeps it.
type Host struct {
	ID           int32
	UUID         uuid.UUID
	Name         string
	Comment      string
	Domain       string
	Hostname     string
	State        State
	Wanted       string
	AccountID    int32
	ClusterID    int32
	NodeID       int32
	OSID         int32
	CPUs         int32
	RAM          int32 // MiB
	MAC          net.HardwareAddr
	AntiSpoofing bool
	PasswordHash string
	SSHKeys      []string
	CreatedAt    time.Time
}

// Disk is a disk of a host.
type Disk struct {
	ID        int32
	Name      string
	SizeMiB   int32
	BootOrder int32
	Template  string
}

// Start records the wish that the host runs.
func (h *Host) Start() error {
	if h.State == Deleting {
		return ErrDeleting.With("host %d is being deleted", h.ID)
	}
	h.Wanted = WantActive
	if h.State != Creating && h.State != Active {
		h.State = Starting
	}
	return nil
}

// Stop records the wish that the host does not run.
func (h *Host) Stop() error {
	if h.State == Deleting {
		return ErrDeleting.With("host %d is being deleted", h.ID)
	}
	h.Wanted = WantStopped
	if h.State != Creating && h.State != Stopped {
		h.State = Stopping
	}
	return nil
}

// Restart records the wish that the host stops and runs again.
func (h *Host) Restart() error {
	if err := h.Stop(); err != nil {
		return err
	}
	h.Wanted = WantActive
	return nil
}

// Delete records the wish that the host is gone. A second wish is refused: the first is being carried out.
func (h *Host) Delete() error {
	if h.State == Deleting {
		return ErrDeleting.With("host %d is being deleted already", h.ID)
	}
	h.State, h.Wanted = Deleting, WantAbsent
	return nil
}

// MAC derives the host's hardware address from its UUID, so that a repeated step makes the same card. The first byte
// marks it as locally administered.
func MAC(id uuid.UUID) net.HardwareAddr {
	sum := sha256.Sum256(id[:])
	return net.HardwareAddr{0x52, 0x54, sum[0], sum[1], sum[2], sum[3]}
}

var (
	nameForm  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9 ._-]{0,61}[A-Za-z0-9._-])?$`)
	labelForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	notLabel  = regexp.MustCompile(`[^a-z0-9]+`)
)

// CheckName refuses a name that is empty, longer than 63 or made of other than letters, digits, spaces, dots, dashes and underscores.
func CheckName(name string) error {
	if !nameForm.MatchString(name) {
		return fault.Invalid.With("1 to 63 letters, digits, dots, dashes, underscores or spaces, beginning with a letter or digit").On("name")
	}
	return nil
}

// CheckComment refuses a comment of more than 4096 bytes.
func CheckComment(comment string) error {
	if len(comment) > 4096 || strings.ContainsRune(comment, 0) {
		return fault.Invalid.With("at most 4096 characters, no zero byte").On("comment")
	}
	return nil
}

// CheckDomain refuses what is not a host name in the sense of RFC 1123.
func CheckDomain(domain string) error {
	labels := strings.Split(strings.ToLower(strings.TrimSuffix(domain, ".")), ".")
	for _, l := range labels {
		if !labelForm.MatchString(l) || len(domain) > 253 {
			return fault.Invalid.With("%.60q is not a host name", domain).On("domain")
		}
	}
	return nil
}

// Label makes a host name label of any name.
func Label(name string) string {
	l := strings.Trim(notLabel.ReplaceAllString(strings.ToLower(name), "-"), "-")
	if len(l) > 63 {
		l = strings.TrimRight(l[:63], "-")
	}
	if l == "" {
		return "host"
	}
	return l
}

// Hostname returns what the guest calls itself, and its domain: the given one, or one made from the cluster's template.
func Hostname(name, domain, template string) (hostname, fqdn string) {
	if domain == "" {
		hostname = Label(name)
		return hostname, strings.ReplaceAll(template, "{name}", hostname)
	}
	domain = strings.ToLower(strings.TrimSuffix(domain, "."))
	hostname, _, _ = strings.Cut(domain, ".")
	return hostname, domain
}
