package setup

import (
	"fmt"
	"net/url"
	"strings"

	"slipway.dev/deploy/parts"
)

// natsKeys writes the settings of the bus, and how each service gets in.
//
// The server flushes before it acknowledges: services take an acknowledgement for "on disk". A service may publish under
// its own name only, so that it cannot forge events of another service; no service may delete a stream.
func natsKeys(c Config) error {
	var users strings.Builder
	subscribe := []string{"_INBOX.>"}
	for _, p := range parts.Services(c.table()) {
		subscribe = append(subscribe, p.Name+".>")
	}
	for _, s := range c.onBus() {
		pw, err := c.secret("nats-" + s)
		if err != nil {
			return err
		}
		if s != "init" { // it has the secret itself
			if err := write(c.key(s, "nats"), c.busURL(s, pw), 0o600); err != nil {
				return err
			}
		}
		publish := []string{s + ".>", "$JS.API.INFO", "$JS.API.STREAM.CREATE.*", "$JS.API.STREAM.UPDATE.*", "$JS.API.STREAM.INFO.*", "$JS.API.CONSUMER.>"}
		fmt.Fprintf(&users, "    { user: %s, password: %q, permissions: { publish: [%s], subscribe: [%s] } }\n",
			s, pw, quoted(publish), quoted(subscribe))
	}
	conf := fmt.Sprintf(`# Made by slipway-init keys at every start.
listen: "0.0.0.0:4222"
http: "127.0.0.1:8222"
max_payload: 1MB
jetstream {
  store_dir: "/data"
  sync_interval: always
}
authorization {
  users: [
%s  ]
}
`, users.String())
	if len(c.NATSHosts) > 1 {
		cluster, err := c.cluster()
		if err != nil {
			return err
		}
		conf += cluster
	}
	return write(c.key("nats", "nats.conf"), conf, 0o644)
}

// onBus lists the users of the bus: programs, and the set-up itself.
func (c Config) onBus() []string {
	var users []string
	for _, p := range c.table() {
		if p.OnBus {
			users = append(users, p.Name)
		}
	}
	return append(users, "init")
}

func (c Config) cluster() (string, error) {
	pw, err := c.secret("nats-cluster")
	if err != nil {
		return "", err
	}
	var routes []string
	for _, h := range c.NATSHosts {
		u := url.URL{Scheme: "nats-route", User: url.UserPassword("route", pw), Host: h + ":6222"}
		routes = append(routes, u.String())
	}
	return fmt.Sprintf(`cluster {
  name: slipway
  listen: "0.0.0.0:6222"
  authorization { user: route, password: %q, timeout: 5 }
  routes: [%s]
}
`, pw, quoted(routes)), nil
}

func quoted(list []string) string {
	q := make([]string, len(list))
	for i, s := range list {
		q[i] = fmt.Sprintf("%q", s)
	}
	return strings.Join(q, ", ")
}
