package load

import (
	"fmt"
	"slices"
)

// Faults counts what must not happen. The zero value is a run without faults.
type Faults struct {
	Lost       int      `json:"lost,omitempty"`       // never received
	Duplicated int      `json:"duplicated,omitempty"` // received twice
	Reordered  int      `json:"reordered,omitempty"`  // received after one that was sent later
	Foreign    int      `json:"foreign,omitempty"`    // for another connection, or never sent
	Corrupt    int      `json:"corrupt,omitempty"`    // a wrong byte, opcode or length
	Protocol   int      `json:"protocol,omitempty"`   // a frame that RFC 6455 forbids
	Closed     int      `json:"closed,omitempty"`     // a connection that the server ended
	Refused    int      `json:"refused,omitempty"`    // a connection or handshake that failed
	Late       int      `json:"late,omitempty"`       // missing at the end
	First      []string `json:"first,omitempty"`      // the first few, in words
}

// maxFirst is how many faults are described in words.
const maxFirst = 5

// Total returns the number of all faults.
func (f *Faults) Total() int {
	return f.Lost + f.Duplicated + f.Reordered + f.Foreign + f.Corrupt + f.Protocol + f.Closed + f.Refused + f.Late
}

// Add adds other to f.
func (f *Faults) Add(other Faults) {
	f.Lost += other.Lost
	f.Duplicated += other.Duplicated
	f.Reordered += other.Reordered
	f.Foreign += other.Foreign
	f.Corrupt += other.Corrupt
	f.Protocol += other.Protocol
	f.Closed += other.Closed
	f.Refused += other.Refused
	f.Late += other.Late
	for _, s := range other.First {
		f.describe(s)
	}
}

// Err returns an error that lists the faults, or nil.
func (f *Faults) Err() error {
	if f.Total() == 0 {
		return nil
	}
	return fmt.Errorf("%d lost, %d duplicated, %d reordered, %d foreign, %d corrupt, %d against the protocol, %d closed, %d refused, %d late: %q",
		f.Lost, f.Duplicated, f.Reordered, f.Foreign, f.Corrupt, f.Protocol, f.Closed, f.Refused, f.Late, f.First)
}

func (f *Faults) count(which *int, format string, args ...any) {
	*which++
	if len(f.First) < maxFirst {
		f.describe(fmt.Sprintf(format, args...))
	}
}

func (f *Faults) describe(s string) {
	if len(f.First) < maxFirst && !slices.Contains(f.First, s) {
		f.First = append(f.First, s)
	}
}
