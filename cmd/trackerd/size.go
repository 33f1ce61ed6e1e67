package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// size is a number of bytes, written as 64MiB.
type size int64

var units = []struct {
	name   string
	factor int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

func (s *size) Set(text string) error {
	for _, u := range units {
		digits, ok := strings.CutSuffix(text, u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/u.factor {
			break
		}
		*s = size(n * u.factor)
		return nil
	}
	if text == "0" {
		*s = 0
		return nil
	}
	return fmt.Errorf("want a size such as 64MiB or 512KiB")
}

func (s *size) String() string {
	for _, u := range units {
		if *s != 0 && int64(*s)%u.factor == 0 {
			return strconv.FormatInt(int64(*s)/u.factor, 10) + u.name
		}
	}
	return "0"
}

func (s *size) Type() string { return "size" }
