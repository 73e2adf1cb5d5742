package rpc_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	authpb "slipway.dev/proto/auth/v4"
	ippb "slipway.dev/proto/ip/v3"
	nodepb "slipway.dev/proto/node/v1"
	vmpb "slipway.dev/proto/vm/v3"

	"slipway.dev/pkg/idem"
	"slipway.dev/pkg/pki"
	"slipway.dev/pkg/rpc"
)

// services maps every service to the function that registers its rpcs.
var services = map[string]func(*rpc.Server){
	"auth": func(s *rpc.Server) {
		authpb.RegisterTokenServiceServer(s, authpb.UnimplementedTokenServiceServer{})
		authpb.RegisterUserServiceServer(s, authpb.UnimplementedUserServiceServer{})
		authpb.RegisterKeyServiceServer(s, authpb.UnimplementedKeyServiceServer{})
		authpb.RegisterSettingServiceServer(s, authpb.UnimplementedSettingServiceServer{})
	},
	"vm": func(s *rpc.Server) {
		vmpb.RegisterHostServiceServer(s, vmpb.UnimplementedHostServiceServer{})
		vmpb.RegisterNodeServiceServer(s, vmpb.UnimplementedNodeServiceServer{})
		vmpb.RegisterTaskServiceServer(s, vmpb.UnimplementedTaskServiceServer{})
	},
	"ip": func(s *rpc.Server) {
		ippb.RegisterAddressServiceServer(s, ippb.UnimplementedAddressServiceServer{})
		ippb.RegisterNetworkServiceServer(s, ippb.UnimplementedNetworkServiceServer{})
		ippb.RegisterPoolServiceServer(s, ippb.UnimplementedPoolServiceServer{})
	},
	"node": func(s *rpc.Server) { nodepb.RegisterNodeServiceServer(s, nodepb.UnimplementedNodeServiceServer{}) },
}

// mayCall maps each service to the services that may call it. Other connections are refused in the handshake.
var mayCall = map[string][]string{
	"auth": {"gateway", "ip", "vm"}, "vm": {"gateway", "node"}, "ip": {"gateway", "vm"}, "node": {"vm"},
}

// TestPairs tries every pair of services, with a good certificate and with each kind of bad one.
func TestPairs(t *testing.T) {
	t.Parallel()
	ca, other := newMint(t), newMint(t)
	for service, register := range services {
		s := rpc.NewServer(slog.New(slog.DiscardHandler), nil)
		register(s)
		addr := serve(t, s, ca.config(t, service))
		for _, caller := range []string{"auth", "gateway", "ip", "node", "vm"} {
			t.Run(caller+" calls "+service, func(t *testing.T) {
				t.Parallel()
				good := ca.config(t, caller)
				good.ServerName = service
				want := codes.Unavailable
				if slices.Contains(mayCall[service], caller) {
					want = codes.OK
				}
				if got := check(t, addr, credentials.NewTLS(good)); got != want {
					t.Errorf("with its own certificate: %v, want %v", got, want)
				}
				with := func(c tls.Certificate) credentials.TransportCredentials {
					bad := &tls.Config{RootCAs: good.RootCAs, ServerName: service, MinVersion: tls.VersionTLS13}
					if c.Certificate != nil {
						// Sent whatever the server asks for; an ordinary client withholds a certificate that the server does not accept.
						bad.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &c, nil }
					}
					return credentials.NewTLS(bad)
				}
				both := []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
				hour := time.Now().Add(time.Hour)
				for kind, creds := range map[string]credentials.TransportCredentials{
					"plain text":                     insecure.NewCredentials(),
					"no certificate":                 with(tls.Certificate{}),
					"self-signed":                    with(selfSigned(t, caller)),
					"of another authority":           with(other.issue(t, caller, hour, both)),
					"expired":                        with(ca.issue(t, caller, time.Now().Add(-time.Second), both)),
					"of a service that is unknown":   with(ca.issue(t, "stranger", hour, both)),
					"of a server only":               with(ca.issue(t, caller, hour, both[1:])),
					"with its name in another place": with(ca.issue(t, "", hour, both)),
				} {
					if got := check(t, addr, creds); got != codes.Unavailable {
						t.Errorf("%s: %v", kind, got)
					}
				}
			})
		}
	}
}

// check makes a call that every caller may make, so that only the connection decides.
func check(t *testing.T, addr string, creds credentials.TransportCredentials) codes.Code {
	t.Helper()
	conn, err := grpc.NewClient(addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	_, err = healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{})
	return status.Code(err)
}

func serve(t *testing.T, s *rpc.Server, c *tls.Config) string {
	t.Helper()
	s.Keep(idem.New(nil)) // nothing here repeats
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l, c) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return l.Addr().String()
}

// mint signs a certificate that a correct authority never signs.
type mint struct {
	dir  string
	pair tls.Certificate
}

func newMint(t *testing.T) mint {
	t.Helper()
	dir := t.TempDir()
	if err := pki.Write(dir, time.Hour, "auth", "gateway", "ip", "node", "vm"); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(dir+"/ca.crt", dir+"/ca.key")
	if err != nil {
		t.Fatal(err)
	}
	return mint{dir, pair}
}

func (m mint) config(t *testing.T, service string) *tls.Config {
	t.Helper()
	c, err := pki.Load(m.dir, service)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (m mint) issue(t *testing.T, name string, until time.Time, uses []x509.ExtKeyUsage) tls.Certificate {
	t.Helper()
	return issue(t, name, until, uses, m.pair.Leaf, m.pair.PrivateKey)
}

func selfSigned(t *testing.T, name string) tls.Certificate {
	t.Helper()
	return issue(t, name, time.Now().Add(time.Hour), []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, nil, nil)
}

func issue(t *testing.T, name string, until time.Time, uses []x509.ExtKeyUsage, parent *x509.Certificate, by any) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "gateway"},
		NotBefore: until.Add(-2 * time.Hour), NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: uses,
	}
	if name != "" {
		c.DNSNames = []string{name}
	}
	if parent == nil {
		parent, by = c, key
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: key}
}
