package frame

import (
	"testing"

	"github.com/gobwas/ws"
)

// TestBetween reads messages byte by byte.
func TestBetween(t *testing.T) {
	var d Decoder
	var r Rules
	fin := byte(bitFIN)
	for i, piece := range []struct {
		frame []byte
		ends  bool // the message, if the frame has come
	}{
		{masked(fin|byte(ws.OpText), []byte("whole")), true},
		{masked(fin|byte(ws.OpPing), nil), true},
		{masked(byte(ws.OpText), []byte("fragment")), false},
		{masked(fin|byte(ws.OpPong), []byte("in between")), false},
		{masked(0, []byte("another")), false},
		{masked(fin, nil), true},
		{masked(byte(ws.OpBinary), nil), false},
		{masked(fin, []byte("end")), true},
		{masked(fin|byte(ws.OpBinary), make([]byte, 300)), true},
	} {
		for at := range piece.frame {
			if _, _, err := d.Next(&r, piece.frame[at:at+1]); err != nil {
				t.Fatal(err)
			}
			if want := piece.ends && at == len(piece.frame)-1; d.Between() != want {
				t.Fatalf("frame %d, byte %d: Between is %v", i, at, !want)
			}
		}
	}
}
