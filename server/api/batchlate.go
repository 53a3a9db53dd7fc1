package api

// This file orders the answers of a batch, some of which wait for the store.

// late is an answer that follows others which are not there yet.
type late struct {
	append func(out []byte) []byte // nil: stored has the answer
	ready  chan struct{}           // closed when stored is set
	stored *storedAnswer
}

// say answers a line: at once, or after the answers that still wait.
func (b *batch) say(appendTo func([]byte) []byte) {
	if len(b.late) == 0 {
		b.out = appendTo(b.out)
		return
	}
	b.late = append(b.late, late{append: appendTo})
}

// store serves a line with a durable message. It takes the message's place in the order of
// each inbox and topic before it returns, so that their order is that of the lines.
func (b *batch) store(d *document) *problem {
	finish, p := d.begin(b.api)
	if p != nil {
		return p
	}
	l := late{ready: make(chan struct{}), stored: &storedAnswer{problem: errInternal}}
	go func() {
		defer close(l.ready)
		b.api.guard("batch", func() { *l.stored = finish() })
	}()
	b.late = append(b.late, l)
	return nil
}

// answerLate waits for the answers in b.late.
func (b *batch) answerLate() {
	for _, l := range b.late {
		if l.append != nil {
			b.out = l.append(b.out)
			continue
		}
		<-l.ready
		if p := l.stored.problem; p != nil {
			b.api.badLines.Add(1)
			b.out = p.appendTo(b.out)
		} else {
			b.out = l.stored.appendTo(b.out)
		}
	}
	clear(b.late)
	b.late = b.late[:0]
}
