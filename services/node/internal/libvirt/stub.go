//go:build !libvirt_dlopen

package libvirt

import (
	"context"
	"errors"

	"slipway.dev/services/node/internal/hyper"
)

// Driver is missing in this build.
type Driver struct{ hyper.Driver }

// Open returns an error: the driver needs -tags libvirt_dlopen and cgo.
func Open(context.Context, Config) (*Driver, error) {
	return nil, errors.New("this build has no libvirt driver: build with CGO_ENABLED=1 and -tags libvirt_dlopen")
}
