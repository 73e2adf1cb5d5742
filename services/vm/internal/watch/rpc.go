// Package watch keeps what the nodes say: their signs of life, and what machines they have.
package watch

import (
	"context"

	"github.com/google/uuid"

	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/image"
	"slipway.dev/services/vm/internal/node"
	"slipway.dev/services/vm/internal/power"
)

// heartbeatSeconds is how often agents send a sign of life; a node is unavailable after about three are missed.
const heartbeatSeconds = 10

// atOnce is how many signs of life are stored at once: when all nodes come back together, the others must not wait for
// a connection to the database.
const atOnce = 4

// Server answers the part of vm.v3.NodeService that agents call.
type Server struct {
	db    *unit.DB
	signs chan struct{} // a place for each sign of life that is being stored
}

// NewServer returns a Server.
func NewServer(db *unit.DB) *Server { return &Server{db, make(chan struct{}, atOnce)} }

// RegisterNode keeps a sign of life. After a reboot of the node, the hosts that are to run are started again.
func (s *Server) RegisterNode(ctx context.Context, r *vmpb.RegisterNodeRequest) (*vmpb.RegisterNodeResponse, error) {
	d := r.GetDescription()
	id, err := uuid.Parse(d.GetUuid())
	if err != nil {
		return nil, fault.Invalid.With("not a UUID").On("description.uuid")
	}
	if err := node.CheckAgent(rpc.NodeOf(ctx), id); err != nil {
		return nil, err
	}
	select {
	case s.signs <- struct{}{}:
		defer func() { <-s.signs }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	resp := &vmpb.RegisterNodeResponse{HeartbeatSeconds: heartbeatSeconds}
	err = s.db.InTx(ctx, func(tx *unit.Tx) error {
		known, err := node.Register(ctx, tx, node.Description{
			StackID: d.GetStackId(), UUID: id, Name: d.GetHostname(), Endpoint: r.GetEndpoint(),
			CPUs: d.GetCpuNumber(), CPUModel: d.GetCpuModel(), RAM: d.GetRamMib(),
			StorageMiB: d.GetStorageMib(), StorageFreeMiB: d.GetStorageFreeMib(),
			Hypervisor: d.GetHypervisor(), Accel: d.GetAccel(), Kernel: d.GetKernelVersion(), OS: d.GetOsVersion(),
			QEMU: d.GetQemuVersion(), Libvirt: d.GetLibvirtVersion(), BootID: d.GetBootId(), Bridge: d.GetBridge(), DNS: d.GetDns(),
			Features: d.GetFeatures(),
		})
		if err != nil {
			return err
		}
		resp.Id, resp.Templates = known.ID, known.Templates
		if r.TemplatesAsOf == nil {
			if resp.Templates, err = keepTemplates(ctx, tx, known, image.Versions(d.GetTemplates())); err != nil {
				return err
			}
		}
		if known.Rebooted {
			return power.StartAgain(ctx, tx, known.ID)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return resp, nil
}

// keepTemplates stores a node's list of templates and returns its digest. A list that is known already writes nothing.
func keepTemplates(ctx context.Context, tx *unit.Tx, known node.Known, list []image.Version) (string, error) {
	digest := image.Digest(list)
	if digest == known.Templates {
		return digest, nil
	}
	if err := image.Sync(ctx, tx, known.ID, list); err != nil {
		return "", err
	}
	return digest, node.KeepTemplates(ctx, tx, known.ID, digest)
}
