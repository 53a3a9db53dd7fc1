package frame

import (
	"errors"
	"fmt"
	"testing"
)

func TestCloseErrorText(t *testing.T) {
	for _, tt := range []struct {
		code   StatusCode
		reason string
		want   string
	}{
		{1002, "frame is not masked", "close 1002: frame is not masked"},
		{1006, "", "close 1006 (abnormal closure)"},
		{1013, "", "close 1013 (try again later)"},
		{4000, "", "close 4000"},
		{0, "", "close 0"},
		{4000, "schönes Ende", "close 4000: schönes Ende"},
		{4000, "a\nmsg=\"forged line\"", `close 4000: "a\nmsg=\"forged line\""`},
		{4000, "\x1b[2J", `close 4000: "\x1b[2J"`},
		{4000, "\u202e", `close 4000: "\u202e"`},
		{4000, "a\xff", `close 4000: "a\xff"`},
	} {
		e := CloseError{tt.code, tt.reason}
		for form, got := range map[string]string{
			"value":         fmt.Sprint(e),
			"pointer":       fmt.Sprint(&e),
			"value, %s":     fmt.Sprintf("%s", e),
			"value error":   error(e).Error(),
			"pointer error": error(&e).Error(),
		} {
			if got != tt.want {
				t.Errorf("%s: got %s, want %s", form, got, tt.want)
			}
		}
	}
}

func TestCloseErrorAs(t *testing.T) {
	var d Decoder
	_, _, err := d.Next(new(Rules), []byte("\x81\x05Hello"))
	var ce *CloseError
	if !errors.As(fmt.Errorf("read: %w", err), &ce) || ce.Code != StatusProtocolError || ce != faultUnmasked {
		t.Errorf("got %v, want %v", err, faultUnmasked)
	}
}

// ParseClose returns an untyped nil, not a nil *CloseError in an error.
func TestParseCloseNilError(t *testing.T) {
	for _, p := range []string{"", "\x03\xe8", "\x03\xe8bye"} {
		if _, _, err := ParseClose([]byte(p)); err != nil {
			t.Errorf("ParseClose(%q): %v", p, err)
		}
	}
}

// Each fault fits in a close frame and may be sent, and a decoder that failed with it holds no memory of
// its own.
func TestFaults(t *testing.T) {
	if len(failedStates) < 15 {
		t.Errorf("%d faults", len(failedStates))
	}
	for e, s := range failedStates {
		if !CloseCodeAllowed(e.Code) || e.Reason == "" || len(e.Reason) > MaxReason {
			t.Errorf("%v cannot be sent in a close frame", e)
		}
		if s.fault != e || !s.shared {
			t.Errorf("%v has state %+v", e, s)
		}
	}
}
