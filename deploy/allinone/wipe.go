package allinone

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"slipway.dev/services/node"
)

// Wipe removes all machines of an installation and then its data. It refuses a directory that no stack ever used, and
// one that is in use.
func Wipe(ctx context.Context, data string, log *slog.Logger) error {
	if _, err := os.Stat(filepath.Join(data, idFile)); err != nil {
		return fmt.Errorf("%s holds no data of slipway", data)
	}
	unlock, err := lock(data)
	if err != nil {
		return err
	}
	defer unlock()
	id, err := stackID(data)
	if err != nil {
		return err
	}
	root := filepath.Join(data, "node")
	if _, err := os.Stat(root); !errors.Is(err, os.ErrNotExist) {
		n, err := node.Wipe(ctx, node.Config{Root: root, StackID: id, Hypervisor: node.Auto, Accel: "tcg"}, log)
		if err != nil {
			return fmt.Errorf("machines of %s: %w", data, err)
		}
		log.Info("machines removed", "count", n)
	}
	return os.RemoveAll(data)
}
