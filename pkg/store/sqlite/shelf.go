package sqlite

import (
	"sync"
	"time"
)

const shelfRoom = 8 // files that stay open

// shelf holds the sealed files that are open for reading.
type shelf struct {
	busy time.Duration

	mu    sync.Mutex
	open  map[*day]*shelved
	ticks int
}

type shelved struct {
	file  *file
	users int
	used  int
}

// borrow gives fn the file of a sealed day. It stays open for the next one, as long
// as there are not too many.
func (s *shelf) borrow(d *day, fn func(f *file) error) error {
	b, err := s.take(d)
	if err != nil {
		return err
	}
	defer s.giveBack(b)
	return fn(b.file)
}

func (s *shelf) take(d *day) (*shelved, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.open[d]
	if b == nil {
		f, err := openFile(d.path, dayLayout, s.busy, reading)
		if err != nil {
			return nil, err
		}
		if s.open == nil {
			s.open = make(map[*day]*shelved)
		}
		b = &shelved{file: f}
		s.open[d] = b
	}
	s.ticks++
	b.users++
	b.used = s.ticks
	return b, nil
}

func (s *shelf) giveBack(b *shelved) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b.users--
	if len(s.open) <= shelfRoom {
		return
	}
	var oldest *day
	for d, b := range s.open {
		if b.users == 0 && (oldest == nil || b.used < s.open[oldest].used) {
			oldest = d
		}
	}
	if oldest != nil {
		s.open[oldest].file.close()
		delete(s.open, oldest)
	}
}

// remove closes the file of a day, after its last reader.
func (s *shelf) remove(d *day) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.open[d]; b != nil {
		b.file.close()
		delete(s.open, d)
	}
}

func (s *shelf) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.open {
		b.file.close()
	}
	clear(s.open)
}
