package frame

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// gobwas decodes with the blocking reader of gobwas/ws.
func gobwas(in []byte, r *Rules) (msgs []string, err error) {
	src := bytes.NewReader(in)
	rd := wsutil.Reader{
		Source:         src,
		State:          ws.StateServerSide,
		CheckUTF8:      true,
		MaxMessageSize: int64(messageLimit(r)),
	}
	errClosed := errors.New("closed")
	control := func(h ws.Header, body io.Reader) error {
		p, err := io.ReadAll(body)
		if err != nil {
			return err
		}
		if int64(len(p)) < h.Length {
			return io.ErrUnexpectedEOF
		}
		if h.OpCode == ws.OpClose && len(p) > 0 {
			if len(p) == 1 {
				return ws.ErrProtocolStatusCodeNoMeaning
			}
			if err := ws.CheckCloseFrameData(ws.ParseCloseFrameData(p)); err != nil {
				return err
			}
		}
		msgs = append(msgs, describe(h.OpCode, p))
		if h.OpCode == ws.OpClose {
			return errClosed
		}
		return nil
	}
	rd.OnIntermediate = control
	for {
		h, err := rd.NextFrame()
		if err == nil && h.OpCode.IsControl() {
			if err = control(h, &rd); err == nil {
				continue
			}
		}
		if err == nil {
			var p []byte
			if p, err = io.ReadAll(&rd); err == nil {
				msgs = append(msgs, describe(h.OpCode, p))
				continue
			}
		}
		if err == errClosed {
			err = nil
		}
		return msgs, err
	}
}

// agreeWithGobwas compares the decoder with gobwas. If the decoder fails at a byte, gobwas must accept the
// input before that byte and reject the input with it, apart from the known differences in gobwasAccepts and
// gobwasRejects.
func agreeWithGobwas(t testing.TB, in []byte, r *Rules) {
	t.Helper()
	// gobwas applies the limit to control frames, too.
	r = &Rules{MaxMessage: max(messageLimit(r), ws.MaxControlFramePayloadSize)}
	var d Decoder
	defer d.Release()
	var g got
	for i := range in {
		if g.feed(t, &d, r, in[i:i+1]); g.code != 0 {
			in = in[:i+1]
			break
		}
	}
	if g.code == 0 {
		msgs, err := gobwas(in, r)
		if err = realError(err); (err != nil || !slices.Equal(msgs, g.msgs)) && !gobwasRejects(g, msgs, err) {
			t.Fatalf("%x\ndecoder: %v\ngobwas:  %q, %v", in, g, msgs, err)
		}
		return
	}
	if msgs, err := gobwas(in[:len(in)-1], r); realError(err) != nil {
		t.Fatalf("%x\ndecoder: %v\ngobwas, a byte earlier: %q, %v", in, g, msgs, err)
	}
	// gobwas checks a header only when it is complete.
	last, more := lastFrame(in)
	msgs, err := gobwas(join(in, more), r)
	if (realError(err) == nil || !slices.Equal(msgs, g.msgs)) && !gobwasAccepts(g, last, msgs) {
		t.Fatalf("%x\ndecoder: %v\ngobwas:  %q, %v", in, g, msgs, err)
	}
}

// realError returns err, or nil if err only says that the input is incomplete.
func realError(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil
	}
	return err
}

// gobwasAccepts reports whether gobwas is known to accept what the decoder rejects. last is the frame at whose
// last byte the decoder failed.
func gobwasAccepts(g got, last []byte, msgs []string) bool {
	switch g.why {
	case "length is not encoded minimally": // 5.2
		return last[1]&127 == 126 && last[2] == 0 && last[3] < 126 ||
			last[1]&127 == 127 && string(last[2:8]) == "\x00\x00\x00\x00\x00\x00"
	case "too many empty fragments": // gobwas has no limit
		return last[0]&128 == 0 && last[1]&127 == 0
	case "invalid status code in close frame": // 7.4.2: 5000 and above are in no range
		n := len(g.msgs)
		return len(msgs) == n+1 && slices.Equal(msgs[:n], g.msgs) && msgs[n] >= "close:\x13\x88"
	}
	return false
}

// gobwasRejects reports whether gobwas is known to reject what the decoder accepts: the close codes 1012 to
// 1014, which were registered after gobwas was written.
func gobwasRejects(g got, msgs []string, err error) bool {
	n := len(msgs)
	return err == ws.ErrProtocolStatusCodeUnknown && len(g.msgs) == n+1 && slices.Equal(msgs, g.msgs[:n]) &&
		g.msgs[n] >= "close:\x03\xf4" && g.msgs[n] < "close:\x03\xf7"
}

// lastFrame returns the last frame of in, and bytes that complete its header: to that of an empty frame, or to
// that of a control frame that is too long.
func lastFrame(in []byte) (last, more []byte) {
	for {
		head := append(bytes.Clone(in[:min(len(in), maxHead)]), make([]byte, maxHead)...)
		size, n := 2, int(head[1]&127)
		if head[0]&8 != 0 && len(in) == 2 {
			copy(head[2:], "\x01\x01\x01\x01\x01\x01\x01\x01")
		}
		switch n {
		case 126:
			size, n = 4, int(binary.BigEndian.Uint16(head[2:]))
		case 127:
			size, n = 10, int(min(binary.BigEndian.Uint64(head[2:]), 1<<40))
		}
		if head[1]&128 != 0 {
			size += 4
		}
		if len(in) <= size+n {
			return in, head[min(len(in), size):size]
		}
		in = in[size+n:]
	}
}
