package hyper

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/google/uuid"
)

// Tag returns eight hex digits that distinguish the names of several stacks on one machine.
func Tag(stackID string) string {
	sum := sha256.Sum256([]byte(stackID))
	return hex.EncodeToString(sum[:4])
}

// DomainName returns the name of a definition. The name is safe in paths, and at most 20 bytes long for host ids below a million,
// because libvirt cuts longer names for the sockets of a machine.
func DomainName(stackID string, hostID int32, machine uuid.UUID) string {
	if hostID > 0 {
		return fmt.Sprintf("slip-%s-%d", Tag(stackID), hostID)
	}
	return fmt.Sprintf("slip-%s-%s", Tag(stackID), machine)
}

// BridgeName returns the name of the bridge of a stack's n-th network, within the 15 bytes that the kernel allows.
func BridgeName(stackID string, n uint32) string {
	return "s" + Tag(stackID) + "-" + strconv.FormatUint(uint64(n%(36*36*36*36*36)), 36)
}

// TapName returns the name of the host's end of a machine's n-th card: stable for the machine, distinct between stacks.
func TapName(stackID string, machine uuid.UUID, n int) string {
	sum := sha256.Sum256([]byte(stackID + "/" + machine.String() + "/" + strconv.Itoa(n)))
	return "t" + hex.EncodeToString(sum[:7])
}

// NFTable returns the name of the stack's own nftables tables.
func NFTable(stackID string) string { return "slipway_" + Tag(stackID) }
