// Package seed renders what cloud-init reads at a guest's first boot: the NoCloud documents and the disk that holds them.
//
// No value is ever pasted into a document: JSON encoders write everything (JSON is YAML), and every string is first
// checked against what its kind may contain, so that a newline in a host name is a fault and not a new key.
package seed

import (
	"encoding/json"
	"fmt"

	"slipway.dev/services/node/internal/hyper"
)

// Files are the NoCloud documents.
type Files struct {
	MetaData      []byte
	UserData      []byte
	NetworkConfig []byte
}

// Render returns the documents of s. A value that they cannot express exactly is a fault that names its field.
func Render(s hyper.Seed) (Files, error) {
	if err := check(s); err != nil {
		return Files{}, err
	}
	meta, err := encode(map[string]string{"instance-id": s.InstanceID, "local-hostname": s.Hostname})
	if err != nil {
		return Files{}, fmt.Errorf("encode meta-data: %w", err)
	}
	user, err := userData(s)
	if err != nil {
		return Files{}, fmt.Errorf("encode user-data: %w", err)
	}
	network, err := encode(networkConfig(s))
	if err != nil {
		return Files{}, fmt.Errorf("encode network-config: %w", err)
	}
	return Files{MetaData: meta, UserData: user, NetworkConfig: network}, nil
}

// encode writes v as indented JSON: maps come out sorted, so equal input gives equal bytes.
func encode(v any) ([]byte, error) {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}
