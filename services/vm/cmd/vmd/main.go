// Command vmd is the vm service as a process of its own.
package main

import (
	"slipway.dev/pkg/program"
	"slipway.dev/services/vm"
)

func main() { program.Serve[vm.Program]("SLIPWAY_VM") }
