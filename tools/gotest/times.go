package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// record appends times to a file; "" is none.
func record(name string, times []took) error {
	if name == "" || len(times) == 0 {
		return nil
	}
	var text strings.Builder
	enc := json.NewEncoder(&text)
	for _, t := range times {
		if err := enc.Encode(t); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text.String()) // in one piece: others append to it too
	return errors.Join(err, f.Close())
}

// printSlowest writes the n slowest tests of a file that record made.
func printSlowest(w io.Writer, name string, n int) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	var all []took
	for dec := json.NewDecoder(bufio.NewReader(f)); ; {
		var t took
		err := dec.Decode(&t)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		all = append(all, t)
	}
	slices.SortStableFunc(all, func(a, b took) int { return cmp.Compare(b.Seconds, a.Seconds) })
	for _, t := range all[:min(n, len(all))] {
		fmt.Fprintf(w, "%7.1f s  %s %s\n", t.Seconds, t.Package, t.Test)
	}
	return nil
}
