package frame

import (
	"strconv"
	"strings"
	"unicode"
)

// CloseError is the reason why a connection ends: Code is the status code of the close frame, Reason
// its text. For a fault of the peer, as Decoder.Next and ParseClose return it, Reason is short enough
// for a close frame and says nothing about this server.
//
// Both CloseError and *CloseError are errors. This package returns pointers, so the target of
// errors.As is a *CloseError.
type CloseError struct {
	Code   StatusCode
	Reason string
}

// Error returns "close 1002: frame is not masked", or with no reason "close 1006 (abnormal closure)".
// A reason with characters that do not print, which a peer may have sent, is quoted.
func (e CloseError) Error() string {
	text := "close " + strconv.Itoa(int(e.Code))
	switch {
	case e.Reason == "":
		if name := statusText(e.Code); name != "" {
			text += " (" + name + ")"
		}
		return text
	case strings.ContainsFunc(e.Reason, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }):
		return text + ": " + strconv.Quote(e.Reason)
	default:
		return text + ": " + e.Reason
	}
}

// The faults that a peer can commit. They are immutable and shared, so that a flood of hostile
// connections allocates nothing here.
var (
	faultReserved   = fault(StatusProtocolError, "reserved bits set")
	faultOpCode     = fault(StatusProtocolError, "reserved opcode")
	faultUnmasked   = fault(StatusProtocolError, "frame is not masked")
	faultControl    = fault(StatusProtocolError, "control frame is fragmented")
	faultControlLen = fault(StatusProtocolError, "control frame is longer than 125 bytes")
	faultLength     = fault(StatusProtocolError, "length is not encoded minimally")
	faultLengthMSB  = fault(StatusProtocolError, "most significant bit of the length is set")
	faultContinue   = fault(StatusProtocolError, "continuation without a message")
	faultInterleave = fault(StatusProtocolError, "new message before the last one ended")
	faultCloseLen   = fault(StatusProtocolError, "close frame with half a status code")
	faultCloseCode  = fault(StatusProtocolError, "invalid status code in close frame")

	faultEmpty       = fault(StatusPolicyViolation, "too many empty fragments")
	faultText        = fault(StatusInvalidFramePayloadData, "text is not UTF-8")
	faultDeflate     = fault(StatusInvalidFramePayloadData, "compressed data is corrupt")
	faultCloseReason = fault(StatusInvalidFramePayloadData, "close reason is not UTF-8")

	faultTooBig = fault(StatusMessageTooBig, "message is too big")
)

// failedStates has the state of a decoder that failed with each fault. It is complete when the package
// is initialized.
var failedStates = make(map[*CloseError]*state)

func fault(code StatusCode, reason string) *CloseError {
	e := &CloseError{code, reason}
	failedStates[e] = &state{shared: true, fault: e}
	return e
}
