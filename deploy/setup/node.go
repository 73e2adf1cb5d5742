package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"

	"slipway.dev/pkg/durable"
	"slipway.dev/pkg/pki"
)

// composed are the nodes of docker-compose.yml. Each has a directory of keys and a data directory of this name.
var composed = []string{"node", "node-libvirt"}

// certificate is a certificate that Keys issues and Renew renews.
type certificate struct {
	dir, service string
	uris         []*url.URL
}

func (x certificate) due(ca *pki.Authority, now time.Time) bool {
	return ca.Due(x.dir, x.service, now, x.uris...)
}

func (x certificate) deliver(ca *pki.Authority, life time.Duration) error {
	if err := os.MkdirAll(x.dir, 0o755); err != nil {
		return err
	}
	if err := ca.Deliver(x.dir, x.service, life, x.uris...); err != nil {
		return fmt.Errorf("certificate in %s: %w", x.dir, err)
	}
	return nil
}

// certificates returns the certificates of all services, of the nodes of compose, and of further nodes.
func (c Config) certificates() ([]certificate, error) {
	var list []certificate
	for _, p := range c.table() {
		if p.Name != pki.NodeService {
			list = append(list, certificate{dir: filepath.Join(c.Keys, p.Name), service: p.Name})
		}
	}
	for _, name := range composed {
		id, err := c.nodeID(name)
		if err != nil {
			return nil, err
		}
		list = append(list, ofNode(filepath.Join(c.Keys, name), id))
	}
	further, err := os.ReadDir(c.furtherNode(""))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, f := range further {
		if id, err := uuid.Parse(f.Name()); err == nil {
			list = append(list, ofNode(c.furtherNode(f.Name()), id))
		}
	}
	return list, nil
}

func ofNode(dir string, id uuid.UUID) certificate {
	return certificate{dir, pki.NodeService, []*url.URL{pki.NodeURI(id)}}
}

// furtherNode is the directory of keys of a node that compose does not run. An operator copies it to the node.
func (c Config) furtherNode(id string) string { return filepath.Join(c.Authority, "nodes", id) }

// nodeIDFile holds the id of a node of compose.
func (c Config) nodeIDFile(name string) string { return filepath.Join(c.Authority, name+"-id") }

// nodeID returns the id of a node of compose, and chooses it at the first time: the id that the node has already, from before
// certificates named nodes, or a new one.
func (c Config) nodeID(name string) (uuid.UUID, error) {
	path := c.nodeIDFile(name)
	text, err := durable.Create(path, 0o600, func() (string, error) {
		id, err := durable.Read(filepath.Join(c.Data, name, "node-id"))
		if errors.Is(err, fs.ErrNotExist) {
			return uuid.NewString(), nil
		}
		return id, err
	})
	if err != nil {
		return uuid.Nil, fmt.Errorf("id of %s: %w", name, err)
	}
	id, err := uuid.Parse(text)
	if err != nil {
		return uuid.Nil, fmt.Errorf("id of %s: %s does not hold a UUID", name, path)
	}
	return id, nil
}

// Node issues the certificate of the node with this id, or of a new node if id is empty, and returns the directory of its keys.
// The node is the one of compose that name says, whose id becomes this one, or, if name is empty, a further node.
func Node(c Config, id, name string) (dir string, err error) {
	if name != "" && !slices.Contains(composed, name) {
		return "", fmt.Errorf("%q is not a node of compose: these are %v", name, composed)
	}
	if id == "" {
		id = uuid.NewString()
	}
	node, err := uuid.Parse(id)
	if err != nil {
		return "", fmt.Errorf("the id of a node is a UUID: %w", err)
	}
	ca, err := pki.OpenAuthority(c.Authority)
	if err != nil {
		return "", fmt.Errorf("authority: %w", err)
	}
	dir = c.furtherNode(node.String())
	if name != "" {
		dir = filepath.Join(c.Keys, name)
		if err := write(c.nodeIDFile(name), node.String(), 0o600); err != nil {
			return "", err
		}
	}
	if err := ofNode(dir, node).deliver(ca, c.CertificateLife); err != nil {
		return "", err
	}
	return dir, c.writeStackID(dir)
}

// writeStackID puts the id of the installation beside the keys of a node.
func (c Config) writeStackID(dir string) error {
	id, err := c.stackID()
	if err != nil {
		return err
	}
	return write(filepath.Join(dir, "stack-id"), id, 0o644)
}
