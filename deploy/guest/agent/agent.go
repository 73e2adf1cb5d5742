// Package agent speaks the protocol of QEMU's guest agent, as far as Slipway and libvirt use it, and has no effects of its own.
package agent

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// Interface is a network interface of the guest.
type Interface struct {
	Name      string    `json:"name"`
	MAC       string    `json:"hardware-address,omitempty"`
	Addresses []Address `json:"ip-addresses"`
}

// Address is an address of an interface. The type is "ipv4" or "ipv6".
type Address struct {
	Type   string `json:"ip-address-type"`
	IP     string `json:"ip-address"`
	Prefix int    `json:"prefix"`
}

// Guest is what the agent works on.
type Guest interface {
	// SetPassword sets the password of a user, given as a text or, crypted, as a crypt(3) hash.
	SetPassword(user, password string, crypted bool) error
	Interfaces() ([]Interface, error)
}

// maxLine is the length of a longer command than any that is understood.
const maxLine = 64 << 10

// delimiter ends what an earlier client of the port left behind, and begins the answer to guest-sync-delimited.
const delimiter = 0xff

// command is a line from the host.
type command struct {
	Execute   string          `json:"execute"`
	Arguments json.RawMessage `json:"arguments"`
}

type failure struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

var errUnknown = errors.New("the command is not known")

// Serve answers commands until the port ends. What is no command is answered with an error.
func Serve(port io.ReadWriter, g Guest) error {
	in := bufio.NewReaderSize(port, maxLine)
	for {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			continue // of no command that is understood: the end of the line is one that cannot be read
		}
		if err != nil {
			return err
		}
		if i := bytes.LastIndexByte(line, delimiter); i >= 0 {
			line = line[i+1:]
		}
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if _, err := port.Write(answer(line, g)); err != nil {
			return err
		}
	}
}

// answer carries out one command.
func answer(line []byte, g Guest) []byte {
	var c command
	err := json.Unmarshal(line, &c)
	var value any
	if err == nil {
		do, known := commands[c.Execute]
		if !known {
			return encode(map[string]any{"error": failure{"CommandNotFound", errUnknown.Error()}})
		}
		value, err = do(g, c.Arguments)
	}
	if err != nil {
		return encode(map[string]any{"error": failure{"GenericError", err.Error()}})
	}
	text := encode(map[string]any{"return": value})
	if c.Execute == "guest-sync-delimited" {
		text = append([]byte{delimiter}, text...)
	}
	return text
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // of our own types: cannot be
		b = []byte(`{"error":{"class":"GenericError","desc":"internal"}}`)
	}
	return append(b, '\n')
}

var commands map[string]func(Guest, json.RawMessage) (any, error)

func init() { // guest-info lists the others
	commands = map[string]func(Guest, json.RawMessage) (any, error){
		"guest-sync":                   sync,
		"guest-sync-delimited":         sync,
		"guest-ping":                   func(Guest, json.RawMessage) (any, error) { return struct{}{}, nil },
		"guest-info":                   info,
		"guest-set-user-password":      setPassword,
		"guest-network-get-interfaces": func(g Guest, _ json.RawMessage) (any, error) { return g.Interfaces() },
	}
}

func sync(_ Guest, raw json.RawMessage) (any, error) {
	var a struct {
		ID json.Number `json:"id"`
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, err
	}
	return a.ID, nil
}

func info(Guest, json.RawMessage) (any, error) {
	type supported struct {
		Enabled bool   `json:"enabled"`
		Name    string `json:"name"`
		Success bool   `json:"success-response"`
	}
	var list []supported
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		list = append(list, supported{true, name, true})
	}
	return map[string]any{"version": "7.2.0", "supported_commands": list}, nil
}

func setPassword(g Guest, raw json.RawMessage) (any, error) {
	var a struct {
		User     string `json:"username"`
		Password string `json:"password"`
		Crypted  bool   `json:"crypted"`
	}
	if err := json.Unmarshal(raw, &a); err != nil {
		return nil, err
	}
	text, err := base64.StdEncoding.DecodeString(a.Password)
	if err != nil {
		return nil, errors.New("the password is not base64") // the error would hold a part of it
	}
	if err := g.SetPassword(a.User, string(text), a.Crypted); err != nil {
		return nil, fmt.Errorf("password of %.32q: %w", a.User, err)
	}
	return struct{}{}, nil
}
