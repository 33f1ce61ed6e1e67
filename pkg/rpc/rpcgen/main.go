// Command rpcgen makes the bindings of the services from a compiled schema.
package main

import (
	"fmt"
	"os"
)

func main() {
	b, err := os.ReadFile("pkg/wire/schema/tracker.bfbs")
	if err != nil {
		panic(err)
	}
	s, err := readSchema(b)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if len(os.Args) > 1 { // flatc's Go
		raw, err := os.ReadFile(os.Args[1])
		if err != nil {
			panic(err)
		}
		out, err := formatTables(raw)
		if err != nil {
			panic(err)
		}
		if err := os.WriteFile("pkg/wire/trk/tables.go", out, 0o644); err != nil {
			panic(err)
		}
	}
	for name, f := range map[string]func() ([]byte, error){
		"services.go":    func() ([]byte, error) { return goServices(s, "trk", 1) },
		"verify.go":      func() ([]byte, error) { return goVerify(s, "trk") },
		"tables_test.go": func() ([]byte, error) { return goTests(s, "trk") },
		"encode.go":      func() ([]byte, error) { return goEncode(s, "trk") },
	} {
		out, err := f()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		if err := os.WriteFile("pkg/wire/trk/"+name, out, 0o644); err != nil {
			panic(err)
		}
	}
}
