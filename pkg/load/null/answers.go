package null

import (
	"bytes"
	"encoding/binary"
	"errors"

	"tracker/pkg/rpc"
	"tracker/pkg/wire/trk"
)

// answers are ready, but for the numbers. A question has them at known places, because
// it looks as our own encoder writes it; one that is longer or shorter is not answered
// as a question at all.
type answers struct {
	sum   question // of Sum and AsyncSum
	sleep question
	rsp   []byte // a whole frame
	at    int    // where the sum stands in it
	ack   []byte // of a report
	watch []byte // of a watch
}

// question is where the two numbers stand in a body of this length.
type question struct{ size, a, b int }

const markA, markB = 0x5a11c0de, 0x1dea5eed

func newAnswers() (*answers, error) {
	var r answers
	a, b := int32(markA), int32(markB)
	sum := trk.AppendSumReq(nil, &trk.SumReqT{A: a, B: b})
	sleep := trk.AppendSleepReq(nil, &trk.SleepReqT{Ms: 1, A: a, B: b})
	r.sum = question{len(sum), find(sum, markA), find(sum, markB)}
	r.sleep = question{len(sleep), find(sleep, markA), find(sleep, markB)}
	r.rsp = rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindRsp, Body: trk.AppendSumRsp(nil, &trk.SumRspT{Sum: a})})
	r.at = find(r.rsp, markA)
	r.ack = rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindRsp, Body: trk.AppendReportAck(nil, &trk.ReportAckT{Accepted: 1})})
	r.watch = rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindRsp, Body: trk.AppendWatchAck(nil, &trk.WatchAckT{Watch: 1, Stream: 1, Epoch: "0000000000000001"})})
	if min(r.sum.a, r.sum.b, r.sleep.a, r.sleep.b, r.at) < 0 {
		return nil, errors.New("an encoding does not show where its numbers are")
	}
	return &r, nil
}

func find(b []byte, v uint32) int { return bytes.Index(b, binary.LittleEndian.AppendUint32(nil, v)) }

// idAt is where every frame has its number.
const idAt = 4

// put appends a ready frame under an id.
func put(dst, frame []byte, id uint32) []byte {
	n := len(dst)
	dst = append(dst, frame...)
	binary.LittleEndian.PutUint32(dst[n+idAt:], id)
	return dst
}

// add appends the answer to a sum.
func (r *answers) add(dst []byte, q *question, f *rpc.Frame) ([]byte, bool) {
	if len(f.Body) != q.size {
		return dst, false
	}
	sum := binary.LittleEndian.Uint32(f.Body[q.a:]) + binary.LittleEndian.Uint32(f.Body[q.b:])
	n := len(dst)
	dst = put(dst, r.rsp, f.ID)
	binary.LittleEndian.PutUint32(dst[n+r.at:], sum)
	return dst, true
}

// echo is the answer to questions of one length.
type echo struct {
	size     int // of the question's body
	from, to int // the payload in it
	rsp      []byte
	at       int // and in the answer
}

// learn finds where the payload of an echo is. Its first bytes are two numbers that
// stand nowhere else, or the next question is asked again.
func (e *echo) learn(body []byte) bool {
	req, err := trk.ReadEchoReq(body)
	if err != nil {
		return false
	}
	p := req.PayloadBytes()
	rsp := rpc.AppendFrame(nil, rpc.Frame{Kind: rpc.KindRsp, Body: trk.AppendEchoRsp(nil, &trk.EchoRspT{Payload: p})})
	from, at := bytes.LastIndex(body, p), bytes.LastIndex(rsp, p)
	if from < 0 || at < 0 {
		return false
	}
	*e = echo{size: len(body), from: from, to: from + len(p), rsp: rsp, at: at}
	return true
}

// add appends the answer to an echo.
func (e *echo) add(dst []byte, f *rpc.Frame) ([]byte, bool) {
	if (e.rsp == nil || len(f.Body) != e.size) && !e.learn(f.Body) {
		return dst, false
	}
	n := len(dst)
	dst = put(dst, e.rsp, f.ID)
	copy(dst[n+e.at:], f.Body[e.from:e.to])
	return dst, true
}
