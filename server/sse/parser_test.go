package sse_test

import (
	"bufio"
	"io"
	"strconv"
	"strings"
)

// event is what EventSource dispatches.
type event struct{ name, data, id string }

// parser interprets a stream as the HTML standard says, section 9.2.6, word by word.
type parser struct {
	r      *bufio.Reader
	begun  bool
	lastID string // the event source's last event ID string
	buffer string // the last event ID buffer
	retry  int    // 0: none was set
}

func newParser(r io.Reader) *parser { return &parser{r: bufio.NewReader(r)} }

// line returns the next line, which ends with CR LF, LF, or CR. The end of the stream ends no
// line: what is incomplete is discarded.
func (p *parser) line() (string, error) {
	var b strings.Builder
	for {
		c, err := p.r.ReadByte()
		switch {
		case err != nil:
			return "", err
		case c == '\n':
		case c == '\r':
			if next, err := p.r.Peek(1); err == nil && next[0] == '\n' {
				p.r.ReadByte()
			}
		default:
			b.WriteByte(c)
			continue
		}
		line := strings.ToValidUTF8(b.String(), "\uFFFD")
		if !p.begun {
			line = strings.TrimPrefix(line, "\uFEFF")
		}
		p.begun = true
		return line, nil
	}
}

// next returns the next event that is dispatched.
func (p *parser) next() (event, error) {
	var data, name string
	for {
		line, err := p.line()
		if err != nil {
			return event{}, err
		}
		if line == "" { // dispatch
			p.lastID = p.buffer
			if data == "" {
				name = ""
				continue
			}
			if name == "" {
				name = "message"
			}
			return event{name, strings.TrimSuffix(data, "\n"), p.lastID}, nil
		}
		field, value, colon := strings.Cut(line, ":")
		if colon && field == "" {
			continue // a comment
		}
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			name = value
		case "data":
			data += value + "\n"
		case "id":
			if !strings.Contains(value, "\x00") {
				p.buffer = value
			}
		case "retry":
			if n, err := strconv.ParseUint(value, 10, 31); err == nil {
				p.retry = int(n)
			}
		}
	}
}
