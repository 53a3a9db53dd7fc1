package fault

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Verdict is the result of a check. Everything after Announced is a violation.
type Verdict struct {
	Accepted   int            `json:"accepted"`            // pushes with status 200
	Unknown    int            `json:"unknown"`             // other pushes, which may have been stored
	Received   int            `json:"received"`            // messages on all devices
	Duplicates int            `json:"duplicates"`          // of those, messages that the device had received in an earlier connection
	Announced  map[string]int `json:"announced,omitempty"` // messages that are missing, by how that was announced

	Lost      []string `json:"lost,omitempty"`      // accepted, not received, and not announced
	Reordered []string `json:"reordered,omitempty"` // apart from duplicates
	Repeated  []string `json:"repeated,omitempty"`  // received twice in one connection
	Foreign   []string `json:"foreign,omitempty"`   // not for this user, or never pushed
	Gaps      []string `json:"gaps,omitempty"`      // announced although no message can be missing
	Silent    []string `json:"silent,omitempty"`    // not announced to a device whose offset means nothing any more
	Offsets   []string `json:"offsets,omitempty"`   // two for one message, or not in the order of the pushes
}

// Err returns an error that lists the violations, or nil.
func (v *Verdict) Err() error {
	var wrong []string
	for _, kind := range []struct {
		name string
		all  []string
	}{
		{"lost", v.Lost}, {"out of order", v.Reordered}, {"repeated in a connection", v.Repeated}, {"foreign", v.Foreign},
		{"false gaps", v.Gaps}, {"gaps not announced", v.Silent}, {"wrong offsets", v.Offsets},
	} {
		if len(kind.all) > 0 {
			wrong = append(wrong, fmt.Sprintf("%d %s: %s", len(kind.all), kind.name, strings.Join(kind.all[:min(len(kind.all), 8)], "; ")))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fmt.Errorf("fault: %s", strings.Join(wrong, "\n  "))
}

// check finds the violations.
func (h *history) check() *Verdict {
	h.mu.Lock()
	defer h.mu.Unlock()
	v := &Verdict{Announced: make(map[string]int)}
	had := make(map[string]map[int]bool) // by user, on any device
	for _, d := range h.devices {
		if had[d.user] == nil {
			had[d.user] = make(map[int]bool)
		}
		seen := d.check(v, h.of(d.user))
		maps.Copy(had[d.user], seen)
		if d.all {
			d.checkLost(v, seen)
			d.checkResumed(v)
		}
	}
	missing := make([]int, len(h.losses))
	for _, user := range slices.Sorted(maps.Keys(h.users)) {
		p := h.users[user]
		v.Accepted += len(p.accepted)
		v.Unknown += len(p.tried) - len(p.accepted)
		h.checkLost(v, user, had[user], missing)
		h.checkOffsets(v, user)
	}
	return v
}

// checkLost finds the accepted messages that no device of a user has received, and whose loss was not announced. missing
// counts messages by announcement.
func (h *history) checkLost(v *Verdict, user string, seen map[int]bool, missing []int) {
	all := h.users[user].accepted
	for _, n := range slices.Sorted(maps.Keys(all)) {
		if seen[n] {
			continue
		}
		covers := func(i int) bool {
			l := h.losses[i]
			return l.epochs[all[n].epoch] && (l.most < 0 || missing[i] < l.most)
		}
		i := 0
		for i < len(h.losses) && !covers(i) {
			i++
		}
		if i == len(h.losses) {
			v.Lost = append(v.Lost, fmt.Sprintf("%q at %d, on any device", text(user, n), all[n].offset))
			continue
		}
		missing[i]++
		v.Announced[h.losses[i].what]++
	}
}

// checkOffsets checks that offsets grow with the numbers of the messages. A new history may start again at 1.
func (h *history) checkOffsets(v *Verdict, user string) {
	p := h.users[user]
	var last accepted
	for _, n := range slices.Sorted(maps.Keys(p.accepted)) {
		a := p.accepted[n]
		if a.offset <= last.offset && (a.epoch == last.epoch || !h.broken(0, a.event)) {
			v.Offsets = append(v.Offsets, fmt.Sprintf("%q is at %d, after one at %d", text(user, n), a.offset, last.offset))
		}
		last = a
	}
}

// checkLost finds the accepted messages that a device with offsets of its own has not received, and of which no gap told.
func (d *device) checkLost(v *Verdict, seen map[int]bool) {
	all := d.h.users[d.user].accepted
	for _, n := range slices.Sorted(maps.Keys(all)) {
		if a := all[n]; !seen[n] && !d.told(n, a) {
			v.Lost = append(v.Lost, fmt.Sprintf("%q at %d, on %s", text(d.user, n), a.offset, d.name))
		}
	}
}

// told reports whether the device was told that a message may be missing, or cannot be told: it has no offset of a
// history that is void.
func (d *device) told(n int, a accepted) bool {
	for _, r := range d.receipts {
		if !r.gap || r.event < a.event {
			continue
		}
		if r.text == "" && (r.epoch != a.epoch || r.offset >= a.offset) {
			return true
		}
		if before, ok := parse(r.text, d.user); ok && n < before {
			return true
		}
	}
	return slices.ContainsFunc(d.h.losses, func(l loss) bool {
		return l.voids && l.epochs[a.epoch] && !slices.ContainsFunc(d.receipts, func(r receipt) bool { return r.offset > 0 && l.epochs[r.epoch] })
	})
}

// checkResumed finds the connections that went on from an offset of a void history without a gap.
func (d *device) checkResumed(v *Verdict) {
	for _, l := range d.h.losses {
		if !l.voids {
			continue
		}
		for i, r := range d.receipts {
			if i == 0 {
				continue
			}
			if last := d.receipts[i-1]; last.offset > 0 && l.epochs[last.epoch] && r.epoch != "" && !l.epochs[r.epoch] && !r.gap {
				v.Silent = append(v.Silent, fmt.Sprintf("%s: %q at %d of epoch %s, after %d of epoch %s", d.name, r.text, r.offset, r.epoch, last.offset, last.epoch))
			}
		}
	}
}

// check finds the violations on one device, and returns what it received.
func (d *device) check(v *Verdict, p *pushes) (seen map[int]bool) {
	h := d.h
	seen = make(map[int]bool)
	offsets := make(map[int]receipt) // the first with an offset
	first := make(map[[2]int]int)    // event of the first receipt, by connection and number
	var last struct{ n, event int }  // the greatest number
	for _, r := range d.receipts {
		if r.gap && !h.broken(0, r.event) {
			v.Gaps = append(v.Gaps, fmt.Sprintf("%s before %.40q at %d", d.name, r.text, r.offset))
		}
		if r.text == "" {
			continue // a hello
		}
		v.Received++
		n, ok := parse(r.text, d.user)
		if padding, tried := p.tried[n]; !ok || !tried || r.text != padded(d.user, n, padding) {
			v.Foreign = append(v.Foreign, fmt.Sprintf("%.40q on %s", r.text, d.name))
			continue
		}
		if r.offset > 0 {
			others := []receipt{offsets[n], {offset: p.accepted[n].offset, epoch: p.accepted[n].epoch}}
			for _, o := range others {
				if o.offset > 0 && o.offset != r.offset && (o.epoch == r.epoch || !h.broken(0, h.clock)) {
					v.Offsets = append(v.Offsets, fmt.Sprintf("%q is at %d and at %d", text(d.user, n), o.offset, r.offset))
					break
				}
			}
			offsets[n] = r
		}
		here := [2]int{r.connection, n}
		if event, twice := first[here]; !twice {
			first[here] = r.event
		} else if !h.broken(event, r.event) {
			v.Repeated = append(v.Repeated, fmt.Sprintf("%q on %s, connection %d", text(d.user, n), d.name, r.connection))
			continue
		}
		if seen[n] {
			v.Duplicates++
			continue
		}
		seen[n] = true
		// Numbers are stored in order: each push waits until the previous one was accepted, and a user whose push never
		// was has no further ones. A storage that lost its positions begins at an earlier one.
		if n < last.n && !h.broken(last.event, r.event) {
			v.Reordered = append(v.Reordered, fmt.Sprintf("%q after %d on %s", text(d.user, n), last.n, d.name))
		}
		if n > last.n {
			last.n, last.event = n, r.event
		}
	}
	return seen
}
