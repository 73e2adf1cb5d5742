// Package stack composes the services of an installation in one process, with plain calls between them. slipway up,
// the set-up of separate services and the tests of whole installations all use it. Agents and gateways are not part
// of the composition: they are created with connections from it.
package stack

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5/pgxpool"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"slipway.dev/deploy/parts"
	"slipway.dev/pkg/bus"
	"slipway.dev/pkg/fault"
	"slipway.dev/pkg/identity"
	"slipway.dev/pkg/obs"
	"slipway.dev/pkg/pg"
	"slipway.dev/pkg/pki"
	"slipway.dev/pkg/program"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/run"
	"slipway.dev/pkg/service"
)

// Config is the configuration of a stack.
type Config struct {
	// Parts are the services to run, by default all of parts.All. A test leaves services out here, replaces or adds them.
	Parts []parts.Part
	// Settings are those of all services, under the names of the programs' environment variables.
	Settings map[string]string
	// Pools are the connection pools of the services' schemas, by service.
	Pools map[string]*pgxpool.Pool
	// Guard is that of all pools; nil where timelines do not matter.
	Guard *pg.Guard
	Bus   *bus.Bus
	Log   *slog.Logger
	// Wrap, when it is set, returns what caller uses as its connection to a service, such as one that sometimes fails.
	Wrap func(caller, service string, conn grpc.ClientConnInterface) grpc.ClientConnInterface
	// Dial, when it is set, connects to the agents of nodes in place of those that AddAgent adds.
	Dial func(node, endpoint string) (grpc.ClientConnInterface, error)
}

// Stack is one process of an installation: one replica of each service.
type Stack struct {
	cfg   Config
	names []string // in the order of the table

	mu      sync.Mutex
	servers map[string]*rpc.Server // of the services that are made already, and of agents by agentName
	made    map[string]program.Service
}

// New creates the services in the order of the table. Nothing runs yet. Another replica is another stack on the same
// schemas.
func New(ctx context.Context, cfg Config) (*Stack, error) {
	if cfg.Parts == nil {
		cfg.Parts = parts.All()
	}
	s := &Stack{cfg: cfg, servers: map[string]*rpc.Server{}, made: map[string]program.Service{}}
	list := parts.Services(cfg.Parts)
	for _, p := range list {
		s.names = append(s.names, p.Name)
	}
	for _, p := range list {
		if cfg.Pools[p.Name] == nil {
			return nil, fmt.Errorf("stack: no database for %s", p.Name)
		}
		svc, err := p.New(ctx, cfg.Settings, service.Deps{
			Pool: cfg.Pools[p.Name], Guard: cfg.Guard, Bus: cfg.Bus, Log: cfg.Log.With("service", p.Name), Peers: s.Peers(p.Name), Dial: s.dial,
		})
		if err != nil {
			return nil, err
		}
		if err := reads(p, svc); err != nil {
			return nil, err
		}
		s.made[p.Name] = svc
		s.addServer(p.Name, svc.Server())
	}
	return s, nil
}

// reads returns an error when a service takes in events of another one without its line in the table saying so: as a process of its
// own the service could not read them.
func reads(p parts.Part, svc program.Service) error {
	takes, ok := svc.(interface{ Takes() []string })
	if !ok {
		return nil
	}
	for _, from := range takes.Takes() {
		if from != p.Name && !slices.Contains(p.Reads, from) {
			return fmt.Errorf("stack: %s takes in events of %s, which its line of the table does not name", p.Name, from)
		}
	}
	return nil
}

// Peers returns connections of caller to all other services.
func (s *Stack) Peers(caller string) service.Peers {
	peers := service.Peers{}
	for _, name := range s.names {
		if name != caller {
			peers[name] = s.Conn(name, caller)
		}
	}
	return peers
}

// Conn returns a connection of caller to a service.
func (s *Stack) Conn(service, caller string) grpc.ClientConnInterface {
	return s.conn(service, caller, func(x *rpc.Server) grpc.ClientConnInterface { return x.Local(caller) })
}

// AgentConn returns a connection of the agent of the node with this id to vm.
func (s *Stack) AgentConn(node string) grpc.ClientConnInterface {
	return s.conn("vm", pki.NodeService, func(x *rpc.Server) grpc.ClientConnInterface { return x.LocalNode(node) })
}

func (s *Stack) conn(service, caller string, connect func(*rpc.Server) grpc.ClientConnInterface) grpc.ClientConnInterface {
	conn := grpc.ClientConnInterface(&local{server: func() (*rpc.Server, error) { return s.server(service) }, connect: connect})
	if s.cfg.Wrap != nil {
		conn = s.cfg.Wrap(caller, service, conn)
	}
	return conn
}

// AddAgent makes an agent of this process reachable for the services, as the agent of this node at an endpoint.
func (s *Stack) AddAgent(node, endpoint string, agent *rpc.Server) {
	s.addServer(agentName(node, endpoint), agent)
}

func agentName(node, endpoint string) string { return "the agent of node " + node + " at " + endpoint }

// dial connects vm, the only caller of agents, to the agent of a node at an endpoint.
func (s *Stack) dial(node, endpoint string) (grpc.ClientConnInterface, error) {
	if s.cfg.Dial != nil {
		return s.cfg.Dial(node, endpoint)
	}
	agent, err := s.server(agentName(node, endpoint))
	if err != nil {
		return nil, fault.NotAsked.Wrap(err)
	}
	return agent.Local("vm"), nil
}

func (s *Stack) addServer(name string, server *rpc.Server) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.servers[name] = server
}

func (s *Stack) server(name string) (*rpc.Server, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if server := s.servers[name]; server != nil {
		return server, nil
	}
	return nil, fmt.Errorf("%s is not in this process", name)
}

// AsAdmin returns a context with the identity of the first administrator, as whom the installation itself acts.
func (s *Stack) AsAdmin(ctx context.Context) (context.Context, error) {
	auth, ok := s.made["auth"].(interface {
		AdminIdentity(ctx context.Context) (string, error)
	})
	if !ok {
		return ctx, errors.New("stack: there is no auth that signs")
	}
	id, err := auth.AdminIdentity(ctx)
	return metadata.AppendToOutgoingContext(ctx, identity.MetadataKey, id), err
}

// Observe adds the metrics of all services to o.
func (s *Stack) Observe(o *obs.Obs) {
	for _, name := range s.names {
		s.made[name].Observe(o)
	}
}

// Run runs the services until ctx ends or one of them fails.
func (s *Stack) Run(ctx context.Context) error {
	var all []run.Service
	for _, name := range s.names {
		all = append(all, s.made[name])
	}
	return run.All(ctx, all...)
}
