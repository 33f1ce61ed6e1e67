// Command serve is that server on a port, for clients in other languages: it says where,
// and ends with its standard input.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sync"

	"tracker/pkg/rpc"
	"tracker/pkg/wire/trk/internal/later"
	"tracker/pkg/wire/trk/internal/v2"
)

func main() {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	s := rpc.NewServer(rpc.Config{})
	v2.RegisterExample(s, later.Server{}, nil)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { // ends with the process
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
		_ = ln.Close()
	}()
	fmt.Printf("ready tcp=%s\n", ln.Addr())
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		nc, err := ln.Accept()
		if err != nil {
			return
		}
		conns.Go(func() { s.ServeConn(ctx, nc) })
	}
}
