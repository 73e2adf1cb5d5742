// Package node is the agent on a hypervisor. It is the only service that touches libvirt, disks and bridges; vm alone
// commands it, and it refuses commands that newer ones overtook.
package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	nodepb "slipway.dev/proto/node/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/durable"
	"slipway.dev/pkg/fetch"
	"slipway.dev/pkg/rpc"
	"slipway.dev/services/node/internal/agent"
	"slipway.dev/services/node/internal/hyper"
	"slipway.dev/services/node/internal/journal"
	"slipway.dev/services/node/internal/libvirt"
	"slipway.dev/services/node/internal/ostemplate"
	"slipway.dev/services/node/internal/sim"
	"slipway.dev/services/node/internal/template"
	"slipway.dev/services/node/internal/traced"
)

// LocalEndpoint is the endpoint of an agent in the same process as vm.
const LocalEndpoint = "local"

// Hypervisors to choose from.
const (
	Auto    = "auto"
	Libvirt = "libvirt"
	Sim     = "sim"
)

// Config are the settings of an agent.
type Config struct {
	// ID is the node's id, from its certificate. It is empty for an agent without a certificate, in the process of vm.
	ID string `env:"-"`
	// Root holds machines, templates and the node's identity.
	Root string `env:"ROOT,required"`
	// StackID distinguishes machines of this installation from others on the same hypervisor.
	StackID string `env:"STACK_ID,required"`
	// Endpoint is where vm reaches the agent, "host:port".
	Endpoint string `env:"ENDPOINT,required"`
	// Templates is a directory of images with descriptions that are installed at start.
	Templates string `env:"TEMPLATES"`
	// Hypervisor is auto, libvirt or sim. auto takes libvirt, and sim where libvirt cannot work; what the first start
	// chose stays.
	Hypervisor string `env:"HYPERVISOR" envDefault:"libvirt"`
	// Accel is auto, kvm or tcg.
	Accel string `env:"ACCEL" envDefault:"auto"`
	Fetch Fetch  `envPrefix:"FETCH_"`
}

// Fetch says from where files are downloaded.
type Fetch struct {
	// Networks are those from which files are downloaded although they are not public: those of the operator's mirrors.
	Networks []netip.Prefix `env:"NETWORKS"`
	// Proxy carries all downloads, and decides what they reach.
	Proxy *url.URL `env:"PROXY"`
}

// Service is an agent, ready to run.
type Service struct {
	cfg    Config
	driver hyper.Driver
	agent  *agent.Agent
	server *rpc.Server
	vm     vmpb.NodeServiceClient
	log    *slog.Logger
	keeper keeper

	oses    *ostemplate.Store
	damaged int // records of the journal that were left out

	mu        sync.Mutex         // one sign of life at a time
	templates []*nodepb.Template // that vm has
	asOf      string             // what vm answered to them; "" if vm takes the whole list each time
}

// New opens the hypervisor and installs the templates. vm is the connection that signs of life go to.
func New(ctx context.Context, cfg Config, vm grpc.ClientConnInterface, log *slog.Logger) (*Service, error) {
	id, err := Identity(cfg.Root, cfg.ID)
	if err != nil {
		return nil, err
	}
	images, err := template.Open(cfg.Root)
	if err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	oses, err := ostemplate.Open(cfg.Root, images, log)
	if err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	if cfg.Templates != "" {
		if err := oses.AddAll(ctx, cfg.Templates); err != nil {
			return nil, fmt.Errorf("node: %w", err)
		}
	}
	marks, err := journal.Open(cfg.Root, time.Now)
	if err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	for _, err := range marks.Damaged() {
		log.Error("a record of a command is damaged and left out", "err", err)
	}
	downloads := filepath.Join(cfg.Root, "downloads")
	if err := errors.Join(os.RemoveAll(downloads), os.MkdirAll(downloads, 0o700)); err != nil { // the agent that began them is dead
		return nil, fmt.Errorf("node: %w", err)
	}
	s := &Service{cfg: cfg, vm: vmpb.NewNodeServiceClient(vm), log: log, oses: oses, damaged: len(marks.Damaged())}
	if s.driver, err = openDriver(ctx, cfg, id, images, log); err != nil {
		return nil, fmt.Errorf("node: %w", err)
	}
	if err := sameNode(ctx, s.driver, id); err != nil {
		return nil, errors.Join(err, s.driver.Close())
	}
	s.agent = agent.New(cfg.StackID, id, traced.Driver(s.driver, cfg.Hypervisor), marks, oses, downloads,
		fetch.Config{Allow: cfg.Fetch.Networks, Proxy: cfg.Fetch.Proxy})
	s.server = rpc.NewServer(log, nil)
	nodepb.RegisterNodeServiceServer(s.server, s.agent)
	return s, s.server.Check()
}

// sameNode refuses an identity that is not that of the machines here: a lost or copied node-id file would make this node
// another one, and its machines would belong to no node.
func sameNode(ctx context.Context, d hyper.Driver, id string) error {
	list, err := d.List(ctx)
	if err != nil {
		return fmt.Errorf("node: machines at the start: %w", err)
	}
	for _, o := range list {
		if o.Meta.NodeID != "" && o.Meta.NodeID != id {
			return fmt.Errorf("node: machine %s was defined by node %s and this is %s: bring back the file node-id", o.Name, o.Meta.NodeID, id)
		}
	}
	return nil
}

// openDriver opens the hypervisor that was chosen, and keeps the choice: machines of one are unknown to the other.
func openDriver(ctx context.Context, cfg Config, nodeID string, images *template.Store, log *slog.Logger) (hyper.Driver, error) {
	path := filepath.Join(cfg.Root, "hypervisor")
	before, err := durable.Read(path)
	if errors.Is(err, durable.ErrEmpty) && cfg.Hypervisor != Auto {
		err = nil // the choice is given, and is kept below
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	choice := cfg.Hypervisor
	if choice == Auto && before != "" {
		choice = before
	}
	if before != "" && choice != before {
		return nil, fmt.Errorf("%s was used with the hypervisor %s; take another directory for %s", cfg.Root, before, choice)
	}
	d, used, err := open(ctx, choice, cfg, nodeID, images, log)
	if err != nil {
		return nil, err
	}
	if used == before {
		return d, nil
	}
	return d, durable.Replace(path, []byte(used+"\n"), 0o644)
}

func open(ctx context.Context, choice string, cfg Config, nodeID string, images *template.Store, log *slog.Logger) (hyper.Driver, string, error) {
	switch choice {
	case Sim:
		d, err := sim.Open(sim.Config{
			StackID: cfg.StackID, NodeID: nodeID, Dir: filepath.Join(cfg.Root, "sim"),
			Log:         log,
			HasTemplate: func(sum string) bool { _, err := images.Get(sum); return err == nil },
		})
		return d, Sim, err
	case Libvirt, Auto:
		d, err := libvirt.Open(ctx, libvirt.Config{
			Root: cfg.Root, StackID: cfg.StackID, NodeID: nodeID, Accel: cfg.Accel, Log: log,
		})
		if err == nil || choice == Libvirt {
			return d, Libvirt, err
		}
		log.Warn("no hypervisor can be used here: machines are only simulated", "err", err)
		return open(ctx, Sim, cfg, nodeID, images, log)
	default:
		return nil, "", fmt.Errorf("hypervisor %q is none of auto, libvirt, sim", choice)
	}
}

// Server answers node's rpcs.
func (s *Service) Server() *rpc.Server { return s.server }

// Hypervisor says what runs the machines, for people.
func (s *Service) Hypervisor(ctx context.Context) string {
	f, err := s.driver.Facts(ctx)
	if err != nil {
		return "unknown"
	}
	return fmt.Sprintf("%s %s (%s)", f.Hypervisor, f.HypervisorVer, f.Accel)
}

// Register gives one sign of life. It has the templates if they changed since the last one, or vm wants them.
func (s *Service) Register(ctx context.Context) (next time.Duration, err error) {
	d, err := s.agent.Describe(ctx, &nodepb.DescribeRequest{})
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &vmpb.RegisterNodeRequest{Description: d, Endpoint: s.cfg.Endpoint}
	list := d.GetTemplates()
	if s.asOf != "" && slices.EqualFunc(list, s.templates, func(a, b *nodepb.Template) bool { return proto.Equal(a, b) }) {
		r.TemplatesAsOf, d.Templates = &s.asOf, nil
	}
	resp, err := s.vm.RegisterNode(ctx, r)
	if err == nil && r.TemplatesAsOf != nil && resp.GetTemplates() != s.asOf {
		r.TemplatesAsOf, d.Templates = nil, list
		resp, err = s.vm.RegisterNode(ctx, r)
	}
	if err != nil {
		return 0, err
	}
	s.templates, s.asOf = list, resp.GetTemplates()
	return time.Duration(resp.GetHeartbeatSeconds()) * time.Second, nil
}

// Run gives signs of life and repairs networks until ctx ends. Machines keep running.
func (s *Service) Run(ctx context.Context) error {
	var all sync.WaitGroup
	all.Go(func() { s.keeper.run(ctx, s.driver.Repair, s.log) })
	keepSigning(ctx, s.Register, &pace{random: rand.N[time.Duration]}, s.log)
	all.Wait()
	return nil
}

// Close closes the connection to the hypervisor. Machines keep running. No command may follow.
func (s *Service) Close() error { return s.driver.Close() }

// Wipe removes every machine of this installation from the node, and its networks. For an operator who gives up an
// installation; nothing else ever removes a machine without a command for it.
func Wipe(ctx context.Context, cfg Config, log *slog.Logger) (removed int, err error) {
	images, err := template.Open(cfg.Root)
	if err != nil {
		return 0, err
	}
	id, err := Identity(cfg.Root, cfg.ID)
	if err != nil {
		return 0, err
	}
	d, err := openDriver(ctx, cfg, id, images, log)
	if err != nil {
		return 0, err
	}
	list, err := d.List(ctx)
	for _, m := range list {
		if err = d.Remove(ctx, m.UUID); err != nil {
			break
		}
		removed++
	}
	return removed, errors.Join(err, d.Close())
}
