package frame

import (
	"strconv"

	"github.com/gobwas/ws"
)

// CloseError says that the peer broke a rule: Code is the status to close the
// connection with, Reason is English, short enough for a close frame, and says
// nothing about this server.
type CloseError struct {
	Code   ws.StatusCode
	Reason string
}

func (e *CloseError) Error() string {
	return "frame: close " + strconv.Itoa(int(e.Code)) + ": " + e.Reason
}

// The faults a peer can commit, each as the state of a decoder that failed with
// it. They are shared and immutable, so that a flood of hostile connections
// allocates nothing here.
var (
	faultReserved   = fault(ws.StatusProtocolError, "reserved bits set")
	faultOpCode     = fault(ws.StatusProtocolError, "reserved opcode")
	faultUnmasked   = fault(ws.StatusProtocolError, "frame is not masked")
	faultControl    = fault(ws.StatusProtocolError, "control frame is fragmented")
	faultControlLen = fault(ws.StatusProtocolError, "control frame is longer than 125 bytes")
	faultLength     = fault(ws.StatusProtocolError, "length is not encoded minimally")
	faultLengthMSB  = fault(ws.StatusProtocolError, "most significant bit of the length is set")
	faultContinue   = fault(ws.StatusProtocolError, "continuation of no message")
	faultInterleave = fault(ws.StatusProtocolError, "new message before the last one ended")
	faultCloseLen   = fault(ws.StatusProtocolError, "close frame with half a status code")
	faultCloseCode  = fault(ws.StatusProtocolError, "invalid status code in close frame")

	faultEmpty       = fault(ws.StatusPolicyViolation, "too many empty fragments")
	faultText        = fault(ws.StatusInvalidFramePayloadData, "text is not UTF-8")
	faultDeflate     = fault(ws.StatusInvalidFramePayloadData, "compressed data is corrupt")
	faultCloseReason = fault(ws.StatusInvalidFramePayloadData, "close reason is not UTF-8")

	faultTooBig = fault(ws.StatusMessageTooBig, "message is too big")
)

func fault(code ws.StatusCode, reason string) *state {
	return &state{shared: true, fault: &CloseError{code, reason}}
}
