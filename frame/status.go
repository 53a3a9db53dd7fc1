package frame

import "github.com/gobwas/ws"

// StatusCode is the status code of a close frame (RFC 6455, 7.4).
type StatusCode = ws.StatusCode

// The status codes of RFC 6455, 7.4.1, and those that IANA has registered since:
// https://www.iana.org/assignments/websocket/websocket.xhtml#close-code-number
const (
	StatusNormalClosure           StatusCode = 1000
	StatusGoingAway               StatusCode = 1001
	StatusProtocolError           StatusCode = 1002
	StatusUnsupportedData         StatusCode = 1003
	StatusInvalidFramePayloadData StatusCode = 1007
	StatusPolicyViolation         StatusCode = 1008
	StatusMessageTooBig           StatusCode = 1009
	StatusMandatoryExtension      StatusCode = 1010 // sent by clients only
	StatusInternalError           StatusCode = 1011
	StatusServiceRestart          StatusCode = 1012
	StatusTryAgainLater           StatusCode = 1013
	StatusBadGateway              StatusCode = 1014
	StatusUnauthorized            StatusCode = 3000
	StatusForbidden               StatusCode = 3003
	StatusTimeout                 StatusCode = 3008

	// Codes that stand for an event and must not be sent in a close frame (RFC 6455, 7.4.1).
	StatusNoStatusRcvd    StatusCode = 1005 // a close frame without a status code
	StatusAbnormalClosure StatusCode = 1006 // the connection ended without a close frame
	StatusTLSHandshake    StatusCode = 1015 // the TLS handshake failed
)

// statusText returns IANA's name of a code in lower case, or "" for a code that is not registered.
func statusText(code StatusCode) string {
	switch code {
	case StatusNormalClosure:
		return "normal closure"
	case StatusGoingAway:
		return "going away"
	case StatusProtocolError:
		return "protocol error"
	case StatusUnsupportedData:
		return "unsupported data"
	case StatusNoStatusRcvd:
		return "no status received"
	case StatusAbnormalClosure:
		return "abnormal closure"
	case StatusInvalidFramePayloadData:
		return "invalid frame payload data"
	case StatusPolicyViolation:
		return "policy violation"
	case StatusMessageTooBig:
		return "message too big"
	case StatusMandatoryExtension:
		return "mandatory extension"
	case StatusInternalError:
		return "internal error"
	case StatusServiceRestart:
		return "service restart"
	case StatusTryAgainLater:
		return "try again later"
	case StatusBadGateway:
		return "bad gateway"
	case StatusTLSHandshake:
		return "TLS handshake"
	case StatusUnauthorized:
		return "unauthorized"
	case StatusForbidden:
		return "forbidden"
	case StatusTimeout:
		return "timeout"
	}
	return ""
}

// CloseCodeAllowed reports whether a close frame may carry code (RFC 6455, 7.4): a code that IANA has
// registered for use on the wire, or one of the ranges for libraries (3000 to 3999) and applications
// (4000 to 4999). 1004 has no meaning, 1005, 1006 and 1015 must never be sent, and 1016 to 2999 are
// reserved for future versions of the protocol.
func CloseCodeAllowed(code StatusCode) bool {
	switch {
	case code >= 3000:
		return code <= 4999
	case code >= StatusInvalidFramePayloadData:
		return code <= StatusBadGateway
	default:
		return code >= StatusNormalClosure && code <= StatusUnsupportedData
	}
}
