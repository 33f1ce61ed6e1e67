package seal

import (
	"crypto/subtle"
	"encoding/binary"
	"strconv"
)

// AckStatus is what the server thinks of a report that it could read.
type AckStatus uint8

const (
	AckOK          AckStatus = 0
	AckClock       AckStatus = 1 // taken; the device's clock is off by more than a minute
	AckEpochOld    AckStatus = 2 // not taken: the epoch is older than the live ones. Start a new one
	AckRateLimited AckStatus = 3 // not taken: too many
	AckReprovision AckStatus = 4 // taken; this credential ends soon
)

func (s AckStatus) String() string {
	switch s {
	case AckOK:
		return "ok"
	case AckClock:
		return "clock"
	case AckEpochOld:
		return "epoch_old"
	case AckRateLimited:
		return "rate_limited"
	case AckReprovision:
		return "reprovision"
	}
	return "status_" + strconv.Itoa(int(s))
}

// Ack is the server's answer to one report. Max and Bitmap are those of Window.Seen;
// with AckEpochOld there is no window, and both are 0.
type Ack struct {
	Status AckStatus
	Time   uint32 // the server's unix time
	Max    uint32 // highest id accepted in this epoch
	Bitmap uint16 // bit 15: that id; bit 0: 15 before it
}

const ackMAC = 24 // where the MAC starts

// AppendAck appends the 40 bytes that answer a report with header h, under the ack
// key of its epoch. There is no nonce: a server that forgot what it said may answer
// the same report again, with another time, and give nothing away.
func AppendAck(dst []byte, h Header, a Ack, key *[32]byte) []byte {
	var b [AckLen]byte
	putHeader(b[:], ackBit, h)
	b[14] = byte(a.Status)
	binary.BigEndian.PutUint32(b[15:19], a.Time)
	putUint24(b[19:22], a.Max)
	binary.BigEndian.PutUint16(b[22:24], a.Bitmap)
	sum := mac(key, b[:ackMAC])
	copy(b[ackMAC:], sum[:])
	return append(dst, b[:]...)
}

// OpenAck verifies an ack. It asks keyFor for the ack key of the report that the
// header names; nil means that no such report is waiting, and the ack is refused
// with ErrReplay. Other refusals are ErrLength, ErrVersion and ErrAuth.
func OpenAck(pkt []byte, keyFor func(Header) *[32]byte) (Header, Ack, error) {
	if len(pkt) != AckLen {
		return Header{}, Ack{}, ErrLength
	}
	h := readHeader(pkt)
	if pkt[0] != version|ackBit|byte(h.Suite) || !h.Suite.Valid() {
		return Header{}, Ack{}, ErrVersion
	}
	key := keyFor(h)
	if key == nil {
		return Header{}, Ack{}, ErrReplay
	}
	sum := mac(key, pkt[:ackMAC])
	if subtle.ConstantTimeCompare(sum[:AckLen-ackMAC], pkt[ackMAC:]) != 1 {
		return Header{}, Ack{}, ErrAuth
	}
	return h, Ack{
		Status: AckStatus(pkt[14]),
		Time:   binary.BigEndian.Uint32(pkt[15:19]),
		Max:    uint24(pkt[19:22]),
		Bitmap: binary.BigEndian.Uint16(pkt[22:24]),
	}, nil
}
