package attack

import (
	"fmt"
	"math"
	"time"
)

// All lists the attacks in the order in which they are run. The short forms have fewer attackers, and lower limits
// that so few can exceed: what they come to depends on counts, not on the speed of the machine.
func All(short bool) []Attack {
	n := func(long, shortened int) int {
		if short {
			return shortened
		}
		return long
	}
	per := func(count int, bytes int64) int64 { return baseMemory + int64(count)*bytes }
	many := n(10_000, 300)
	requests := []string{}
	if short {
		requests = []string{"--handshake-timeout", "500ms"}
	}
	proxy := func(flags ...string) []string { return append(flags, "--trusted-proxy", sources.String()) }
	all := []Attack{
		{
			Name: "half-handshakes", Load: fmt.Sprintf("%d clients send a handshake at a byte a second", many),
			count: many, attack: halfHandshakes, flags: requests,
			memory: per(many, 2*kib), // a request is shorter than 512 bytes; the rest is the session
			need:   Outcome{"rejected 408": 1},
			check:  func(t *trial) { t.metric("fanfare_accept_pauses_total", 0, 0) },
		},
		{
			Name: "mid-header", Load: fmt.Sprintf("%d clients stop inside a frame header", many),
			count: many, attack: stopped(midHeader), memory: per(many, 2*kib),
			need: Outcome{"opened": many},
		},
		{
			Name: "mid-payload", Load: fmt.Sprintf("%d clients stop 1,000 bytes into a payload of 60 KiB", many),
			count: many, attack: stopped(midPayload), memory: per(many, 4*kib), // what was received, not what was declared
			need: Outcome{"opened": many},
		},
		{
			Name: "mid-message", Load: fmt.Sprintf("%d clients stop between two fragments", many),
			count: many, attack: stopped(midMessage), memory: per(many, 3*kib),
			need:  Outcome{"opened": many},
			check: func(t *trial) { t.atLeast("open at the end", t.result.Outcome["opened"]) },
		},
		{
			Name: "non-readers", Load: fmt.Sprintf("%d clients never read while 4 KiB are broadcast ten times a second", n(2000, 100)),
			// A broadcast to 2,500 sessions takes longer than one to 500, so the twin has 2,000 more that read.
			count: n(2000, 100), attack: nonReaders, harmless: silent("/ws?user=reader%d"), load: broadcasts, memory: per(n(2000, 100), 64*kib),
			need:  Outcome{"opened": n(2000, 100)},
			check: func(t *trial) { t.metric(`fanfare_dropped_total{reason="full"}`, float64(n(1, 0)), math.Inf(1)) },
		},
		{
			Name: "declared-lengths", Load: fmt.Sprintf("%d clients declare payloads of up to 2^64-1 bytes", n(100, 50)),
			count: n(100, 50), attack: declaredLengths, memory: baseMemory,
			need: Outcome{"closed 1009": 10, "closed 1002": 10},
		},
		{
			Name: "empty-million", Load: "4 clients send a million empty continuation frames each to a server without a rate limit",
			count: 4, attack: emptyFragments, memory: baseMemory, loopback: true,
			need: Outcome{"closed 1008": 1},
		},
		flood("empty-fragments", "empty continuation frames", "closed 1008", n(100, 20), frame(opText, nil), frame(opContinuation, nil)),
		// A message of these reaches its longest size before they reach the rate limit.
		flood("byte-fragments", "fragments of 1 byte", "closed 1009", n(100, 20), frame(opText, []byte("x")), frame(opContinuation, []byte("x"))),
		flood("pings", "pings of 125 bytes", "closed 1008", n(100, 20), nil, frame(fin|opPing, make([]byte, 125))),
		flood("pongs", "empty pongs", "closed 1008", n(100, 20), nil, frame(fin|opPong, nil)),
		flood("tiny-messages", "messages of 1 byte", "closed 1008", n(100, 20), nil, frame(fin|opText, []byte("x"))),
		{
			Name: "bombs", Load: fmt.Sprintf("%d clients send messages that inflate to 64 KiB and more", n(100, 16)),
			count: n(100, 16), attack: bombs, flags: []string{"--compression"}, memory: per(n(100, 16), 256*kib),
			need: Outcome{"closed 1009": 2},
		},
		{
			Name: "resets", Load: fmt.Sprintf("%d clients connect and reset at any stage, up to 4,000 times a second", n(500, 50)),
			count: n(500, 50), attack: resets, memory: baseMemory,
			need: Outcome{"reset": 100},
		},
		{
			Name: "half-open", Load: fmt.Sprintf("the network drops all packets of %d clients", n(450, 50)), own: true,
			count: n(450, 50), attack: silent("/ws?user=gone%d"), beside: dropPackets,
			flags:  []string{"--ping-interval", interval.String(), "--ping-timeout", timeout.String()},
			memory: baseMemory, least: interval + timeout + 2*time.Second,
			need: Outcome{"opened": n(450, 50)},
		},
		{
			Name: "descriptors", Load: fmt.Sprintf("%d clients connect to a server with %d descriptors", n(6000, 1000), n(4096, 600)),
			count: n(6000, 1000), attack: silent("/ws?user=greedy%d"),
			// --max-connections exceeds the descriptors: the server reduces it to what is left beside all else that
			// opens files, so that no accept fails. It has 8 places for connections to its API.
			files: n(4096, 600), api: 6, flags: []string{"--max-connections", "100000"}, memory: per(n(4096, 600), 2*kib),
			need:  Outcome{"opened": n(2500, 1), "rejected 503, Retry-After": 1},
			check: func(t *trial) { t.metric("fanfare_accept_pauses_total", 0, 0) },
		},
		{
			Name: "unfinished", Load: fmt.Sprintf("%d clients leave 63 KiB of a message unfinished, 1,000 a second; GOMEMLIMIT is %d MiB", n(6000, 2000), n(128, 64)),
			count: n(6000, 2000), attack: unfinished(1000, 63*kib), environ: []string{fmt.Sprintf("GOMEMLIMIT=%dMiB", n(128, 64))}, memory: 100 * mib,
			need:     Outcome{"closed 1013": 1},
			counters: []string{limited("memory")},
		},
		{
			Name: "memory", Load: fmt.Sprintf("%d clients leave 4 KiB of a message unfinished; GOMEMLIMIT is %d MiB", n(8000, 3500), n(32, 18)),
			count: n(8000, 3500), attack: unfinished(5000, 4*kib-100), environ: []string{fmt.Sprintf("GOMEMLIMIT=%dMiB", n(32, 18))}, memory: 60 * mib,
			least:    5 * time.Second, // until the memory is used up
			need:     Outcome{"rejected 503, Retry-After": 1},
			counters: []string{limited("memory")},
		},
		{
			Name: "per-address", Load: fmt.Sprintf("%d clients connect from one address, which may have 20 connections", n(100, 40)),
			count: n(100, 40), attack: oneAddress, flags: proxy("--connections-per-ip", "20"), memory: baseMemory,
			need: Outcome{"rejected 429, Retry-After": 1}, most: Outcome{"opened": 20},
			counters: []string{limited("connections_per_ip")},
		},
		{
			Name: "address-rate", Load: fmt.Sprintf("%d clients complete handshakes from one address, which may do %d a second", n(100, 50), n(10, 1)),
			count: n(100, 50), attack: addressRate, flags: proxy("--handshakes-per-ip", fmt.Sprint(n(10, 1))), memory: baseMemory,
			need:     Outcome{"rejected 429, Retry-After": 1},
			counters: []string{limited("handshake_rate")},
		},
		{
			// Ten times the rate may come at once, and the healthy clients need 100 handshakes of that in the short form.
			Name: "handshake-rate", Load: fmt.Sprintf("%d clients complete handshakes from as many addresses; the limit is %d a second", n(500, 100), n(400, 20)),
			count: n(500, 100), attack: manyAddresses, flags: proxy("--handshake-rate", fmt.Sprint(n(400, 20))), memory: baseMemory,
			need:     Outcome{"rejected 503, Retry-After": 1},
			counters: []string{limited("handshake_rate")},
		},
		{
			Name: "per-user", Load: fmt.Sprintf("%d clients connect as one user, who may have 16 sessions", n(200, 50)),
			count: n(200, 50), attack: silent("/ws?user=twin&topic=n%d"), memory: baseMemory,
			need: Outcome{"rejected 429, Retry-After": 1}, most: Outcome{"opened": 16},
			counters: []string{limited("sessions_per_user")},
		},
		{
			Name: "total", Load: fmt.Sprintf("%d clients connect to a server for %d", n(4000, 1000), n(4000, 600)),
			count: n(4000, 1000), attack: silent("/ws?user=many%d"),
			flags: []string{"--max-connections", fmt.Sprint(n(4000, 600))}, memory: per(n(4000, 600), 2*kib),
			need:     Outcome{"rejected 503, Retry-After": 1},
			counters: []string{limited("connections")},
		},
		{
			Name: "api", Load: fmt.Sprintf("%d clients abuse the API: bodies, JSON, paths, keys", n(10, 2)*len(abuses)),
			count: n(10, 2) * len(abuses), attack: abuseAPI, environ: []string{"FANFARE_API_KEY=" + apiKey},
			// Of each kind, 2 + 2 + 4 MiB for two long bodies and a long line, and as much until it is collected.
			memory: per(n(10, 2), 16*mib),
			need:   Outcome{"400": 5, "401": 3, "413": 1}, most: Outcome{"wrong answers": 0},
		},
	}
	if short {
		for i := range all {
			all[i].flags = append(all[i].flags, "--close-timeout", "500ms") // of rejected connections
		}
	}
	return all
}

// flood returns an Attack whose attackers send too much and must be closed at the default limits.
func flood(name, what, end string, count int, first, each []byte) Attack {
	return Attack{
		Name: name, Load: fmt.Sprintf("%d clients send %s as fast as they can", count, what),
		count: count, attack: floods(first, each), memory: baseMemory + int64(count)*128*kib,
		need: Outcome{end: 10},
	}
}
