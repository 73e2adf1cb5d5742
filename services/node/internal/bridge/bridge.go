// Package bridge makes the host's side of the guests' networks: bridges by netlink; translation, forwarding and
// anti-spoofing by nftables, in tables of the stack's own. Rules and bridges of others stay unchanged.
package bridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/vishvananda/netlink"

	"slipway.dev/pkg/durable"
	"slipway.dev/services/node/internal/hyper"
)

// aliasOfAll begins the alias of the bridges of every stack.
const aliasOfAll = "slipway "

// Bridges are the networks of one stack on this host.
type Bridges struct {
	tag   string // of the stack
	table string
	dir   string

	damaged []error // files that were left out

	mu    sync.Mutex
	nets  map[string]hyper.Network // what each bridge must have, kept in dir
	cards hyper.Cards
}

// Open reads from root/networks what the bridges had. It changes nothing.
func Open(root, stackID string) (*Bridges, error) {
	b := &Bridges{
		tag: aliasOfAll + hyper.Tag(stackID), table: hyper.NFTable(stackID),
		dir: filepath.Join(root, "networks"), nets: map[string]hyper.Network{},
	}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return nil, fmt.Errorf("make network directory: %w", err)
	}
	files, err := os.ReadDir(b.dir)
	if err != nil {
		return nil, fmt.Errorf("list networks: %w", err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".json") {
			continue
		}
		var n hyper.Network
		raw, err := os.ReadFile(filepath.Join(b.dir, f.Name()))
		if err == nil {
			err = json.Unmarshal(raw, &n)
		}
		if err == nil {
			err = n.Check()
		}
		if err != nil {
			b.damaged = append(b.damaged, fmt.Errorf("read network %s: %w", f.Name(), err))
			continue
		}
		b.nets[n.Name] = n
	}
	return b, nil
}

// Damaged returns what was left out when the files were read. Definitions say what machines need of a bridge, so a file
// is missed only by machines that an older version defined.
func (b *Bridges) Damaged() []error { return b.damaged }

// Load learns the cards of the machines by their definitions, and makes the bridges have what the cards need.
func (b *Bridges) Load(cards map[uuid.UUID][]hyper.NIC) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for machine, list := range cards {
		b.cards.Set(machine, list)
	}
	if err := b.adopt(); err != nil {
		return err
	}
	return b.follow(slices.Collect(maps.Keys(b.nets)))
}

// Use makes the bridges have what the cards of a machine need, and gives up what its cards before these alone needed. A
// machine that is gone has no cards; then bridges also give up what was asked for by Ensure and no machine needs.
func (b *Bridges) Use(machine uuid.UUID, cards []hyper.NIC) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.follow(b.cards.Follow(machine, cards, b.nets))
}

// follow makes the bridges of these names have what their machines need.
func (b *Bridges) follow(names []string) error {
	if len(names) == 0 {
		return nil
	}
	var errs []error
	for _, name := range names {
		errs = append(errs, b.ensure(hyper.Network{Name: name}))
	}
	_, err := b.ensureRules()
	return errors.Join(append(errs, explain("set rules", err))...)
}

// adopt adds the bridges of this stack that no file speaks of.
func (b *Bridges) adopt() error {
	links, err := netlink.LinkList()
	if err != nil {
		return explain("list links", err)
	}
	for _, l := range links {
		name := l.Attrs().Name
		if _, known := b.nets[name]; !known && b.ours(l) && l.Type() == "bridge" {
			b.nets[name] = hyper.Network{Name: name}
		}
	}
	return nil
}

// Ensure makes the bridge exist and be up, with the addresses of the request and those that the machines on it need but
// no others, and its packets be forwarded and translated. Ensure uses a bridge that another program made as it is: it
// adds missing addresses and takes nothing away. Each call looks at what is there: other programs change bridges and
// rules too.
func (b *Bridges) Ensure(n hyper.Network) error {
	if err := n.Check(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.free(n); err != nil {
		return err
	}
	if err := b.ensure(n); err != nil {
		return err
	}
	_, err := b.ensureRules()
	return explain("set rules", err)
}

// ensure makes one bridge have what the request and its machines need.
func (b *Bridges) ensure(asked hyper.Network) error {
	n := b.cards.Needs(asked, b.nets[asked.Name])
	if _, err := b.settle(n); err != nil {
		return err
	}
	if !n.Equal(b.nets[n.Name]) {
		if err := b.save(n); err != nil {
			return err
		}
		b.nets[n.Name] = n
	}
	return nil
}

// settle makes one bridge as n says, and returns what was missing.
func (b *Bridges) settle(n hyper.Network) (hyper.Repairs, error) {
	done := hyper.Repairs{}
	link, made, err := b.link(n)
	if err != nil {
		return done, explain("make bridge "+n.Name, err)
	}
	added, err := addresses(link, n.Addresses, b.ours(link))
	if err != nil {
		return done, explain("set addresses of "+n.Name, err)
	}
	down := link.Attrs().Flags&net.FlagUp == 0
	if down {
		if err := netlink.LinkSetUp(link); err != nil {
			return done, explain("set up "+n.Name, err)
		}
	}
	if made || added || down {
		done["bridge"]++
	}
	set, err := forwarding(n)
	if set {
		done["forwarding"]++
	}
	return done, explain("enable forwarding", err)
}

// Remove deletes the bridge. A bridge that another program made only loses our rules.
func (b *Bridges) Remove(name string) error {
	if err := (hyper.Network{Name: name}).Check(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.remove(name)
}

func (b *Bridges) remove(name string) error {
	link, err := netlink.LinkByName(name)
	switch {
	case gone(err):
	case err != nil:
		return explain("find bridge "+name, err)
	case b.ours(link):
		ports, err := portsOf(link)
		if err != nil {
			return explain("list ports of "+name, err)
		}
		if len(ports) > 0 {
			return hyper.ErrNetworkInUse.With("%d ports are plugged into %s", len(ports), name)
		}
		if err := netlink.LinkDel(link); err != nil && !gone(err) {
			return explain("remove bridge "+name, err)
		}
	}
	if _, known := b.nets[name]; !known {
		return nil
	}
	if err := os.Remove(filepath.Join(b.dir, name+".json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget network: %w", err)
	}
	delete(b.nets, name)
	_, err = b.ensureRules()
	return explain("set rules", err)
}

// Check returns an error if a machine cannot be plugged into the bridge.
func (b *Bridges) Check(name string) error {
	link, err := netlink.LinkByName(name)
	if gone(err) {
		return hyper.ErrNoNetwork.With("bridge %s is not there", name)
	}
	if err != nil {
		return explain("find bridge "+name, err)
	}
	if link.Type() != "bridge" {
		return hyper.ErrNoNetwork.With("%s is not a bridge", name)
	}
	if link.Attrs().Flags&net.FlagUp == 0 {
		return hyper.ErrNoNetwork.With("bridge %s is down", name)
	}
	return nil
}

// Close removes our bridges that have no ports.
func (b *Bridges) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var errs []error
	for _, n := range b.sorted() {
		if err := b.remove(n.Name); err != nil && !errors.Is(err, hyper.ErrNetworkInUse) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, explain("remove rules", b.dropIdleGuard()))...)
}

func (b *Bridges) sorted() []hyper.Network {
	out := make([]hyper.Network, 0, len(b.nets))
	for _, n := range b.nets {
		out = append(out, n)
	}
	slices.SortFunc(out, func(x, y hyper.Network) int { return strings.Compare(x.Name, y.Name) })
	return out
}

func (b *Bridges) save(n hyper.Network) error {
	raw, err := json.Marshal(n)
	if err != nil {
		return err
	}
	if err := durable.Replace(filepath.Join(b.dir, n.Name+".json"), raw, 0o600); err != nil {
		return fmt.Errorf("keep network: %w", err)
	}
	return nil
}
