package seal

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"tracker/pkg/track"
)

// EnrolFlags are promises between a device and its server, made at enrolment.
type EnrolFlags uint8

const (
	CounterEpochs EnrolFlags = 1 << iota // c: the device has no clock, its epochs may start at 1
	RotatingIDs                          // p: the wire id changes every 65536 s; needs a clock
	TwoBearers                           // m: two epochs at once are normal and no sign of a clone
)

const flagLetters = "cpm"

// String is the letters of the flags, in the order c, p, m.
func (f EnrolFlags) String() string {
	var b [len(flagLetters)]byte
	n := 0
	for i := range flagLetters {
		if f>>i&1 != 0 {
			b[n] = flagLetters[i]
			n++
		}
	}
	return string(b[:n])
}

// ParseFlags reads letters in the order c, p, m, none twice. The empty string is no
// flag; an unknown one is an error, because whoever does not know a flag would not
// keep its promise.
func ParseFlags(s string) (EnrolFlags, error) {
	var f EnrolFlags
	next := 0
	for i := range len(s) {
		at := strings.IndexByte(flagLetters[next:], s[i])
		if at < 0 {
			return 0, fmt.Errorf("flags %q: want letters of %q in this order: %w", s, flagLetters, track.ErrInvalid)
		}
		f |= 1 << (next + at)
		next += at + 1
	}
	return f, nil
}

// DefaultPort is where a server listens when the enrolment names no port.
const DefaultPort = "4810"

// Enrolment is what a device is given: where to send, who it is, and its secret.
type Enrolment struct {
	Host   string // name or address, with or without :port; IPv6 in brackets
	Device track.DeviceID
	Root   Root
	Suite  Suite
	Flags  EnrolFlags
}

const (
	enrolScheme   = "https://"
	enrolMark     = "/d#1."
	maxEnrolment  = 400
	idChars       = 8
	rootChars     = 43
	maxHostLength = 253
)

// Strict: the bits that the last character has too many must be zero, so that each
// secret has one spelling.
var base64url = base64.RawURLEncoding.Strict()

// String is the text of the QR code, secret included: never log it. It stands in
// the fragment of a URL so that a camera that opens it sends no secret anywhere.
func (e Enrolment) String() string {
	var id [6]byte
	e.Device.PutWire(id[:])
	b := make([]byte, 0, 128)
	b = append(b, enrolScheme...)
	b = append(b, e.Host...)
	b = append(b, enrolMark...)
	b = base64url.AppendEncode(b, id[:])
	b = append(b, '.')
	b = base64url.AppendEncode(b, e.Root[:])
	b = append(b, '.')
	b = strconv.AppendUint(b, uint64(e.Suite), 10)
	if e.Flags != 0 {
		b = append(b, '.')
		b = append(b, e.Flags.String()...)
	}
	return string(b)
}

// LogValue leaves the secret out.
func (e Enrolment) LogValue() slog.Value {
	return slog.GroupValue(slog.String("host", e.Host), slog.String("device", e.Device.String()),
		slog.String("suite", e.Suite.String()), slog.String("flags", e.Flags.String()))
}

// ParseEnrolment reads exactly what String writes and nothing else. Its errors name
// what is wrong and never quote the string, which holds a secret.
func ParseEnrolment(s string) (Enrolment, error) {
	e, err := parseEnrolment(s)
	if err != nil {
		return Enrolment{}, fmt.Errorf("enrolment string: %w: %w", err, track.ErrInvalid)
	}
	return e, nil
}

type badEnrolment string

func (b badEnrolment) Error() string { return string(b) }

func parseEnrolment(s string) (Enrolment, error) {
	var e Enrolment
	if len(s) > maxEnrolment {
		return e, badEnrolment("longer than 400 characters")
	}
	rest, ok := strings.CutPrefix(s, enrolScheme)
	if !ok {
		return e, badEnrolment("does not start with https://")
	}
	host, secret, ok := strings.Cut(rest, enrolMark)
	if !ok {
		return e, badEnrolment("has no /d#1. (another version?)")
	}
	if err := CheckHost(host); err != nil {
		return e, err
	}
	e.Host = host
	part := strings.Split(secret, ".")
	if len(part) != 3 && len(part) != 4 {
		return e, badEnrolment("want id.root.suite or id.root.suite.flags after #1.")
	}
	var id [6]byte
	if err := decodeExactly(id[:], part[0], idChars); err != nil {
		return e, badEnrolment("id: " + err.Error())
	}
	e.Device = track.DeviceIDFromWire(id[:])
	if err := decodeExactly(e.Root[:], part[1], rootChars); err != nil {
		return e, badEnrolment("root: " + err.Error())
	}
	if e.Device == 0 || e.Root == (Root{}) {
		return e, badEnrolment("id or root is all zero")
	}
	switch part[2] {
	case "1", "2":
		e.Suite = Suite(part[2][0] - '0')
	default:
		return e, badEnrolment("suite is neither 1 nor 2")
	}
	if len(part) == 3 {
		return e, nil
	}
	flags, err := ParseFlags(part[3])
	if err != nil || flags == 0 {
		return e, badEnrolment("flags are not letters of c, p, m in this order")
	}
	e.Flags = flags
	return e, nil
}

// decodeExactly fills dst from chars characters. The decoder would skip line
// breaks, so they are refused first.
func decodeExactly(dst []byte, s string, chars int) error {
	if len(s) != chars || strings.ContainsAny(s, "\r\n") {
		return fmt.Errorf("want %d characters of base64url", chars)
	}
	if _, err := base64url.Decode(dst, []byte(s)); err != nil {
		return fmt.Errorf("not base64url without padding")
	}
	return nil
}

// Addr is where the device sends to, always with a port.
func (e Enrolment) Addr() string {
	if _, _, err := net.SplitHostPort(e.Host); err == nil {
		return e.Host
	}
	return net.JoinHostPort(strings.Trim(e.Host, "[]"), DefaultPort)
}

// CheckHost tells whether a string can stand as Enrolment.Host: a DNS name, an IPv4
// address or an IPv6 address in brackets, and perhaps a port.
func CheckHost(s string) error {
	host, port, hasPort := s, "", false
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		host, port, hasPort = s[:i], s[i+1:], true
	}
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return badEnrolment(fmt.Sprintf("port %q is not in 1..65535", port))
		}
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		a, err := netip.ParseAddr(inner)
		if !ok || err != nil || !a.Is6() || a.Zone() != "" {
			return badEnrolment(fmt.Sprintf("host %q is not an IPv6 address in brackets", host))
		}
		return nil
	}
	return checkName(host)
}

func checkName(host string) error {
	if host == "" || len(host) > maxHostLength {
		return badEnrolment("host is empty or longer than 253 characters")
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return badEnrolment(fmt.Sprintf("host %q is not a DNS name", host))
		}
		for i := range len(label) {
			c := label[i] | 0x20
			if (c < 'a' || c > 'z') && (label[i] < '0' || label[i] > '9') && label[i] != '-' && label[i] != '_' {
				return badEnrolment(fmt.Sprintf("host %q is not a DNS name", host))
			}
		}
	}
	return nil
}
