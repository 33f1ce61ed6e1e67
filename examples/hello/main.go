// Command hello asks a server for a sum, subscribes to a topic, publishes to it, and
// watches the first thing that moves.
//
//	go run ./examples/hello 127.0.0.1:4810 data/admin.token
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"strings"
	"time"

	"tracker/pkg/rpc"
	"tracker/pkg/wire/trk"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: hello HOST:PORT TOKENFILE")
	}
	token, err := os.ReadFile(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	if err := hello(os.Args[1], strings.TrimSpace(string(token))); err != nil {
		log.Fatal(err)
	}
}

func hello(addr, token string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	// One connection for everything. The handshake carries the token.
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	c, err := rpc.NewClient(ctx, nc, rpc.ClientConfig{Hello: rpc.Hello{
		Client: "hello/1", AuthKind: rpc.AuthBearer, Auth: []byte(token), SchemaHash: trk.SchemaHash,
	}})
	if err != nil {
		return err
	}
	defer c.Close()

	// A call. Others may be on their way at the same time.
	example := trk.ExampleClient{Caller: c}
	sum, err := example.Sum(ctx, &trk.SumReqT{A: 2, B: 40})
	if err != nil {
		return err
	}
	fmt.Println("sum", sum.Sum())

	// A subscription, on the same connection.
	updates, err := example.Sub(ctx, &trk.SubReqT{Topic: "greetings"})
	if err != nil {
		return err
	}
	defer updates.Close()
	if _, err := example.Pub(ctx, &trk.PubReqT{Topic: "greetings", Key: 1, Value: 7, Count: 3}); err != nil {
		return err
	}
	for range 3 {
		update, event, err := updates.Next(ctx)
		if err != nil {
			return err
		}
		fmt.Println("update", event.Seq, "value", update.Value())
	}

	// A device that reports, and a watch that sees it.
	fixes, err := trk.WatchClient{Caller: c}.Open(ctx, &trk.WatchReqT{Area: &trk.AreaT{All: true}})
	if err != nil {
		return err
	}
	defer fixes.Close()
	if err := report(ctx, c); err != nil {
		return err
	}
	for {
		frame, _, err := fixes.Next(ctx)
		if err != nil {
			return err
		}
		// That a name stands beside each fix is the server's word; nobody has checked it.
		for i := range min(frame.FixesLength(), frame.NamesLength()) {
			var fix trk.Fix
			frame.Fixes(&fix, i)
			fmt.Printf("%s at %.3f,%.3f\n", frame.Names(i), float64(fix.Lat())/1e7, float64(fix.Lon())/1e7)
			return nil
		}
	}
}

// report enrols a device and reports a place in its name, as an admin may.
func report(ctx context.Context, c rpc.Caller) error {
	enrolled, err := trk.DevicesClient{Caller: c}.Enroll(ctx, &trk.EnrollReqT{Devices: []*trk.NewDeviceT{{Name: "hello-" + time.Now().Format("150405.000")}}})
	if err != nil {
		return err
	}
	var first trk.Enrolled
	if enrolled.DevicesLength() != 1 || !enrolled.Devices(&first, 0) || first.Device(nil) == nil {
		return errors.New("the server enrolled something else")
	}
	_, err = trk.PublishClient{Caller: c}.Report(ctx, &trk.ReportReqT{
		Device: string(first.Device(nil).Id()),
		Fixes:  []*trk.FixT{{Time: float64(time.Now().UnixMilli()), Has: trk.HasPosition, Lat: 48_1370000, Lon: 11_5750000}},
	})
	return err
}
