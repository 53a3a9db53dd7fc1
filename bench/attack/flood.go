package attack

import (
	"bytes"
	"compress/flate"
	"fmt"
	"slices"
)

// Attackers that send too much, or more than they seem to.

// portion is how many frames go into one write.
const portion = 1000

// floods sends frames again and again, as fast as they are taken, behind a first one: on half of the
// connections to /ws and on half to /echo. Who is closed comes again, at most 50 times a second altogether.
func floods(first, each []byte) func(m *mob) {
	frames := bytes.Repeat(each, portion)
	return func(m *mob) {
		m.each(50, func(i int) {
			path := "/echo"
			if i%2 == 0 {
				path = fmt.Sprint("/ws?user=flood", i)
			}
			c := m.open(i, path)
			if c == nil {
				return
			}
			ended := make(chan struct{})
			m.wait.Go(func() {
				defer close(ended)
				m.count(c.drain(true))
			})
			sent := 0
			_, err := c.Write(first)
			for ; err == nil; sent += portion {
				_, err = c.Write(frames)
			}
			m.add("frames", sent)
			<-ended
		})
	}
}

// million sends a message's first fragment and empty ones behind it, where no rate is set, until a million are
// gone or it is closed.
func million(m *mob) {
	empty := bytes.Repeat(frame(opContinuation, nil), portion)
	m.each(20, func(i int) {
		c := m.open(i, "/echo")
		if c == nil {
			return
		}
		ended := make(chan struct{})
		m.wait.Go(func() {
			defer close(ended)
			m.count(c.drain(false))
		})
		_, err := c.Write(frame(opText, []byte("a")))
		sent := 0
		for ; err == nil && sent < 1_000_000; sent += portion {
			_, err = c.Write(empty)
		}
		m.add("frames", sent)
		<-ended
	})
}

// giants declare lengths that nobody can have, and those just above what is allowed.
func giants(m *mob) {
	lengths := []uint64{64<<10 + 1, 1 << 20, 1<<31 - 1, 1 << 32, 1 << 47, 1<<63 - 1, 1 << 63, 1<<64 - 1}
	m.each(1000, func(i int) {
		c := m.open(i, fmt.Sprint("/ws?user=giant", i))
		if c == nil {
			return
		}
		c.Write(append(head(fin|opText, lengths[i%len(lengths)]), make([]byte, 500)...))
		m.count(c.drain(false))
	})
}

// bombs sends what inflates to as much as is allowed, and to more: one message, many fragments, and one whose
// fragments each stay small.
func bombs(m *mob) {
	allowed := frame(fin|compressed|opText, deflate(64<<10))
	over := deflate(1 << 20)
	var cut []byte
	for i, part := range slices.Collect(slices.Chunk(over, 100)) {
		first := byte(opContinuation)
		if i == 0 {
			first = compressed | opText
		}
		cut = append(cut, frame(first, part)...)
	}
	// A thousand at once is the burst that the rate of messages leaves.
	kinds := [][]byte{bytes.Repeat(allowed, 1000), frame(fin|compressed|opText, over), cut, frame(fin|compressed|opText, deflate(64<<10+1))}
	m.each(50, func(i int) {
		path := "/echo"
		if i/len(kinds)%2 == 0 {
			path = fmt.Sprint("/ws?user=bomb", i)
		}
		c := m.open(i, path, "Sec-WebSocket-Extensions: permessage-deflate")
		if c == nil {
			return
		}
		kind := i % len(kinds)
		m.wait.Go(func() {
			for {
				if _, err := c.Write(kinds[kind]); err != nil || kind != 0 {
					return
				}
			}
		})
		m.count(c.drain(true))
	})
}

// deflate compresses n zeros, as RFC 7692 section 7.2.1 says.
func deflate(n int) []byte {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	w.Write(bytes.Repeat([]byte{'0'}, n))
	w.Flush()
	return bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
}
