// Command authd is the auth service as a process of its own.
package main

import (
	"slipway.dev/pkg/program"
	"slipway.dev/services/auth"
)

func main() { program.Serve[auth.Program]("SLIPWAY_AUTH") }
