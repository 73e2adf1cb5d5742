// Command measure prints the sizes of the code: lines of files and functions, exported names and own imports of packages, tests
// against code, comments, and words that comments do without. docs/architecture.md names the goals.
//
//	measure [-top 5] ROOT
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	top := flag.Int("top", 5, "how many of the largest to name in each row")
	flag.Parse()
	root := flag.Arg(0)
	if root == "" {
		root = "."
	}
	h, err := read(root)
	if err != nil {
		fmt.Fprintln(os.Stderr, "measure:", err)
		os.Exit(1)
	}
	h.print(os.Stdout, *top)
}
