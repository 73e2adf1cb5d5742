package node

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/uuid"

	"slipway.dev/pkg/durable"
)

// Identity returns the id of the node whose data directory is root, which the file node-id there holds. The first start makes
// the file: with the id that the agent's certificate names, or with a new id if certified is empty. An id that differs from the
// certificate's is an error. The id never follows from the host name: renaming a machine must not make it another node.
func Identity(root, certified string) (string, error) {
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", fmt.Errorf("node: %w", err)
	}
	path := filepath.Join(root, "node-id")
	text, err := durable.Create(path, 0o644, func() (string, error) {
		if certified != "" {
			return certified, nil
		}
		return uuid.NewString(), nil
	})
	if err != nil {
		return "", fmt.Errorf("node: %w", err)
	}
	id, err := uuid.Parse(text)
	if err != nil {
		return "", fmt.Errorf("node: %s does not hold a UUID", path)
	}
	if certified != "" && certified != id.String() {
		return "", fmt.Errorf("node: the certificate is of node %s, and %s says that this is node %s. Issue a certificate for this "+
			"node by `slipway-init node %s`; or, if no machine here is of that node, remove the file", certified, path, id, id)
	}
	return id.String(), nil
}
