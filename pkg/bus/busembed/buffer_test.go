package busembed

import (
	"errors"
	"io"
	"net"
	"testing"
)

// TestBuffered: neither end waits until the other reads, bytes come in order, and an end that is closed ends the other.
func TestBuffered(t *testing.T) {
	t.Parallel()
	for _, first := range []string{"client", "server"} {
		client, server := ends(t)
		if first == "server" {
			client, server = server, client
		}
		sent := make([]byte, 32<<10)
		for i := range sent {
			sent[i] = byte(i % 251)
		}
		if _, err := client.Write(sent); err != nil { // and nobody reads
			t.Fatal(err)
		}
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(server, got); err != nil || string(got) != string(sent) {
			t.Errorf("%s: other bytes came: %v", first, err)
		}
		if err := client.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := server.Read(got); !errors.Is(err, io.EOF) {
			t.Errorf("%s: the other end: %v", first, err)
		}
	}
}

// ends returns what a client and a server have.
func ends(t *testing.T) (client, server net.Conn) {
	t.Helper()
	pipe, server := net.Pipe()
	client, err := buffered(pipe)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), server.Close() })
	return client, server
}
