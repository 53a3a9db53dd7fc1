package attack

import (
	"fmt"
	"time"
)

// Attackers that exceed limits.

// oneAddress opens connections from one address, as a trusted proxy reports it.
func oneAddress(m *attackers) {
	m.each(40, func(i int) { // below the rate of handshakes
		if c := m.open(i, fmt.Sprint("/ws?user=oneaddress", i), "X-Forwarded-For: 203.0.113.1"); c != nil {
			m.count(c.drain(true))
		} else {
			m.pause(time.Second)
		}
	})
}

// addressRate completes handshakes from one address as fast as it can.
func addressRate(m *attackers) {
	m.each(1000, func(i int) {
		if c := m.open(i, fmt.Sprint("/ws?user=addressrate", i), "X-Forwarded-For: 203.0.113.2"); c != nil {
			c.Close()
		}
	})
}

// manyAddresses completes handshakes, each attacker from its own address.
func manyAddresses(m *attackers) {
	m.each(2000, func(i int) {
		if c := m.open(i, fmt.Sprint("/ws?user=manyaddresses", i), fmt.Sprintf("X-Forwarded-For: 2001:db8:%x::1", i)); c != nil {
			c.Close()
		}
	})
}
