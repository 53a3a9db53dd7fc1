package node

import (
	"fmt"
	"strings"
)

// Receipt is what nodes have counted of the deliveries of a message with a receipt.
type Receipt struct {
	Written   int // sessions that the message was written or queued to
	Confirmed int // of these, those whose client has answered the ping that follows the message
	Silent    int // of these, those whose dialect has no ping
	// Final reports that no further answer counts.
	Final bool
	// RoundTrips are the numbers of round trips, by bucket: see package receipt.
	RoundTrips []uint32
}

// MergeReceipts adds to r what another node says about the same receipt. Either may be nil.
func MergeReceipts(r, other *Receipt) *Receipt {
	if r == nil {
		return other
	}
	if other == nil {
		return r
	}
	r.Written += other.Written
	r.Confirmed += other.Confirmed
	r.Silent += other.Silent
	r.Final = r.Final && other.Final
	for i, n := range other.RoundTrips {
		if i == len(r.RoundTrips) {
			r.RoundTrips = append(r.RoundTrips, 0)
		}
		r.RoundTrips[i] += n
	}
	return r
}

// receiptIDSize is the length of what crypto/rand.Text returns.
const receiptIDSize = 26

// CheckReceiptID returns an error unless id is the ID of a receipt: digits of base32.
func CheckReceiptID(id string) error {
	if len(id) != receiptIDSize || strings.Trim(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") != "" {
		return fmt.Errorf("invalid ID %.40q of a receipt", id)
	}
	return nil
}
