package hyper

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/google/uuid"
)

// Tag is the eight hex digits that keep the names of several stacks on one machine apart.
func Tag(stackID string) string {
	sum := sha256.Sum256([]byte(stackID))
	return hex.EncodeToString(sum[:4])
}

// DomainName is the name of a definition: safe in paths, at most 20 bytes for host ids below a million because libvirt
// cuts there when it names a machine's sockets.
func DomainName(stackID string, hostID int32, machine uuid.UUID) string {
	if hostID > 0 {
		return fmt.Sprintf("slip-%s-%d", Tag(stackID), hostID)
	}
	return fmt.Sprintf("slip-%s-%s", Tag(stackID), machine)
}

// BridgeName names the bridge of the n-th network of a stack, within the 15 bytes that the kernel allows.
func BridgeName(stackID string, n uint32) string {
	return "s" + Tag(stackID) + "-" + strconv.FormatUint(uint64(n%(36*36*36*36*36)), 36)
}

// TapName names the host's end of a machine's n-th card: the same for the same machine, distinct between stacks.
func TapName(stackID string, machine uuid.UUID, n int) string {
	sum := sha256.Sum256([]byte(stackID + "/" + machine.String() + "/" + strconv.Itoa(n)))
	return "t" + hex.EncodeToString(sum[:7])
}

// NFTable is the name of the stack's own nftables tables.
func NFTable(stackID string) string { return "slipway_" + Tag(stackID) }
