package tlsrecord

import (
	"crypto/tls"
	"fmt"
)

// Alert is the description of an alert, section 6.
type Alert uint8

// The alerts that this package sends or treats in a way of their own.
const (
	CloseNotify       Alert = 0
	UnexpectedMessage Alert = 10
	BadRecordMAC      Alert = 20
	RecordOverflow    Alert = 22
	DecodeError       Alert = 50
	IllegalParameter  Alert = 47
	InternalError     Alert = 80
	UserCanceled      Alert = 90
)

func (a Alert) String() string { return tls.AlertError(a).Error() }

const (
	levelWarning = 1
	levelFatal   = 2
)

// Error is a violation by the peer. The connection is to be ended with SealAlert.
type Error struct{ Alert Alert }

func (e *Error) Error() string {
	return fmt.Sprintf("tlsrecord: the peer's record is invalid: %s", e.Alert)
}

// PeerAlert is an error alert that the peer has sent. The connection is to be closed,
// section 6.2.
type PeerAlert struct{ Alert Alert }

func (e *PeerAlert) Error() string { return fmt.Sprintf("tlsrecord: the peer reports: %s", e.Alert) }
