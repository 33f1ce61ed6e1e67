package seal

// SkipTo makes pid the next packet id, as if all before it had been sent.
func (s *Sender) SkipTo(pid uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open.head.PID = pid
}
