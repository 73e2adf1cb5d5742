// Package api registers vm's rpc services, each made of the rooms that answer it.
package api

import (
	"google.golang.org/grpc"

	authpb "slipway.dev/proto/auth/v4"
	ippb "slipway.dev/proto/ip/v3"
	outboxpb "slipway.dev/proto/outbox/v1"
	parkedpb "slipway.dev/proto/parked/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/fsck"
	"slipway.dev/pkg/rpc"
	"slipway.dev/pkg/unit"
	"slipway.dev/services/vm/internal/account"
	"slipway.dev/services/vm/internal/address"
	"slipway.dev/services/vm/internal/attach"
	"slipway.dev/services/vm/internal/cluster"
	"slipway.dev/services/vm/internal/console"
	vmfsck "slipway.dev/services/vm/internal/fsck"
	"slipway.dev/services/vm/internal/guest"
	"slipway.dev/services/vm/internal/host"
	"slipway.dev/services/vm/internal/image"
	"slipway.dev/services/vm/internal/ipchange"
	"slipway.dev/services/vm/internal/iso"
	"slipway.dev/services/vm/internal/leftover"
	"slipway.dev/services/vm/internal/metrics"
	"slipway.dev/services/vm/internal/node"
	"slipway.dev/services/vm/internal/owner"
	"slipway.dev/services/vm/internal/power"
	"slipway.dev/services/vm/internal/reinstall"
	"slipway.dev/services/vm/internal/rescue"
	"slipway.dev/services/vm/internal/resource"
	"slipway.dev/services/vm/internal/tag"
	"slipway.dev/services/vm/internal/task"
	"slipway.dev/services/vm/internal/volume"
	"slipway.dev/services/vm/internal/watch"
)

// Peers are the services that requests need.
type Peers struct {
	Auth, IP grpc.ClientConnInterface
	// Services are all of the installation, vm among them: those whose events are replayed or sent again.
	Services []fsck.Service
	Dial     node.Dial
	Fsck     *fsck.Checker
	Metrics  metrics.Source
	Limits   *task.Limits
}

// Names of the rooms' servers where several answer one service.
type (
	hostServer     = host.Server
	powerServer    = power.Server
	addressServer  = address.Server
	ipchangeServer = ipchange.Server
	consoleServer  = console.Server
	resourceServer = resource.Server
	nodeServer     = node.Server
	leftoverServer = leftover.Server
	watchServer    = watch.Server
	ownerServer    = owner.Server

	reinstallServer = reinstall.Server
	guestServer     = guest.Server
	rescueServer    = rescue.Server
	isoServer       = iso.Server
	attachServer    = attach.Server
)

// hosts answers vm.v3.HostService. An rpc that no room answers does not compile.
type hosts struct {
	vmpb.UnsafeHostServiceServer
	*hostServer
	*powerServer
	*addressServer
	*ipchangeServer
	*consoleServer
	*resourceServer
}

// upkeep answers vm.v3.UpkeepService.
type upkeep struct {
	vmpb.UnsafeUpkeepServiceServer
	*ownerServer
	*reinstallServer
	*guestServer
	*rescueServer
	*isoServer
	*attachServer
}

// nodes answers vm.v3.NodeService.
type nodes struct {
	vmpb.UnsafeNodeServiceServer
	*nodeServer
	*leftoverServer
	*watchServer
}

// consoles answers vm.v3.ConsoleService.
type consoles struct {
	vmpb.UnsafeConsoleServiceServer
	*console.Screens
}

// Register registers all services.
func Register(r grpc.ServiceRegistrar, db *unit.DB, p Peers) {
	accounts := account.NewDirectory(db, authpb.NewUserServiceClient(p.Auth))
	ip := ippb.NewAddressServiceClient(p.IP)
	reserver := address.Reserver{IP: ip}

	vmpb.RegisterTaskServiceServer(r, task.NewServer(db, p.Limits))
	a := account.NewServer(db, accounts)
	vmpb.RegisterAccountServiceServer(r, a)
	vmpb.RegisterLimitServiceServer(r, a)
	vmpb.RegisterClusterServiceServer(r, cluster.NewServer(db, ippb.NewPoolServiceClient(p.IP)))
	vmpb.RegisterNodeServiceServer(r, nodes{
		nodeServer: node.NewServer(db), leftoverServer: leftover.NewServer(db), watchServer: watch.NewServer(db),
	})
	vmpb.RegisterOSServiceServer(r, image.NewServer(db))
	vmpb.RegisterHostServiceServer(r, hosts{
		hostServer:  host.NewServer(db, host.Peers{Accounts: accounts, Addresses: reserver}),
		powerServer: power.NewServer(db), addressServer: address.NewServer(db),
		ipchangeServer: ipchange.NewServer(db, reserver), consoleServer: console.NewServer(db, p.Dial),
		resourceServer: resource.NewServer(db),
	})
	vmpb.RegisterTagServiceServer(r, tag.NewServer(db))
	vmpb.RegisterUpkeepServiceServer(r, upkeep{
		ownerServer: owner.NewServer(db, accounts), reinstallServer: reinstall.NewServer(db), guestServer: guest.NewServer(db),
		rescueServer: rescue.NewServer(db), isoServer: iso.NewServer(db, p.Dial), attachServer: attach.NewServer(db),
	})
	vmpb.RegisterDiskServiceServer(r, volume.NewServer(db, accounts))
	vmpb.RegisterConsoleServiceServer(r, consoles{Screens: console.NewScreens(db, p.Dial)})
	vmpb.RegisterMetricServiceServer(r, metrics.NewServer(db, p.Metrics))
	events := map[string]vmfsck.Events{}
	for _, s := range p.Services {
		conn := rpc.OnBehalf(s.Conn)
		events[s.Name] = vmfsck.Events{Parked: parkedpb.NewParkedServiceClient(conn), Outbox: outboxpb.NewOutboxServiceClient(conn)}
	}
	vmpb.RegisterFsckServiceServer(r, vmfsck.NewServer(p.Fsck, events))
}
