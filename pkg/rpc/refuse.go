package rpc

// AppendGoAway appends the frame by which a port that cannot serve a client says why.
// The client reads it as the answer to its HELLO.
func AppendGoAway(dst []byte, e *Error) []byte { return appendGoAwayFrame(dst, 0, e) }
