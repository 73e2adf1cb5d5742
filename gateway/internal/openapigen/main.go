// Command openapigen writes the OpenAPI document of every dialect, proto/openapi/<dialect>.json. The comments of the protos
// come from buf, which it looks for in bin/tools and then on the path.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"slipway.dev/proto/all"

	"slipway.dev/gateway"
	"slipway.dev/gateway/internal/rest/openapi"
)

func main() {
	root := flag.String("root", ".", "where buf.yaml is")
	flag.Parse()
	if err := run(*root); err != nil {
		fmt.Fprintln(os.Stderr, "openapigen:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	files, err := describe(root)
	if err != nil {
		return err
	}
	for _, d := range gateway.Dialects() {
		doc, err := openapi.Build(d, files)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(root, "proto", "openapi", d.Name+".json"), doc, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// describe reads the protos with their comments, which the descriptors in the program lack.
func describe(root string) ([]protoreflect.FileDescriptor, error) {
	buf, err := filepath.Abs(filepath.Join(root, "bin", "tools", "buf"))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(buf); err != nil {
		buf = "buf"
	}
	cmd := exec.Command(buf, "build", "--as-file-descriptor-set", "-o", "-")
	var out bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr = root, &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("buf build: %w", err)
	}
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(out.Bytes(), set); err != nil {
		return nil, err
	}
	described, err := protodesc.NewFiles(set)
	if err != nil {
		return nil, err
	}
	var files []protoreflect.FileDescriptor
	for _, linked := range all.Files() {
		f, err := described.FindFileByPath(linked.Path())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", linked.Path(), err)
		}
		files = append(files, f)
	}
	return files, nil
}
