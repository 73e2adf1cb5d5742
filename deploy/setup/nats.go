package setup

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"slipway.dev/deploy/parts"
	"slipway.dev/pkg/bus"
)

// natsKeys writes the settings of the bus, and how each service gets in.
//
// The server flushes before it acknowledges: services take an acknowledgement for "on disk". Each service has an account of its
// own, with its own stream, and what is published in one account does not exist in another. Permissions of users alone would not
// do: they bind what a user publishes, but not where JetStream sends what the user asks for, such as an answer, the messages of a
// consumer or a copy of a stream.
func natsKeys(c Config) error {
	accounts := map[string]account{}
	for _, p := range c.table() {
		if !p.OnBus {
			continue
		}
		pw, err := c.secret("nats-" + p.Name)
		if err != nil {
			return err
		}
		if err := write(c.key(p.Name, "nats"), c.busURL(p.Name, pw), 0o600); err != nil {
			return err
		}
		accounts[p.Name] = c.account(p, pw)
	}
	var text strings.Builder
	enc := json.NewEncoder(&text)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false) // NATS reads JSON, but not all of its escapes
	if err := enc.Encode(accounts); err != nil {
		return err
	}
	conf := fmt.Sprintf(`# Made by slipway-init keys at every start.
listen: "0.0.0.0:4222"
http: "127.0.0.1:8222"
max_payload: 1MB
jetstream {
  store_dir: "/data"
  sync_interval: always
}
accounts: %s`, text.String())
	if len(c.NATSHosts) > 1 {
		cluster, err := c.cluster()
		if err != nil {
			return err
		}
		conf += cluster
	}
	return write(c.key("nats", "nats.conf"), conf, 0o644)
}

// account is one account of NATS, in the spelling of its settings.
type account struct {
	JetStream string   `json:"jetstream,omitempty"`
	Users     []user   `json:"users"`
	Exports   []export `json:"exports,omitempty"`
	Imports   []any    `json:"imports,omitempty"`
}

type user struct {
	User        string      `json:"user"`
	Password    string      `json:"password"`
	Permissions permissions `json:"permissions"`
}

type permissions struct {
	Publish   []string `json:"publish"`
	Subscribe []string `json:"subscribe"`
}

// export is what other accounts may get: events as they are published, or answers.
type export struct {
	Stream   string   `json:"stream,omitempty"`
	Service  string   `json:"service,omitempty"`
	Accounts []string `json:"accounts"`
}

type from struct {
	Account string `json:"account"`
	Subject string `json:"subject"`
}

type streamImport struct {
	Stream from `json:"stream"`
}

type serviceImport struct {
	Service from   `json:"service"`
	To      string `json:"to,omitempty"`
}

// revoked is the subject of the events that every service hears, to refuse identities that auth has revoked.
const revoked = "auth.v4.session.revoked"

// account returns the account of a program. Its user may make the own stream and write to it, read the streams of the services
// whose events the program takes in and report how far it is, and hear revocations.
func (c Config) account(p parts.Part, password string) account {
	u := user{User: p.Name, Password: password, Permissions: permissions{Subscribe: []string{"_INBOX.>"}}}
	pub, sub := &u.Permissions.Publish, &u.Permissions.Subscribe
	a := account{}
	if p.Migrate != nil {
		a.JetStream = "enabled"
		*pub = append(*pub, p.Name+".>", "$JS.API.INFO")
		*sub = append(*sub, p.Name+".>", bus.ReaderSubject(p.Name, ">"))
		for _, call := range ownCalls {
			*pub = append(*pub, "$JS.API."+call+"."+p.Name)
		}
		a.Exports = c.exports(p.Name)
	}
	for _, owner := range p.Reads {
		*sub = append(*sub, owner+".>")
		a.Imports = append(a.Imports, streamImport{from{owner, owner + ".>"}})
		reports := bus.ReaderSubject(owner, p.Name) + ".>"
		*pub = append(*pub, reports)
		a.Imports = append(a.Imports, serviceImport{Service: from{owner, reports}})
		for _, call := range readersCalls {
			as := bus.ForeignAPI(owner) + "." + call + "." + owner
			*pub = append(*pub, as)
			a.Imports = append(a.Imports, serviceImport{Service: from{owner, "$JS.API." + call + "." + owner}, To: as})
		}
	}
	if p.Name != "auth" && !slices.Contains(p.Reads, "auth") {
		*sub = append(*sub, revoked)
		a.Imports = append(a.Imports, streamImport{from{"auth", revoked}})
	}
	if len(*pub) == 0 {
		*pub = []string{"_INBOX.none"} // an empty list would allow everything
	}
	a.Users = []user{u}
	return a
}

// ownCalls are what a service asks of its own stream, and readersCalls what a reader asks of it.
var (
	ownCalls     = []string{"STREAM.CREATE", "STREAM.UPDATE", "STREAM.INFO", "STREAM.MSG.GET", "STREAM.PURGE"}
	readersCalls = []string{"STREAM.INFO", "STREAM.MSG.GET"}
)

// exports returns what the account of a service gives to others.
func (c Config) exports(service string) []export {
	var readers, others []string
	for _, p := range c.table() {
		switch {
		case !p.OnBus || p.Name == service:
		case slices.Contains(p.Reads, service):
			readers = append(readers, p.Name)
		default:
			others = append(others, p.Name)
		}
	}
	var list []export
	if len(readers) > 0 {
		list = append(list, export{Stream: service + ".>", Accounts: readers})
		for _, reader := range readers {
			list = append(list, export{Service: bus.ReaderSubject(service, reader) + ".>", Accounts: []string{reader}})
		}
		for _, call := range readersCalls {
			list = append(list, export{Service: "$JS.API." + call + "." + service, Accounts: readers})
		}
	}
	if service == "auth" && len(others) > 0 {
		list = append(list, export{Stream: revoked, Accounts: others})
	}
	return list
}

func (c Config) cluster() (string, error) {
	pw, err := c.secret("nats-cluster")
	if err != nil {
		return "", err
	}
	var routes []string
	for _, h := range c.NATSHosts {
		u := url.URL{Scheme: "nats-route", User: url.UserPassword("route", pw), Host: h + ":6222"}
		routes = append(routes, fmt.Sprintf("%q", u.String()))
	}
	return fmt.Sprintf(`cluster {
  name: slipway
  listen: "0.0.0.0:6222"
  authorization { user: route, password: %q, timeout: 5 }
  routes: [%s]
}
`, pw, strings.Join(routes, ", ")), nil
}
