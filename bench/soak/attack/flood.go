package attack

import (
	"bytes"
	"compress/flate"
	"fmt"
	"slices"
)

// Attackers that send too much, or more than is visible before it is inflated.

// portion is the number of frames per write.
const portion = 1000

// floods sends a first frame and then the same frame again and again, as fast as the server reads: half of the
// connections to /ws and half to /echo. All attackers together connect again at most 50 times a second.
func floods(first, each []byte) func(m *attackers) {
	frames := bytes.Repeat(each, portion)
	return func(m *attackers) {
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

// emptyFragments sends the first fragment of a message and then a million empty ones, to a server without a rate
// limit, until the server closes the connection.
func emptyFragments(m *attackers) {
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

// declaredLengths declares payloads from just above the limit up to 2^64-1 bytes.
func declaredLengths(m *attackers) {
	lengths := []uint64{64<<10 + 1, 1 << 20, 1<<31 - 1, 1 << 32, 1 << 47, 1<<63 - 1, 1 << 63, 1<<64 - 1}
	m.each(1000, func(i int) {
		c := m.open(i, fmt.Sprint("/ws?user=long", i))
		if c == nil {
			return
		}
		c.Write(append(head(fin|opText, lengths[i%len(lengths)]), make([]byte, 500)...))
		m.count(c.drain(false))
	})
}

// bombs sends compressed messages that inflate to the limit and beyond it: whole, in many small fragments, and by
// one byte.
func bombs(m *attackers) {
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
	// The rate limit allows a burst of a thousand messages.
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

// deflate compresses n times the character 0, RFC 7692 section 7.2.1.
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
