// Command ipd is the ip service as a process of its own.
package main

import (
	"slipway.dev/pkg/program"
	"slipway.dev/services/ip"
)

func main() { program.Serve[ip.Program]("SLIPWAY_IP") }
