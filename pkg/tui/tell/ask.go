package tell

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"sync"
	"time"
)

// question is a line that somebody typed.
type question struct {
	text string
	long bool // longer than any question is; text is empty
	end  bool // there will be none after it
}

// maxQuestion is how many bytes of a line are read.
const maxQuestion = 4096

// ask reads questions until in ends or stop is called.
func ask(in io.Reader) (questions <-chan question, stop func()) {
	lines, done := make(chan question), make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() { readQuestions(in, lines, done) })
	return lines, func() {
		close(done)
		// Only some files can be told to stop. A terminal is not always one of them:
		// then the goroutine sleeps until the next line, or to the end of the process.
		if f, ok := in.(interface{ SetReadDeadline(time.Time) error }); ok && f.SetReadDeadline(time.Unix(1, 0)) == nil {
			reading.Wait()
		}
	}
}

func readQuestions(in io.Reader, lines chan<- question, done <-chan struct{}) {
	r := bufio.NewReaderSize(in, maxQuestion)
	for {
		q := readQuestion(r)
		select {
		case lines <- q:
		case <-done:
			return
		}
		if q.end {
			return
		}
	}
}

// readQuestion reads one line. What is too long is read to its end and not kept.
func readQuestion(r *bufio.Reader) question {
	line, err := r.ReadSlice('\n')
	long := false
	for errors.Is(err, bufio.ErrBufferFull) {
		long = true
		_, err = r.ReadSlice('\n')
	}
	q := question{long: long, end: err != nil}
	if !long {
		q.text = strings.TrimSpace(string(line))
	}
	return q
}
