// Package setup makes an installation of separate services ready, in three steps that each may run again at every start:
// Keys makes the authority, certificates and secrets; Migrate the roles and schemas of the database; First the first
// administrator and what a new installation begins with. Renew keeps the certificates short-lived.
//
// Each service gets a directory of its own with nothing in it but what it needs. The authority's key and the database's
// superuser stay with these steps.
package setup

import (
	"crypto/rand"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"slipway.dev/deploy/parts"
	"slipway.dev/pkg/durable"
	"slipway.dev/services/auth"
)

// Config comes from variables that begin with SLIPWAY_.
type Config struct {
	// Authority is the directory of the authority's key, the secrets and the record of finished steps. It is private.
	Authority string `env:"AUTHORITY" envDefault:"/authority"`
	// Keys holds one directory for each service, which becomes its /keys.
	Keys string `env:"KEYS" envDefault:"/keys"`
	// Data holds the data directories of the nodes of compose. An id that a node has already is in there.
	Data string `env:"DATA" envDefault:"/data"`
	// Templates gets a stand-in for an OS image, for simulated machines, unless there is an image.
	Templates string `env:"TEMPLATES" envDefault:"/templates"`

	// AdminEmail and AdminPassword are of the first administrator. Without a password one is made.
	AdminEmail    string `env:"ADMIN_EMAIL" envDefault:"admin@example.com"`
	AdminPassword string `env:"ADMIN_PASSWORD"`

	// Cluster and DomainTemplate are those of the first cluster.
	Cluster        string `env:"CLUSTER"         envDefault:"default"`
	DomainTemplate string `env:"DOMAIN_TEMPLATE" envDefault:"{name}.slipway.internal"`

	// PostgresHost and PostgresDatabase are where the database is.
	PostgresHost     string `env:"POSTGRES_HOST"     envDefault:"postgres:5432"`
	PostgresDatabase string `env:"POSTGRES_DATABASE" envDefault:"slipway"`
	// NATSHosts are the servers of the bus: one, or three that are a cluster.
	NATSHosts []string `env:"NATS_HOSTS" envDefault:"nats"`
	// CertificateLife is how long a certificate is valid; it is renewed when half of that is over.
	CertificateLife time.Duration `env:"CERTIFICATE_LIFE" envDefault:"24h"`

	// PostgresConnections is the max_connections of the database, which the processes of all services share, and Replicas how
	// many processes each service has.
	PostgresConnections int `env:"POSTGRES_CONNECTIONS" envDefault:"150"`
	Replicas            int `env:"REPLICAS" envDefault:"1"`

	parts []parts.Part // in tests, in place of parts.All
}

// table returns the programs of the installation.
func (c Config) table() []parts.Part {
	if c.parts == nil {
		return parts.All()
	}
	return c.parts
}

// superuser is the role that owns the database, for Migrate and First.
const superuser = "slipway"

// secret is a password of the installation, made when it is first asked for.
func (c Config) secret(name string) (string, error) {
	return c.once(name, func() string { return rand.Text() })
}

// masterKey seals what auth keeps secret in the database. It is never made anew: nothing could be read without it.
func (c Config) masterKey() (string, error) { return c.once("master-key", auth.NewMasterKey) }

// stackID identifies the machines of this installation.
func (c Config) stackID() (string, error) { return c.once("stack-id", uuid.NewString) }

// adminPassword is the given one or one of our own.
func (c Config) adminPassword() (string, error) {
	if c.AdminPassword != "" {
		return c.AdminPassword, nil
	}
	return c.secret("admin-password")
}

// once returns the text of a file beside the authority, and makes it at the first time.
func (c Config) once(name string, value func() string) (string, error) {
	if err := os.MkdirAll(c.Authority, 0o755); err != nil {
		return "", err
	}
	return durable.Create(filepath.Join(c.Authority, name), 0o600, func() (string, error) { return value(), nil })
}

// write replaces a file and makes its directory. What the database keeps may be worth nothing without the file.
func write(path, text string, mode os.FileMode) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return durable.Replace(path, []byte(text), mode)
}
