package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const moduleDir = "/lib/modules"

// loadModules loads what build.sh wrote to the list, in an order that satisfies dependencies. Fifteen runs of
// insmod would take longer than everything else this program does.
func loadModules(list string) {
	names, err := os.ReadFile(filepath.Join(moduleDir, list+".list"))
	if err != nil {
		must("modules", err)
		return
	}
	for name := range strings.FieldsSeq(string(names)) {
		if err := loadModule(filepath.Join(moduleDir, name)); err != nil {
			must("module "+name, err)
		}
	}
}

func loadModule(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	err = unix.FinitModule(int(f.Fd()), "", 0)
	if errors.Is(err, unix.EEXIST) { // another list had it too
		return nil
	}
	if err != nil {
		return fmt.Errorf("load: %w", err)
	}
	return nil
}
