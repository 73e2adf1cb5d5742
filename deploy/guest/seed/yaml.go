package seed

import (
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// flag is a boolean that records whether it was given. cloud-init also accepts the words of old YAML and words of its
// own ("unchanged", "localhost"), which leave the default.
type flag int

const (
	unset flag = iota
	no
	yes
)

func (f *flag) UnmarshalYAML(n *yaml.Node) error {
	*f = unset
	if n.Kind != yaml.ScalarNode {
		// After an error of this type the decoder continues with the rest of the document.
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: cannot unmarshal into a boolean", n.Line)}}
	}
	switch strings.ToLower(n.Value) {
	case "true", "yes", "on", "1":
		*f = yes
	case "false", "no", "off", "0":
		*f = no
	}
	return nil
}

// lines is a list of strings, or one string with a line for each.
type lines []string

func (l *lines) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.SequenceNode {
		var list []string
		err := n.Decode(&list)
		*l = list
		return err
	}
	var text string
	if err := n.Decode(&text); err != nil {
		return err
	}
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSuffix(line, "\r"); line != "" {
			*l = append(*l, line)
		}
	}
	return nil
}
