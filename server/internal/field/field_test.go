package field

import (
	"errors"
	"io"
	"testing"
)

// TestReword: an error in another one's text gets other words, and stays in its tree.
func TestReword(t *testing.T) {
	inner := Errorf("Disk", "is %d: %w", 1, io.EOF)
	if got := inner.Error(); got != "Disk is 1: EOF" {
		t.Error(got)
	}
	for _, tt := range []struct {
		err  error
		text string
		want string
	}{
		{Wrapf("inbox: %w", inner), "inbox: Disk is 1: EOF", "inbox: --disk is 1: EOF"},
		{Wrapf("%w in %s; %w", io.ErrClosedPipe, "dir", inner), io.ErrClosedPipe.Error() + " in dir; Disk is 1: EOF", "closed in dir; --disk is 1: EOF"},
	} {
		if got := tt.err.Error(); got != tt.text {
			t.Errorf("got %q, want %q", got, tt.text)
		}
		var e *Error
		if !errors.Is(tt.err, io.EOF) || !errors.As(tt.err, &e) || e.Field() != "Disk" {
			t.Errorf("%v: the cause is lost", tt.err)
		}
		got := tt.err.(interface {
			Reword(func(error) string) string
		}).Reword(func(err error) string {
			if e, ok := err.(*Error); ok { //nolint:errorlint // as a program does
				return "--disk " + e.Problem()
			}
			return "closed"
		})
		if got != tt.want {
			t.Errorf("reworded: got %q, want %q", got, tt.want)
		}
	}
}

func TestSetting(t *testing.T) {
	if got := Setting(nil, "TLS"); got != "Config.TLS" {
		t.Error(got)
	}
	if got := Setting(func(f string) string { return "--" + f }, "TLS"); got != "--TLS" {
		t.Error(got)
	}
}
