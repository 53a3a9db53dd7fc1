package frame

import (
	"testing"

	"github.com/gobwas/ws"
)

func TestStatusCodes(t *testing.T) {
	for _, tt := range []struct{ got, want StatusCode }{ // the codes that gobwas knows
		{StatusNormalClosure, ws.StatusNormalClosure},
		{StatusGoingAway, ws.StatusGoingAway},
		{StatusProtocolError, ws.StatusProtocolError},
		{StatusUnsupportedData, ws.StatusUnsupportedData},
		{StatusNoStatusRcvd, ws.StatusNoStatusRcvd},
		{StatusAbnormalClosure, ws.StatusAbnormalClosure},
		{StatusInvalidFramePayloadData, ws.StatusInvalidFramePayloadData},
		{StatusPolicyViolation, ws.StatusPolicyViolation},
		{StatusMessageTooBig, ws.StatusMessageTooBig},
		{StatusMandatoryExtension, ws.StatusMandatoryExt},
		{StatusInternalError, ws.StatusInternalServerError},
		{StatusTLSHandshake, ws.StatusTLSHandshake},
	} {
		if tt.got != tt.want {
			t.Errorf("got %d, want %d", tt.got, tt.want)
		}
	}
	// Every registered code has a name, and only those.
	named := 0
	for code := range StatusCode(5000) {
		if statusText(code) != "" {
			named++
		}
	}
	if named != 18 {
		t.Errorf("%d codes have a name, want 18", named)
	}
}
