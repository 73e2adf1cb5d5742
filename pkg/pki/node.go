package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/url"
	"strings"
	"time"

	"github.com/google/uuid"
)

// NodeService is the service name in the certificates of all agents. The URI of a certificate says which node's agent it is.
const NodeService = "node"

// NodeURI returns the URI that stands in the certificate of the agent of the node with this id.
func NodeURI(id uuid.UUID) *url.URL {
	return &url.URL{Scheme: "slipway", Host: "node", Path: "/" + id.String()}
}

// NodeOf returns the id of the node that a certificate names; "" for a certificate that names no node, or several.
func NodeOf(cert *x509.Certificate) string {
	if cert == nil || len(cert.URIs) != 1 {
		return ""
	}
	u := cert.URIs[0]
	id, err := uuid.Parse(strings.TrimPrefix(u.Path, "/"))
	if err != nil || *u != *NodeURI(id) {
		return ""
	}
	return id.String()
}

// errNameless refuses a certificate of an agent that does not say which node's.
var errNameless = errors.New("the certificate names no node. Issue one by `slipway-init node ID`, where ID is in the file node-id " +
	"of the node's data directory, or by `slipway-init node` for a new node")

// LoadedNode returns the id of the node that the certificate in settings of Load names.
func LoadedNode(c *tls.Config) (string, error) {
	cert, err := c.GetCertificate(nil)
	if err != nil {
		return "", err
	}
	id := NodeOf(cert.Leaf)
	if id == "" {
		return "", errNameless
	}
	return id, nil
}

// WriteNode puts the authority and the certificate of the agent of one node into dir, as Write does for services.
func WriteNode(dir string, life time.Duration, id uuid.UUID) error {
	a, err := OpenAuthority(dir)
	if err != nil {
		return err
	}
	return a.Deliver(dir, NodeService, life, NodeURI(id))
}
