package probe

import (
	"bufio"
	"bytes"
	"net"
	"os"
	"strconv"
	"strings"
)

// queue is what the system says of the sockets of a port: how many bytes wait in them to
// be read, and how many datagrams it threw away so far as they were full.
type queue struct{ waiting, dropped int64 }

// queueOf asks the system for the sockets that take datagrams at addr. Asking costs the
// server nothing. ok is false where the system does not tell.
func queueOf(addr string) (q queue, ok bool) {
	_, service, err := net.SplitHostPort(addr)
	if err != nil {
		return queue{}, false
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return queue{}, false
	}
	for _, path := range []string{"/proc/net/udp", "/proc/net/udp6"} {
		table, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if one, found := readQueue(table, uint16(port)); found {
			q.waiting += one.waiting
			q.dropped += one.dropped
			ok = true
		}
	}
	return q, ok
}

// readQueue reads the sockets of a port from the text of /proc/net/udp. There are several
// if the server shares the port among its readers.
func readQueue(table []byte, port uint16) (q queue, found bool) {
	const local, queues, drops = 1, 4, 12
	for lines := bufio.NewScanner(bytes.NewReader(table)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) <= drops || !isPort(f[local], port) {
			continue
		}
		_, hex, _ := strings.Cut(f[queues], ":")
		waiting, err := strconv.ParseUint(hex, 16, 32)
		if err != nil {
			continue
		}
		dropped, err := strconv.ParseUint(f[drops], 10, 32)
		if err != nil {
			continue
		}
		q.waiting += int64(waiting)
		q.dropped += int64(dropped)
		found = true
	}
	return q, found
}

// isPort tells whether an address in hex ends with a port.
func isPort(addr string, port uint16) bool {
	_, hex, ok := strings.Cut(addr, ":")
	n, err := strconv.ParseUint(hex, 16, 16)
	return ok && err == nil && uint16(n) == port
}
